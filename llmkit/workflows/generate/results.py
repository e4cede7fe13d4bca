"""Texts as records: the row that was read with its completion, and the figures of how it was written."""

from collections.abc import Iterable
from typing import Any

from llmkit.engine.completion import Completion
from llmkit.formats.jsonl import Record, raw
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.generate.code import first_code_block
from llmkit.workflows.generate.row import Row
from llmkit.workflows.token_scores import token_record

SCHEMA = "llmkit.generate/1"


def result_record(
    row: Row, completion: Completion, sample: int, tokenizer: Tokenizer | None, *, with_code: bool = False
) -> Record:
    """What comes out for one text: the row's own fields, and over them the results.

    Args:
        row: as it was asked for; its seed is the one that this text was drawn with.
        completion: the text.
        sample: its number among the texts of the row.
        tokenizer: spells tokens; None where there is none.
        with_code: also its first code block, or null.
    """
    sampling = row.request.sampling
    results: dict[str, Any] = {}
    if completion.text is not None:
        results["completion"] = row.prefill + completion.text
        if with_code:
            results["code"] = first_code_block(row.prefill + completion.text)
    if row.text is None:  # tokens came in: tokens go out
        results["completion_ids"] = [token.id for token in completion.drawn]
    results["finish_reason"] = completion.finish
    results["usage"] = usage([completion], row)
    results["seed"] = sampling.seed
    if sampling.samples > 1:
        results["sample"] = sample
    if sampling.logprobs is not None:
        results["logprobs"] = [token_record(token, tokenizer) for token in completion.drawn]
    return row.record | {key: raw(value) for key, value in results.items()}


def usage(completions: Iterable[Completion], row: Row) -> dict[str, int]:
    """Tokens read and written; a token that ended a text counts, it was drawn like the others."""
    prompt, written = row.prompt_tokens, sum(len(one.drawn) for one in completions)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
