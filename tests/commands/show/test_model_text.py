"""A model as text: every figure of the report in its place, and nothing about what is not known."""

from typing import Any

import msgspec
import pytest

from llmkit.commands.show.model_text import context_words, model_text, shape_words, tensors_text
from llmkit.workflows.show.model import ModelReport, Part, Tensor, TokenizerFit, Weights

WEIGHTS = Weights(
    parameters=2000,
    size_bytes=6144,
    dtypes={"F32": 1072, "BF16": 928},
    parts=[
        Part(name="embedding", tensors=1, parameters=1500, size_bytes=4096),
        Part(name="mlp", tensors=12, parameters=500, size_bytes=2048),
    ],
    files=["model.safetensors"],
    layers=2,
)
SHAPE: dict[str, Any] = {
    **{"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2},
    **{"num_key_value_heads": 1, "head_dim": 4, "vocab_size": 32_000, "max_position_embeddings": 131_072},
    **{"hidden_act": "silu", "rope_theta": 500_000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
}
REPORT = ModelReport(
    kind="model",
    path="m",
    model_type="llama",
    shape=SHAPE,
    supported=True,
    tied=True,
    weights=WEIGHTS,
    tokenizer=TokenizerFit(vocab_size=32_000, sha256="0123456789abcdef", fits=True),
    chat_template=False,
    made_by="llmkit pretrain --data shards",
)
TEXT = """\
m: model, llama
  weights     2,000 parameters, F32 (53.6%) + BF16 (46.4%), 6.0 KiB in
              model.safetensors
  shape       2 layers, hidden 8, mlp 12 silu, 2 heads, 1 key/value head of 4
  context     131,072 tokens, rope_theta 500,000, llama3 scaling
  vocabulary  32,000, embedding and head are one
  tokenizer   32,000 tokens, sha256 0123456789ab
  template    none
  made by     llmkit pretrain --data shards

  part       tensors  parameters   share     size
  embedding        1       1,500   75.0%  4.0 KiB
  mlp             12         500   25.0%  2.0 KiB
  total           13       2,000  100.0%  6.0 KiB"""


def _facts(**changes: Any) -> dict[str, str]:
    """The facts of a changed report by name."""
    lines = model_text(msgspec.structs.replace(REPORT, **changes), width=110).split("\n\n")[0].splitlines()
    return {name: what.strip() for name, _, what in (line.strip().partition("  ") for line in lines[1:])}


def test_a_model_is_told_in_facts_and_a_table_of_its_parts() -> None:
    assert model_text(REPORT, width=80) == TEXT


def test_no_fact_is_wider_than_asked() -> None:
    lines = model_text(REPORT, width=50).split("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= 50 and len(lines) > len(TEXT.split("\n\n")[0].splitlines())


def test_a_bare_report_is_its_title() -> None:
    assert model_text(ModelReport(kind="config", path="c.json"), width=80) == "c.json: config"


@pytest.mark.parametrize(
    ("changes", "name", "fact"),
    [
        ({"tied": False}, "vocabulary", "32,000, head of its own"),
        ({"tied": None}, "vocabulary", "32,000"),
        ({"tied": None, "shape": {}}, "vocabulary", None),
        ({"chat_template": True}, "template", "yes"),
        ({"chat_template": None}, "template", None),
        ({"tokenizer": None}, "tokenizer", "none"),
        ({"tokenizer": None, "kind": "safetensors"}, "tokenizer", None),
        (
            {"tokenizer": TokenizerFit(vocab_size=9, sha256="ab" * 32, fits=False)},
            "tokenizer",
            "9 tokens: more than the embedding has rows, sha256 abababababab",
        ),
        ({"supported": False, "why_not": "mixture of experts"}, "runs here", "no: mixture of experts"),
        ({"supported": None}, "runs here", None),
        ({"metadata": {"format": "pt", "a": "b"}}, "metadata", "format pt, a b"),
        ({"metadata": {"format": "\x1b[2J"}}, "metadata", r"format \x1b[2J"),
        ({"shape": {}}, "shape", "2 layers"),
        ({"shape": {}, "weights": None}, "shape", None),
    ],
)
def test_each_fact_says_what_is_known_of_it(changes: dict[str, Any], name: str, fact: str | None) -> None:
    assert _facts(**changes).get(name) == fact


@pytest.mark.parametrize(
    ("files", "where"),
    [([], ""), (["a.safetensors"], " in a.safetensors"), (["a.safetensors", "b.safetensors"], " in 2 files")],
)
def test_weights_are_in_a_file_in_several_or_only_planned(files: list[str], where: str) -> None:
    weights = msgspec.structs.replace(WEIGHTS, dtypes={"F32": 2000}, files=files)
    assert _facts(weights=weights)["weights"] == f"2,000 parameters, F32, 6.0 KiB{where}"


def test_a_file_without_tensors_has_no_share_to_divide_by() -> None:
    empty = Weights(parameters=0, size_bytes=0, dtypes={}, parts=[], files=[], layers=0)
    text = model_text(ModelReport(kind="safetensors", path="e", weights=empty), width=80)
    assert text.splitlines()[-1].split() == ["total", "0", "0", "100.0%", "0", "B"]


def test_a_foreign_shape_is_told_as_far_as_it_goes() -> None:
    assert shape_words({"num_hidden_layers": 1, "num_attention_heads": 8}) == "1 layer, 8 heads"
    assert shape_words({"num_hidden_layers": 64, "hidden_size": 2560}) == "64 layers, hidden 2560"  # Mamba
    assert shape_words({"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}) == (
        "2 layers, 4 heads"
    )
    assert shape_words({"hidden_size": 8}) is None
    assert context_words({"max_position_embeddings": "2048"}) == "2048 tokens"
    assert context_words({"max_position_embeddings": 8192, "rope_scaling": {"type": "yarn"}}) == (
        "8,192 tokens, yarn scaling"
    )
    assert context_words({"rope_theta": 1e4}) is None


def test_tensors_are_a_line_each_and_their_names_cannot_steer_the_terminal() -> None:
    def tensor(name: str, *shape: int) -> Tensor:
        return Tensor(name=name, dtype="F32", shape=shape, parameters=1, size_bytes=4096, file="m")

    assert tensors_text([tensor("model.norm.weight", 8), tensor("x\x1b[2J", 16, 64), tensor("s")]) == (
        "tensor             dtype  shape       size\n"
        "model.norm.weight  F32    8        4.0 KiB\n"
        "x\\x1b[2J           F32    16 x 64  4.0 KiB\n"
        "s                  F32    scalar   4.0 KiB"
    )
