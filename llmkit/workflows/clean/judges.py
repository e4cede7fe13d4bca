"""Steps of `clean` that judge a document: the response, its licence, its language, rules, test sets."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from llmkit.errors import DataError
from llmkit.formats.jsonl import decode_all, parse_line
from llmkit.text.decontaminate import NgramIndex, build_index, evaluation_texts
from llmkit.text.extract import judge_page
from llmkit.text.history import METADATA, licences_of, object_at
from llmkit.text.language import Detector, detector_of, parse_languages
from llmkit.text.licences.detect import best_licence, detect_licences
from llmkit.text.licences.ids import LicenceGate
from llmkit.text.rule import Check, Rule, Verdict, apply_rules, checks_of
from llmkit.workflows.clean.input import read_batches
from llmkit.workflows.clean.item import Item
from llmkit.workflows.clean.options import CleanSettings
from llmkit.workflows.clean.work import Step
from llmkit.workflows.units import Piece


class JudgePage(Step):
    """Drops responses that are no page: errors, images, scripts."""

    of_pages = True
    checks = (
        Check("http status", "the status of the response"),
        Check("content type", "the media type of the response"),
    )

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        """Judge what HTTP said."""
        verdict = None if item.entry.page is None else judge_page(*item.entry.page)
        return () if verdict is None else (verdict,)


class Languages(Step):
    """Finds the language, and drops what is in another one than those wanted.

    Raises:
        UsageError: a language that the model does not know.
        MissingError: the model's package or file is not there.
    """

    checks = (Check("language", "the likeliest language and its score"),)

    def __init__(self, wanted: str, model: str | None) -> None:
        self._gate = parse_languages(wanted)
        self._detect = _detector(model)
        self._gate.check(self._detect)

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        """Detect and judge."""
        assert item.text is not None
        found = self._detect(item.text)
        item.facts["lang"] = found.code
        verdict = self._gate.judge(found)
        return () if verdict is None else (verdict,)


class Rules(Step):
    """The rules of presets and of a rule file."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._checks = checks_of(rules)
        self.checks = tuple(self._checks.values())

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        """Run the chain; lines that rules take out are edits."""
        assert item.text is not None
        outcome = apply_rules(self._rules, item.text, every_score=every_score)
        item.text = outcome.text
        item.edits.update(outcome.edits)
        item.scores.update(outcome.scores)
        if outcome.verdict is None:
            return ()
        verdicts = [outcome.verdict]
        for name, value in outcome.scores.items() if every_score else ():
            bound = self._checks[name].broken_by(value) if name in self._checks else None
            if bound is not None and name != outcome.verdict.rule:
                verdicts.append(Verdict(name, value, bound))
        return verdicts


class Licences(Step):
    """Finds the licence of a document, and drops it where that is not to be had.

    What the record or its `metadata` declares is taken before what is found in the page or text.

    Raises:
        UsageError: a name that is no licence.
    """

    checks = (Check("licence", "the licence, or unknown"),)

    def __init__(self, settings: CleanSettings) -> None:
        self._detects = settings.detect_license
        self._judges = bool(settings.license_allow or settings.license_deny or settings.require_license)
        self._gate = LicenceGate(
            allow=settings.license_allow, deny=settings.license_deny, require=settings.require_license
        )

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        """Find and judge.

        Raises:
            DataError: it is to be judged, and its metadata is something else than an object.
        """
        if self._judges and object_at(item.record, METADATA) is None:
            raise DataError(
                f'{item.entry.file}:{item.entry.line}: "metadata" is no object, and may declare a licence',
                hint="rename this metadata, or pass over bad lines with --skip-bad",
            )
        licences = licences_of(item.record)
        if not licences and self._detects:
            evidence = best_licence(detect_licences(item.text or "", item.html or ""))
            if evidence is not None:
                licences = (evidence.licence,)
                item.facts |= {"license": evidence.licence, "license_evidence": evidence}
        verdict = self._gate.judge_all(licences)
        return () if verdict is None else (verdict,)


class Against(Step):
    """Drops what shares a run of 13 words with a test set."""

    checks = (Check("contaminated", "words of a test set"),)

    def __init__(self, sets: tuple[tuple[str, str], ...]) -> None:
        self._index = index_of(sets)

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        """Look for words of the test sets."""
        assert item.text is not None
        verdict = self._index.judge(item.text)
        return () if verdict is None else (verdict,)


@lru_cache(maxsize=1)  # a worker cleans many units, and the model takes a second to load
def _detector(model: str | None) -> Detector:
    return detector_of(None if model is None else Path(model))


@lru_cache(maxsize=1)  # as above
def index_of(sets: tuple[tuple[str, str], ...]) -> NgramIndex:
    """The index of test sets: a path and the digest of its content each.

    Raises:
        DataError: one of them is malformed, or nothing in them is long enough to be looked for.
    """
    items: list[tuple[str, str]] = []
    for batch in read_batches(Piece(name) for name, _ in sets):
        for entry in batch:
            texts = evaluation_texts(decode_all(parse_line(entry.content, entry.file, entry.line)))
            items += [(f"{Path(entry.file).name}:{entry.line}", text) for text in texts]
    index = build_index(items)
    if not index.num_runs:
        raise DataError(
            f"--against {Path(sets[0][0]).name}: nothing in it has 8 words or more",
            hint="questions, prompts, answers or texts, one a line of jsonl",
        )
    return index
