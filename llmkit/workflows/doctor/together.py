"""Whether artefacts belong together: one tokenizer behind all of them, and a row for every id."""

from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.workflows.doctor.findings import Finding, finding


@dataclass(frozen=True)
class Identity:
    """What an artefact says about the tokenizer behind it."""

    where: str
    kind: str
    """model, tokenizer, shards or tokens. Two models, or two tokenizers, need not have anything in common."""
    tokenizer_sha256: str | None = None
    """Of the tokenizer it holds, or was made with."""
    ids: int | None = None
    """One more than the highest id it uses."""
    rows: int | None = None
    """Rows of its embedding."""


def check_together(identities: Sequence[Identity]) -> list[Finding]:
    """Each artefact against those before it."""
    findings = []
    known = [one for one in identities if one.tokenizer_sha256 is not None]
    for number, other in enumerate(known):
        first = next((one for one in known[:number] if _disagree(one, other)), None)
        if first is not None:
            digests = f"sha256 {_short(other)}, not {_short(first)}"
            what = f"belongs to another tokenizer than {first.where} ({digests})"
            hint = "make both with one tokenizer: -t TOKENIZER"
            findings.append(finding("error", "together.tokenizer", other.where, what, hint))
    rooms = [one for one in identities if one.rows is not None]
    for room in rooms:
        for other in identities:
            if (
                other is not room
                and other.ids is not None
                and room.rows is not None
                and other.ids > room.rows
            ):
                what = f"has ids up to {other.ids - 1}, the embedding of {room.where} has {room.rows} rows"
                hint = "use the tokenizer of that model, or train with a larger vocab_size"
                findings.append(finding("error", "together.vocabulary", other.where, what, hint))
    return findings


def _disagree(one: Identity, other: Identity) -> bool:
    independent = one.kind == other.kind and one.kind in ("model", "tokenizer")
    return not independent and one.tokenizer_sha256 != other.tokenizer_sha256


def _short(one: Identity) -> str:
    return (one.tokenizer_sha256 or "")[:12]
