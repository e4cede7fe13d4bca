"""A chunk of text between spaces, split into words and punctuation as spaCy's English tokenizer splits it.

The filters of FineWeb count spaCy's words, so their thresholds mean something in those words only. The
rules, in spaCy's order: special cases; affixes stripped from both ends (quotes, brackets, final stops,
currencies, units); addresses left whole; infixes (hyphens between letters, `a,b`, `...`). Of its emoticons
only the common ones are here.

Source: spaCy 3.8 `lang/en`, `lang/punctuation.py` and `tokenizer.pyx` (MIT).
"""

import re

from llmkit.text.english_whole import WHOLE

_LETTER = r"[^\W\d_]"
_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_EDGE = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪" + _QUOTES
_CURRENCY = r"US\$|C\$|A\$|[$£€¥฿₽﷼₠-₿]"
_SIGNS = (
    "\u00a6\u00a9\u00ae\u00b0\u2100\u2101\u2103-\u2106\u2108\u2109\u2116\u2117\u211e-\u2123\u2125\u2127"
    "\u2195-\u2199\u21a9-\u21ad\u21b0-\u21cd\u21d5-\u21f3\u2300-\u2307\u230c-\u231f\u2322-\u2328\u232b-\u237b"
    "\u237d-\u239a\u23b4-\u23db\u23e2-\u249b\u249c-\u25b6\u25b8-\u25c0\u25c2-\u25f7\u2600-\u266e\u2670-\u2767"
    "\u2794-\u27bf\u2800-\u28ff\u2b00-\u2b2f\u2b4d-\u2bff\u3004\u3012\u3013\u3200-\u33ff\ufffc\ufffd"
    "\U0001f000-\U0001fa6d"
)
"""Unicode's other symbols (So), the common blocks of them, as the inside of a character class."""
_ATOM = rf"[{re.escape(_EDGE)}{_SIGNS}]"
_PREFIX = re.compile(rf"\.\.+|…|{_CURRENCY}|[§%=—–]|\+(?![0-9])|{_ATOM}")
_UNITS = (
    "km/h|km²|km³|kmh|km|m/s|mph|m²|m³|dm²|dm³|dm|cm²|cm³|cm|mm²|mm³|mm|ha|µm|nm|yd|in|ft|kg|mg|µg|g|m|t|lb|oz|hPa|"
    "Pa|mbar|mb|MB|kb|KB|gb|GB|tb|TB|T|G|M|K|%"
)
_SUFFIX = re.compile(
    rf"(?:\.\.+|['’][sS]|[—–]|(?<=[0-9])\+|(?<=°[FfCcKk])\.|(?<=[0-9])(?:{_CURRENCY}|{_UNITS})"
    rf"|(?<=[^\WA-ZÀ-ÖØ-ÞЁА-Я])\.|(?<=[%²\-+{re.escape(_EDGE)}])\.|(?<=[A-ZÀ-ÖØ-ÞЁА-Я][A-ZÀ-ÖØ-ÞЁА-Я])\.|{_ATOM})$"
)
_INFIX = re.compile(
    rf"\.\.+|…|[{_SIGNS}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[a-zß-öø-ÿа-я{_QUOTES}])\.(?=[A-ZÀ-ÖØ-ÞА-Я{_QUOTES}])"
    rf"|(?<={_LETTER}),(?={_LETTER})|(?<=[^\W_])(?:---|--|——|[-–—~])(?={_LETTER})"
    rf"|(?<=[^\W_])[:<>=/](?={_LETTER})"
)
_ADDRESS = re.compile(
    r"(?:[\w+\-.]{2,}://)?(?:\S+(?::\S*)?@)?(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
    r"|(?:(?:[A-Za-z0-9\u00a1-\uffff][A-Za-z0-9\u00a1-\uffff_-]{0,62})?[A-Za-z0-9\u00a1-\uffff]\.)+"
    r"[a-z\u00df-\u024f\u0430-\u04ff\u0900-\u097f\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]{2,63})"
    r"(?::[0-9]{2,5})?(?:[/?#]\S*)?"
)
_ASKING = "how|it|that|there|these|they|this|those|what|when|where|who|why|you"
_CONTRACTION = re.compile(
    r"(ai|are|ca|could|dare|did|do|does|had|has|have|is|may|might|must|need|ought|sha|should|was|were|wo|would)"
    r"(n['’]t)(['’]ve)?"
    rf"|({_ASKING}|he|i|she|we)(['’](?:d|ll))(['’]ve)?|({_ASKING}|he|let|she)(['’]s)"
    r"|(could|how|i|might|must|should|that|they|we|what|where|who|would|you)(['’]ve)"
    r"|(how|they|there|these|those|we|what|when|where|who|why|you)(['’]re)|(i)(['’]m)(a)?|(y)(['’]all)|(c['’]m)(on)"
    r"|([0-9]{1,2})([ap]\.?m\.?)",
    re.IGNORECASE,
)
_GLUED = re.compile(
    r"(ai|are|ca|could|dare|did|do|does|had|has|have|is|may|might|must|need|ought|sha|should|was|wo|would)(nt)(ve)?"
    r"|(can|not)(not|ve)|(gon)(na)|(got)(ta)|(y)(all)"
    rf"|({_ASKING}|i)(d)(ve)?|(he|she|we)(d)(ve)|(he)(d)|({_ASKING}|he|she|we|i)(ll)(ve)"
    r"|(how|it|that|there|these|they|this|those|what|when|where|why|you|who)(ll)"
    r"|(he|how|she|that|there|this|what|when|where|who|why)(s)"
    r"|(how|there|these|they|those|what|when|where|why|you)(re)"
    r"|(could|how|i|might|must|should|they|we|what|where|who|would|you)(ve)|(i)(m)(a)?"
)
_GLUED_STARTS = frozenset("acdghimnostwyACDGHIMNOSTWY")
_OPENING = '(["“'
_CLOSING = ',;:!?)]"”'


