"""Pairs and labelled answers as rows: prompts are not learnt, answers are, what is no pair is left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.finetune.audit import reject_log
from llmkit.workflows.finetune.pairs import Pairs, open_pairs

PAIR = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"}


@pytest.fixture
def tokenizer(byte_level_dir: Path) -> Tokenizer:
    return load_tokenizer(byte_level_dir)


def opened(records: list[dict[str, Any]], tokenizer: Tokenizer, folder: Path, **more: Any) -> Pairs:
    (folder / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    settings = {"kind": "pair", "max_tokens": 64, "cache": folder / "cache", **more}
    return open_pairs([folder / "pairs.jsonl"], tokenizer, SuperviseConfig(), **settings)


def answers(found: Pairs, tokenizer: Tokenizer) -> list[list[tuple[int, str, str]]]:
    """Of each row its segments: number, whole text, what is learnt."""
    rows = found.rows.read(np.arange(len(found.rows)))
    return [
        [
            (
                number,
                tokenizer.decode(ids[segment == number]),
                tokenizer.decode(ids[(segment == number) & loss]),
            )
            for number in (0, 1)
            if (segment == number).any()
        ]
        for ids, segment, loss in zip(rows.tokens, rows.segments, rows.loss, strict=True)
    ]


def rendered(answer: str) -> str:
    return f"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"


def test_a_pair_is_a_row_of_both_answers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    found = opened([PAIR], tokenizer, tmp_path, shown=1)
    assert answers(found, tokenizer) == [
        [(0, rendered("Hello"), "Hello<|im_end|>"), (1, rendered("Go away"), "Go away<|im_end|>")]
    ]
    assert (found.audit.records, found.audit.examples, found.audit.faults) == (1, 1, {})
    rows = found.rows.read(np.arange(len(found.rows)))
    assert found.audit.tokens == (rows.segments >= 0).sum()
    assert found.audit.learnt_tokens == rows.loss.sum()
    assert [sample.name for sample in found.samples] == ["chosen", "rejected"]
    assert found.sha256 == found.rows.digest


def test_a_label_decides_the_segment(tokenizer: Tokenizer, tmp_path: Path) -> None:
    records = [{"prompt": "Hi", "completion": one, "label": one == "Hello"} for one in ("Hello", "Go")]
    found = opened([*records, PAIR | {"prompt": "Ho"}], tokenizer, tmp_path, kind="label")
    learnt = [[(number, text) for number, _, text in row] for row in answers(found, tokenizer)]
    assert learnt == [
        [(0, "Hello<|im_end|>")],
        [(1, "Go<|im_end|>")],
        [(0, "Hello<|im_end|>")],
        [(1, "Go away<|im_end|>")],
    ]


def test_earlier_answers_of_the_prompt_are_not_learnt(tokenizer: Tokenizer, tmp_path: Path) -> None:
    prompt = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    found = opened([PAIR | {"prompt": prompt}], tokenizer, tmp_path)
    assert [text for _, _, text in answers(found, tokenizer)[0]] == ["Hello<|im_end|>", "Go away<|im_end|>"]


@pytest.mark.parametrize(
    ("rule", "kind", "record"),
    [
        ("pair.equal", "pair", {"prompt": "a", "chosen": "b", "rejected": "b"}),
        ("record.shape", "pair", {"prompt": "a", "completion": "b"}),
        ("record.shape", "label", {"prompt": "a", "completion": "b"}),
        ("record.duplicate", "pair", {"id": 7, **PAIR}),
        ("answer.empty", "pair", {"prompt": "a", "chosen": "b", "rejected": ""}),
        ("cut.all", "pair", {"prompt": "x y z " * 60, "chosen": "b", "rejected": "c"}),
    ],
)
def test_the_planted_fault_is_found(
    rule: str, kind: str, record: dict[str, Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with reject_log(tmp_path / "rejects.jsonl") as log:
        found = opened([PAIR, record], tokenizer, tmp_path, kind=kind, log=log)
    assert found.audit.faults == {rule: 1}
    assert len(found.rows) == {"pair": 1, "label": 2}[kind]
    (reject,) = (tmp_path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(reject)["_reject"]["rule"] == rule


def test_no_pair_at_all_is_an_error(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"record.shape 1"):
        opened([{"prompt": "a", "completion": "b"}], tokenizer, tmp_path)


def test_a_split_divides_the_pairs(tokenizer: Tokenizer, shared_data: Path, tmp_path: Path) -> None:
    data = [shared_data / "preference" / "instruction-preference-1100.jsonl.zst"]
    config = SuperviseConfig(valid_fraction=0.2)
    settings = {"kind": "pair", "max_tokens": 512, "cache": tmp_path}
    found = [
        open_pairs(data, tokenizer, config, side=side, **settings).audit for side in ("train", "valid", "all")
    ]
    assert [one.records for one in found][2] == found[0].records + found[1].records == 1100
    assert 160 <= found[1].records <= 280
    assert found[2].faults.get("pair.equal", 0) == found[0].faults.get("pair.equal", 0) + found[1].faults.get(
        "pair.equal", 0
    )
