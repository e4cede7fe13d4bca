"""Texts as records: the row that was read with its completion, and the figures of how it was written."""

from collections.abc import Iterable
from typing import Any

from llmkit.engine.completion import Completion
from llmkit.engine.request import Drawn, Scored
from llmkit.formats.jsonl import Record, raw
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.generate_code import first_code_block
from llmkit.workflows.generate_rows import Row

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
        results["logprobs"] = [_logprobs(token, tokenizer) for token in completion.drawn]
    return row.record | {key: raw(value) for key, value in results.items()}


def usage(completions: Iterable[Completion], row: Row) -> dict[str, int]:
    """Tokens read and written; a token that ended a text counts, it was drawn like the others."""
    prompt, written = len(row.request.prompt), sum(len(one.drawn) for one in completions)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def _logprobs(token: Drawn, tokenizer: Tokenizer | None) -> dict[str, Any]:
    assert token.score is not None
    return {
        **_spelled(token.score, tokenizer),
        "entropy_bits": token.entropy_bits,
        "rank": token.rank,
        "top": [_spelled(one, tokenizer) for one in token.top],
    }


def _spelled(token: Scored, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """A token with its text; one that is part of a character has its bytes too."""
    if tokenizer is None:
        return {"id": token.id, "logprob": token.logprob}
    content = tokenizer.token_bytes(token.id)
    text = content.decode(errors="replace")
    whole = text.encode() == content
    spelled = {"id": token.id, "text": text, "logprob": token.logprob}
    return spelled if whole else {**spelled, "bytes": list(content)}
