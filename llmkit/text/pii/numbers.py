"""Numbers that lead to a person: cards, bank accounts, telephones; each with what tells it from others.

Cards and accounts have check digits. Telephone numbers have none: with a + and a country's code, or in the
forms of North America, they are taken as they stand; national numbers of other countries, which look like any
row of digits, only after a word that announces one.

A row of digits, however grouped, is looked for first, at 100 MB/s and more: `number_rows`. The finders take
the rows, and their patterns see what is around each.
"""

import re
from collections.abc import Iterator, Sequence

_ROW = re.compile(r"[0-9](?:[ ()./+-]{0,3}+[0-9]){6,}+")
_AROUND = 32  # characters on both sides of a row that a pattern may look at
_CARD = re.compile(r"(?<![\w.,+/=-])\d(?:[ -]?\d){12,18}(?![\w/=-]|[.,]\d)")
_CARD_FORM = re.compile(r"\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}")
_CARD_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{4}|222[1-9]\d\d|22[3-9]\d{3}|2[3-6]\d{4}|27[01]\d{3}|2720\d\d)\d{10}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}"  # Discover
    r"|(?:30[0-5]|36\d|38\d)\d{11}"  # Diners
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
_IBAN_BY_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FI FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH CR HR LI LV",
    22: "BG BH DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS = {
    country: length for length, countries in _IBAN_BY_LENGTH.items() for country in countries.split()
}
_PLUS = re.compile(r"(?<![\w+=.*^)/-])\+(?P<number>[1-9](?:[ .\-/]?[()]?\d){6,14})(?![\w/]|[.,-]\d)")
_COUNTRY = re.compile(
    r"1|7|2[07]|2[1-689]\d|3[0-469]|3[578]\d|4[013-9]|42\d|5[1-8]|5[09]\d|6[0-6]|6[789]\d|8[1246]|8[0578]\d"
    r"|9[0-58]|9[679]\d"
)
_AMERICAN = re.compile(
    r"(?<![\w.,+/=$#:-])(?:\+?1[ .-])?"
    r"(?:\([2-9](?!11|9)\d\d\) ?|[2-9](?!11|9)\d\d(?P<gap>[.-]))[2-9](?!11)\d\d(?(gap)(?P=gap)|[.-])\d{4}"
    r"(?![\w/=-]|[.,]\d)"
)
_ANNOUNCED = re.compile(
    r"(?:\b(?:tel|tél|fax|phone|telephone|telefon|téléphone|teléfono|telefono|telefoon|mobile|mobil|cell"
    r"|handy|call|dial|ring|whatsapp)\b|☎|📞)[^\d\n(\[+]{0,12}"
    r"(?P<number>(?!\d{4}-\d\d-\d\d)\(?[0-9](?:[ .\-/]{0,2}[()]?\d){7,13})(?![\w/-]|[.,]\d)",
    re.IGNORECASE,
)


Row = tuple[int, int]
"""Where a row of seven digits or more starts and ends."""


def number_rows(text: str) -> list[Row]:
    """The rows of seven digits or more, with at most three marks between two of them."""
    return [found.span() for found in _ROW.finditer(text)]


def find_cards(text: str, rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Card numbers: grouped as on a card or not at all, in a known issuer's range, the check digit right."""
    for start, found in _near(text, [row for row in rows if row[1] - row[0] > 12], _CARD):
        digits = _digits(found.group())
        if _CARD_FORM.fullmatch(found.group()) and _CARD_ISSUERS.fullmatch(digits) and luhn(digits):
            yield start + found.start(), start + found.end()


def find_ibans(text: str, rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """International bank account numbers: the length of their country and ISO 7064's check."""
    for start, found in _near(text, rows, _IBAN):
        length = _IBAN_LENGTHS.get(found.group()[:2])
        taken = 0
        for at, character in enumerate(found.group() if length else "", 1):  # capitals may follow: "DE… BIC"
            taken += character != " "
            if taken == length:
                whole, rest = found.group()[:at], found.group()[at:]
                if rest[:1] in ("", " ") and mod97(whole.replace(" ", "")):
                    yield start + found.start(), start + found.start() + at
                break


def find_phones(text: str, rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Telephone numbers, with the sign, the 1 or a word such as tel before them."""
    for start, found in _near(text, rows, _PLUS):
        digits = _digits(found.group("number"))
        if 8 <= len(digits) <= 15 and _COUNTRY.match(digits) and not _is_round(digits):
            yield start + found.start(), start + found.end()
    for start, found in _near(text, rows, _AMERICAN):
        yield start + found.start(), start + found.end()
    for start, found in _near(text, rows, _ANNOUNCED):
        if 8 <= len(_digits(found.group("number"))) <= 14:
            yield start + found.start("number"), start + found.end("number")


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812 for those before."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0 and len(set(digits)) > 1


def mod97(account: str) -> bool:
    """Whether an account number keeps ISO 7064 MOD 97-10: first four moved to the end, letters 10 to 35."""
    return int("".join(str(int(character, 36)) for character in account[4:] + account[:4])) % 97 == 1


def _near(text: str, rows: Sequence[Row], pattern: re.Pattern[str]) -> Iterator[tuple[int, re.Match[str]]]:
    """What a pattern finds on rows of digits, and where the piece of text starts that it was found in."""
    done = 0
    for first, last in rows:
        start, end = max(done, first - _AROUND), last + _AROUND
        for found in pattern.finditer(text[start:end]):
            is_cut = (found.start() == 0 < start != done) or (start + found.end() == end < len(text))
            if start + found.end() > first and start + found.start() < last and not is_cut:
                yield start, found
                done = start + found.end()


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _is_round(digits: str) -> bool:
    """A quantity, as in +100000000: no telephone number ends in six zeros."""
    return digits.endswith("000000")