def split_chunk(chunk: str) -> list[str]:
    """The words and punctuation marks of a chunk that holds no white space: `(world!)` is ( world ! )."""
    if chunk.isalpha():
        return _glued(chunk) or [chunk]
    return _split_plain(chunk) or split_any(chunk)


def _split_plain(chunk: str) -> list[str] | None:
    """The words of letters with marks around them, as most chunks are; None where that is not sure."""
    word = chunk.lstrip(_OPENING).rstrip(_CLOSING)
    stop = word[-1:] == "." and word[-2:-1].islower()
    if stop:
        word = word[:-1]
    if not word.isalpha() or word in WHOLE or f"{word}." in WHOLE:
        return None
    start = chunk.index(word)
    end = start + len(word)
    if (start and chunk[start - 1 : end] in WHOLE) or chunk[start : end + 1] in WHOLE:
        return None
    return _joined([*chunk[:start], *(_glued(word) or [word]), *chunk[end:]])


def split_any(chunk: str) -> list[str]:
    """`split_chunk` of any chunk, by spaCy's rules in their order."""
    front: list[str] = []
    back: list[str] = []
    special: list[str] | None = None
    while chunk and (special := _special(chunk)) is None:
        prefix = _PREFIX.match(chunk)
        first = prefix.end() if prefix else 0
        if first and (special := _special(chunk[first:])) is not None:
            front.append(chunk[:first])
            break
        suffix = _SUFFIX.search(chunk, first)
        last = suffix.start() if suffix else len(chunk)
        if suffix and (special := _special(chunk[:last])) is not None:
            back.append(chunk[last:])
            break
        if not first and not suffix:
            break
        if first:
            front.append(chunk[:first])
        if suffix and last < len(chunk):
            back.append(chunk[last:])
        chunk = chunk[first:last]
    if special is None:
        special = [chunk] if chunk and _ADDRESS.fullmatch(chunk) else _infixes(chunk)
    return _joined(front + special + back[::-1])


def _special(chunk: str) -> list[str] | None:
    if chunk in WHOLE:
        return [chunk]
    if chunk.isalpha():
        return _glued(chunk)
    if (found := _CONTRACTION.fullmatch(chunk)) and (chunk[1:] == chunk[1:].lower()):
        return [part for part in found.groups() if part]
    return None


def _glued(chunk: str) -> list[str] | None:
    """Contractions written without their apostrophe, and cannot: `dont` is do nt."""
    if len(chunk) > 9 or chunk[0] not in _GLUED_STARTS:
        return None
    lower = chunk.lower()
    found = _GLUED.fullmatch(lower)
    if found is None or chunk[1:] != lower[1:]:
        return None
    parts = [part for part in found.groups() if part]
    return [chunk[: len(parts[0])], *parts[1:]]


def _joined(words: list[str]) -> list[str]:
    """Neighbours that are one special case together: ' and ', Mr and the stop after it."""
    if len(words) < 2:
        return words
    joined = words[:1]
    for word in words[1:]:
        if joined[-1] + word in WHOLE:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _infixes(chunk: str) -> list[str]:
    words: list[str] = []
    start = 0
    for found in _INFIX.finditer(chunk):
        if not found.start():
            continue
        if start < found.start():
            words.append(chunk[start : found.start()])
        words.append(found.group())
        start = found.end()
    if start < len(chunk):
        words.append(chunk[start:])
    return words
