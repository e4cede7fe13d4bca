"""Samples: all of an example's text, told apart by what is learnt."""

from pathlib import Path

import numpy as np

from llmkit.formats.jsonl import Line
from llmkit.tokens.audit import Fault
from llmkit.tokens.examples import Example
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.supervise import Supervised
from llmkit.workflows.finetune.samples import samples_of
from llmkit.workflows.finetune.stream import Learnt


def test_parts_are_runs_of_tokens(byte_level_dir: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    ids = np.array(tokenizer.encode("<|im_start|>ab é"), np.uint32)
    learnt = np.zeros(len(ids), bool)
    learnt[1] = True
    one = Learnt(
        "x", Line({}, "a", 7), Example("text", ()), (Supervised(ids, learnt),), [Fault("text.lost", "")]
    )
    (sample,) = samples_of(tokenizer, one)
    assert [is_learnt for _, is_learnt in sample.parts] == [False, True, False]
    assert "".join(text for text, _ in sample.parts) == "<|im_start|>ab é"
    assert (sample.where, sample.tokens, sample.learnt_tokens, sample.faults) == (
        "a:7",
        len(ids),
        1,
        ["text.lost"],
    )


def test_of_a_pair_both_sides_are_shown_and_a_split_character_as_bytes(byte_level_dir: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    ids = np.array(tokenizer.encode("é"), np.uint32)
    assert len(ids) == 2
    half = Supervised(ids, np.array([False, True]))
    chosen, rejected = samples_of(
        tokenizer, Learnt("x", Line({}, "a", 7), Example("p", ()), (half, half), [])
    )
    assert (chosen.name, rejected.name) == ("chosen", "rejected")
    assert chosen.parts == [("\\xc3", False), ("\\xa9", True)]
