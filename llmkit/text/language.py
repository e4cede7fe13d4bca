"""Which language a text is in, and whether it is one that is wanted.

py3langid, by default: naive Bayes over bytes, 140 languages by ISO 639 code, its model inside the package,
probabilities calibrated; "zxx" is no language (tables, code, numbers). fastText: any model of labels
(lid.176.bin, GlotLID) by its path; `__label__eng_Latn` is the code `eng_Latn`. Codes of the two differ, so a
list of wanted languages is checked against the codes that the model knows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmkit.errors import DataError, MissingError, UsageError, nearest
from llmkit.text.rule import Verdict

LEAST_SCORE = 0.65
"""FineWeb's and RefinedWeb's threshold, there for fastText's lid.176."""
LOOK_AT_CHARS = 2000
NO_LANGUAGE = "zxx"
_SPACE = re.compile(r"\s+")
_LETTER = re.compile(r"[^\W\d_]")


class Language(msgspec.Struct, frozen=True):
    """A code, as the model writes it, and the probability that the model gives it."""

    code: str
    score: float


@dataclass(frozen=True)
class Detector:
    """A model: `codes` are those that it can answer, None where it does not say."""

    detect: Callable[[str], Language]
    codes: frozenset[str] | None

    def __call__(self, text: str) -> Language:
        """The likeliest language of a text; a long one is judged by pieces of its start, middle and end."""
        sample = sample_of(text)
        return self.detect(sample) if _LETTER.search(sample) else Language(NO_LANGUAGE, 0.0)


@dataclass(frozen=True)
class LanguageGate:
    """The wanted languages with the least score of each; `gate.judge` drops the rest."""

    wanted: dict[str, float]

    def judge(self, found: Language) -> Verdict | None:
        """None for a wanted language that is sure enough."""
        least = self.wanted.get(found.code)
        if least is not None and found.score >= least:
            return None
        value = f"{found.code}:{found.score:.2f}"
        return Verdict(
            "language", value, ",".join(f"{code}:{score:g}" for code, score in self.wanted.items())
        )

    def check(self, detector: Detector) -> None:
        """Check that the detector can answer every wanted code.

        Raises:
            UsageError: it does not know one; everything would be dropped.
        """
        for code in self.wanted:
            if detector.codes is not None and code not in detector.codes:
                close = nearest(code, detector.codes)
                hint = f"did you mean {close}?" if close else f"it knows {', '.join(sorted(detector.codes))}"
                raise UsageError(f"--lang {code}: a language that the model does not know", hint=hint)


def parse_languages(wanted: str) -> LanguageGate:
    """The gate that `en:0.65,de` describes; a code without a score takes the default.

    Raises:
        UsageError: no code, or a score that is no probability.
    """
    gate: dict[str, float] = {}
    for part in wanted.split(","):
        code, colon, score = part.strip().partition(":")
        try:
            least = float(score) if colon else LEAST_SCORE
        except ValueError:
            least = -1.0
        if not code or not 0 <= least <= 1:
            raise UsageError(
                f"--lang {part.strip() or repr(wanted)}: not a language with a score from 0 to 1",
                hint="for example --lang en:0.65,de",
            )
        gate[code] = least
    return LanguageGate(gate)


def detector_of(model: Path | None = None) -> Detector:
    """The detector of a fastText model file, or py3langid's own for None.

    Raises:
        MissingError: the package or the file is not there.
        DataError: the file is no fastText model.
    """
    return _langid() if model is None else _fasttext(model)


def sample_of(text: str, most: int = LOOK_AT_CHARS) -> str:
    """What a detector looks at, on one line: the text, or a third of `most` from start, middle and end."""
    if len(text) > 2 * most:  # the cut is made before the cleaning, so a book costs what a page does
        third = most // 3
        middle = len(text) // 2
        text = " ".join((text[:third], text[middle - third // 2 :][:third], text[-third:]))
    return _SPACE.sub(" ", text).strip()[:most]


def _langid() -> Detector:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise MissingError(
            "--lang needs the package py3langid", hint="pip install 'llmkit[corpus]'"
        ) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def detect(text: str) -> Language:
        code, score = identifier.classify(text)
        return Language(str(code), round(float(score), 4))

    return Detector(detect, frozenset(identifier.labels))


def _fasttext(path: Path) -> Detector:
    try:
        import fasttext
    except ImportError:
        raise MissingError(
            f"{path}: a fastText model needs the package fasttext-predict",
            hint="pip install 'llmkit[fasttext]'",
        ) from None
    if not path.is_file():
        raise MissingError(f"{path}: no such file", hint="--lang-model takes a fastText .bin or .ftz")
    try:
        model = fasttext.load_model(str(path))
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{path}: not a fastText model ({error})", hint="fetch it again") from None

    def detect(text: str) -> Language:
        labels, scores = model.predict(text, k=1)
        if not labels:
            return Language(NO_LANGUAGE, 0.0)
        return Language(str(labels[0]).removeprefix("__label__"), round(min(1.0, float(scores[0])), 4))

    return Detector(detect, None)
