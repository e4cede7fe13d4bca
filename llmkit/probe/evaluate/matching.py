"""Whether an output is the answer: exact, normalised, a number, a choice, parts of it, or words in common."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from llmkit.errors import DataError
from llmkit.probe.evaluate.config import Match

GRADED: frozenset[Match] = frozenset(("contains-all", "f1"))
"""Those whose scores lie between 0 and 1; the others are right or wrong."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MINUS = "\u2212"
"""Unicode's own sign, which models write in mathematics."""
_NUMBER = re.compile(
    # a hyphen right behind a digit or a word is none of the number: 10-12, 5-3, covid-19
    rf"(?:(?<!\w)[-{_MINUS}])?\$?"
    rf"(?:(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+{_MINUS}-]?\d+)?"
)
_GSM8K = re.compile(r"#### (-?[0-9.,]+)")
_SAID_CHOICE = re.compile(r"(?i:answer)\s*(?i:is)?\s*:?\s*\**(?:\(([A-Za-z])\)|([A-Z])\b)")
_LEADING_CHOICE = re.compile(r"\s*\**(?:\(([A-Za-z])\)|([A-Z])(?:[).:*]|\s*$))")
_ANY_CHOICE = re.compile(r"(?<![\w'])([A-Z])(?![\w'])")


@dataclass(frozen=True)
class Judgement:
    """Of one output."""

    score: float
    """0 to 1."""
    found: str | None
    """What was judged; None where the output holds nothing of the kind."""

    @property
    def correct(self) -> bool:
        """Whether all of it is right."""
        return self.score == 1.0


def judge(match: Match, output: str, answers: Sequence[str], *, ignore_case: bool = False) -> Judgement:
    """Hold an output against its answers, the best of which counts; of contains-all each counts.

    Args:
        match: how.
        output: what the model wrote, or what was extracted of it.
        answers: one or more; for `regex` regular expressions, for `choice` letters or numbers from 0.
        ignore_case: for exact, contains and regex; the others ignore it already.

    Raises:
        DataError: an answer is nothing that an output could be held against.
    """
    if not answers:
        raise DataError("no answer to compare with", hint="an answer is a text, a number, or a list of them")
    if match == "contains-all":
        return Judgement(_share_contained(output, answers), output)
    if match == "f1":
        return Judgement(max(f1(output, answer) for answer in answers), output)
    if match in _FINDERS:
        find = _FINDERS[match]
        found = find(output)
        wanted = {_wanted(match, answer) for answer in answers}
        return Judgement(float(found is not None and found in wanted), found)
    compare = _COMPARISONS[match]
    return Judgement(float(any(compare(output, answer, ignore_case) for answer in answers)), output.strip())


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and needless space: SQuAD's own (1606.05250)."""
    text = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def f1(output: str, answer: str) -> float:
    """Harmonic mean of precision and recall over normalised words, as SQuAD counts them."""
    ours, theirs = normalise(output).split(), normalise(answer).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs))


def last_number(text: str) -> str | None:
    """The last number in a text, as equal numbers are equal texts: 1,000 and 1000.0 are 1000."""
    found = _NUMBER.findall(text)
    return None if not found else plain_number(found[-1])


def plain_number(text: str) -> str | None:
    """A number without commas, dollar signs and needless zeros, to its last digit; None where it is none."""
    try:
        value = Decimal(text.replace(",", "").replace("$", "").replace(_MINUS, "-").strip().rstrip("."))
    except InvalidOperation:
        return None
    if not value:
        return "0"  # whatever its sign and exponent
    if not value.is_finite() or abs(value.adjusted()) >= 100:
        return None
    plain = f"{value:f}"  # Decimal.normalize() would round to 28 digits
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def gsm8k_answer(text: str) -> str | None:
    """The number behind `#### `, where GSM8K's solutions end (2110.14168); None without one."""
    found = _GSM8K.search(text)
    return None if found is None else plain_number(found[1])


def chosen_letter(text: str) -> str | None:
    """The letter that a text chooses: after "answer is", else at its beginning, else the last one alone."""
    said = [bracketed or bare for bracketed, bare in _SAID_CHOICE.findall(text)]
    if said:
        return str(said[-1]).upper()
    leading = _LEADING_CHOICE.match(text)
    if leading is not None:
        return (leading[1] or leading[2]).upper()
    alone = [letter for letter in _ANY_CHOICE.findall(text) if letter != "I"]
    return alone[-1] if alone else None


_FINDERS: dict[Match, Callable[[str], str | None]] = {
    "number": last_number,
    "gsm8k": gsm8k_answer,
    "choice": chosen_letter,
}


def _wanted(match: Match, answer: str) -> str:
    """An answer in the form in which outputs are found."""
    if match == "choice":
        number = answer.strip()
        found = chr(ord("A") + int(number)) if number.isdecimal() and int(number) < 26 else None
        found = found or (number.upper().strip("().") if len(number.strip("().")) == 1 else None)
        if found is None or not found.isalpha():
            raise DataError(f"the answer {answer!r} is no choice", hint="a letter, or a number from 0")
        return found
    found = gsm8k_answer(answer) if match == "gsm8k" and "####" in answer else last_number(answer)
    if found is None:
        raise DataError(f"the answer {answer!r} has no number", hint="--match normalized compares texts")
    return found


def _share_contained(output: str, answers: Sequence[str]) -> float:
    """RULER's string_match_all (2404.06654): how many of them the output contains, whatever their case."""
    text = output.lower()
    return sum(answer.lower() in text for answer in answers) / len(answers)


def _cased(text: str, ignore_case: bool) -> str:
    return text.casefold() if ignore_case else text


def _matches(output: str, answer: str, ignore_case: bool) -> bool:
    try:
        return re.search(answer, output, re.I if ignore_case else 0) is not None
    except re.error as error:
        raise DataError(
            f"the answer {answer!r} is no regular expression: {error}",
            hint="--match contains takes it as text",
        ) from None


_COMPARISONS: dict[Match, Callable[[str, str, bool], bool]] = {
    "exact": lambda output, answer, ignore: _cased(output.strip(), ignore) == _cased(answer.strip(), ignore),
    "normalized": lambda output, answer, _: normalise(output) == normalise(answer),
    "contains": lambda output, answer, ignore: _cased(answer, ignore) in _cased(output, ignore),
    "contains-any": lambda output, answer, _: answer.lower() in output.lower(),
    "regex": _matches,
}
