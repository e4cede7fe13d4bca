"""What a fine-tuning run learns from and is scored on, as rows, whatever its method takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import UsageError
from llmkit.formats.provenance import Invocation
from llmkit.formats.shards import Rows
from llmkit.model.config import ModelConfig
from llmkit.progress import Progress
from llmkit.tokens.audit import AuditReport
from llmkit.tokens.config import PackConfig
from llmkit.tokens.examples import Kind
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.data import RowSource
from llmkit.train.finetune_config import PAIRED, FinetuneConfig
from llmkit.train.pair_rows import Tokens, build_rows
from llmkit.train.rollout import Prompt
from llmkit.workflows.finetune.audit import RejectLog
from llmkit.workflows.finetune.examples import open_examples
from llmkit.workflows.finetune.pairs import open_pairs
from llmkit.workflows.finetune.prompts import open_prompts
from llmkit.workflows.finetune.samples import Sample
from llmkit.workflows.finetune.stream import Side
from llmkit.workflows.pretrain.data import PretrainData


@dataclass(frozen=True)
class FinetuneData:
    """Rows, and what the audit found on the way."""

    data: PretrainData
    audit: AuditReport
    longest: int
    """Tokens of a text, at most."""
    samples: list[Sample] = field(default_factory=list)
    prompts: Sequence[Prompt] = ()


class PromptRows:
    """Prompts as a RowSource: nothing in them is learnt, since the answers are yet to be written."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = prompts

    def __len__(self) -> int:
        """Number of prompts."""
        return len(self._prompts)

    def read(self, rows: NDArray[np.int64]) -> Rows:
        """Some prompts, in the order asked for."""
        ids = [self._prompts[row].ids for row in rows.tolist()]
        return build_rows([[(0, Tokens(one, [False] * len(one)))] for one in ids])


def open_finetune_data(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    config: FinetuneConfig,
    supervise: SuperviseConfig,
    *,
    model: ModelConfig,
    seq_len: int | None,
    side: Side,
    cache: Path,
    log: RejectLog,
    shown: int,
    invocation: Invocation,
    progress: Progress,
) -> FinetuneData:
    """Open examples, pairs, answers with a label, or prompts, as the method takes them.

    Args:
        paths: files of records; `-` is stdin.
        tokenizer: with its chat template.
        config: names the method.
        supervise: how records become examples.
        model: no text is longer than its positions.
        seq_len: of rows of examples, where it was given.
        side: of a split by `supervise.valid_fraction`.
        cache, log, shown, invocation, progress: as for `open_examples`.

    Raises:
        UsageError, DataError, MissingError: no record can be learnt from, or something is not there.
    """
    common: dict[str, Any] = {"side": side, "cache": cache, "log": log, "shown": shown, "progress": progress}
    most = model.max_position_embeddings
    # a row of pairs has both answers, and learned positions are counted through the row
    text = most // 2 if config.method in PAIRED and model.position != "rope" else most + 1
    for flag, given, room in (("--seq-len", seq_len, most), ("--max-tokens", supervise.max_tokens, text)):
        if given is not None and given > room:
            of_pairs = ", and a row has both answers" if room < most else ""
            can_stretch = model.position == "rope" and not model.rope_scaling and not config.lora
            longer = f"--rope-scaling yarn:{-(-given // most)}, or " if can_stretch else ""
            raise UsageError(
                f"{flag} {given}, but the model has {most} positions{of_pairs}",
                hint=f"{longer}at most {flag} {room}",
            )
    if config.method in ("sft", "kd"):
        length = seq_len or min(model.max_position_embeddings, PackConfig.seq_len)
        examples = open_examples(paths, tokenizer, supervise, seq_len=length, invocation=invocation, **common)
        return FinetuneData(examples.data, examples.audit, length, examples.samples)
    if config.method == "grpo":
        return _open_prompts(paths, tokenizer, config, supervise, most, common)
    limit = min(text, most, (seq_len or PackConfig.seq_len) + 1)
    kind: Kind = "pair" if config.method in PAIRED else "label"
    pairs = open_pairs(paths, tokenizer, supervise, kind=kind, max_tokens=limit, **common)
    data = _data(pairs.rows, pairs.rows.row_length - 1, tokenizer, pairs.sha256, pairs.inputs)
    return FinetuneData(data, pairs.audit, supervise.max_tokens or limit, pairs.samples)


def _open_prompts(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    config: FinetuneConfig,
    supervise: SuperviseConfig,
    room: int,
    common: dict[str, Any],
) -> FinetuneData:
    answer = config.resolved_completion_tokens
    if answer >= room:
        raise UsageError(
            f"--completion-tokens {answer} leaves no room for a prompt in {room} positions",
            hint=f"--completion-tokens {room // 2}",
        )
    del common["shown"]  # nothing is learnt of a prompt
    opened = open_prompts(paths, tokenizer, supervise, max_tokens=room - answer, **common)
    longest = max(len(one.ids) for one in opened.prompts)
    rows = PromptRows(opened.prompts)
    data = _data(rows, longest + answer, tokenizer, opened.sha256, {"prompts": opened.sha256})
    return FinetuneData(data, opened.audit, longest + answer, prompts=opened.prompts)


def _data(
    rows: RowSource, seq_len: int, tokenizer: Tokenizer, sha256: str, inputs: dict[str, str]
) -> PretrainData:
    return PretrainData(
        rows=rows,
        seq_len=seq_len,
        vocab_size=tokenizer.vocab_size,
        sha256=sha256,
        tokenizer_sha256=tokenizer.sha256,
        bytes_per_token=None,
        special_ids={},
        inputs=inputs,
    )
