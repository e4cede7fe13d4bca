"""Examples as a person is shown them: their text in parts, each learnt or not."""

from dataclasses import dataclass

from llmkit.tokens.supervise import Supervised
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.finetune.stream import Learnt


@dataclass(frozen=True)
class Sample:
    """An example to be shown: its text in parts, each learnt or not."""

    where: str
    name: str
    """`chosen` or `rejected`, of a pair."""
    parts: list[tuple[str, bool]]
    tokens: int
    learnt_tokens: int
    faults: list[str]


def samples_of(tokenizer: Tokenizer, learnt: Learnt) -> list[Sample]:
    """An example as it is shown; of a pair, two."""
    names = ("chosen", "rejected") if len(learnt.answers) == 2 else ("",)
    faults = sorted({fault.rule for fault in learnt.faults})
    return [
        Sample(learnt.line.where, name, _parts(tokenizer, one), len(one.ids), int(one.learnt.sum()), faults)
        for name, one in zip(names, learnt.answers, strict=True)
    ]


def _parts(tokenizer: Tokenizer, one: Supervised) -> list[tuple[str, bool]]:
    """The text in runs of tokens learnt or not; a character split between two is shown as bytes in both."""
    parts: list[tuple[str, bool]] = []
    reached = 0
    for start, length in [*one.runs, (len(one.ids), 0)]:
        for ids, is_learnt in ((one.ids[reached:start], False), (one.ids[start : start + length], True)):
            if len(ids):
                content = b"".join(tokenizer.token_bytes(token) for token in ids.tolist())
                parts.append((content.decode(errors="backslashreplace"), is_learnt))
        reached = start + length
    return parts
