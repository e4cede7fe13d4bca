"""What a character is to the rules of english/words.py: classes of one character for its patterns.

Source: spaCy 3.8 `lang/char_classes.py` (MIT).
"""

import re

LETTER = r"[^\W\d_]"
UPPER = "A-ZÀ-ÖØ-ÞЁА-Я"
"""Capitals, as the inside of a class."""
_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_EDGE = re.escape("…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪" + _QUOTES)
SIGNS = (
    "\u00a6\u00a9\u00ae\u00b0\u2100\u2101\u2103-\u2106\u2108\u2109\u2116\u2117\u211e-\u2123\u2125\u2127"
    "\u2195-\u2199\u21a9-\u21ad\u21b0-\u21cd\u21d5-\u21f3\u2300-\u2307\u230c-\u231f\u2322-\u2328\u232b-\u237b"
    "\u237d-\u239a\u23b4-\u23db\u23e2-\u249b\u249c-\u25b6\u25b8-\u25c0\u25c2-\u25f7\u2600-\u266e\u2670-\u2767"
    "\u2794-\u27bf\u2800-\u28ff\u2b00-\u2b2f\u2b4d-\u2bff\u3004\u3012\u3013\u3200-\u33ff\ufffc\ufffd"
    "\U0001f000-\U0001fa6d"
)
"""Unicode's other symbols (So), the common blocks of them, as the inside of a character class."""
_MONEY = "$£€¥฿₽﷼₠-₿"
CURRENCY = f"[{_MONEY}]"
LONG_CURRENCIES = ("US$", "C$", "A$")
_LENGTHS = "km/h km² km³ kmh km m/s mph m² m³ dm² dm³ dm cm² cm³ cm mm² mm³ mm ha µm nm yd in ft"
_AMOUNTS = "kg mg µg g m t lb oz hPa Pa mbar mb MB kb KB gb GB tb TB T G M K %"
UNITS = tuple(f"{_LENGTHS} {_AMOUNTS}".split())
"""Split off behind a number."""
FIRST = f"[{_MONEY}§%=—–{_EDGE}{SIGNS}]"
"""Split off the front of a chunk."""
LAST = f"[—–{_EDGE}{SIGNS}]"
"""Split off its back."""
STOPPABLE = rf"(?:[^\W{UPPER}]|[%²\-+{_EDGE}])"
"""A full stop behind it is a word of its own."""
DOT_LEFT = f"[a-zß-öø-ÿа-я{_QUOTES}]"
"""With DOT_RIGHT, left and right of a full stop that parts words."""
DOT_RIGHT = f"[A-ZÀ-ÖØ-ÞА-Я{_QUOTES}]"
DOMAIN = "[a-z\u00df-\u024f\u0430-\u04ff\u0900-\u097f\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]"
"""Of a domain's last part."""
