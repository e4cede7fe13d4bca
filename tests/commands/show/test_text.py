"""Reports of tokenizers, adapters and data files as text, laid out by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.commands.show.text import adapter_text, records_text, report_text, tokenizer_text
from llmkit.workflows.show.adapter import AdaptedModule, AdapterReport
from llmkit.workflows.show.imatrix import ImatrixReport
from llmkit.workflows.show.model import ModelReport
from llmkit.workflows.show.records import Lengths, RecordsReport
from llmkit.workflows.show.run import RunReport
from llmkit.workflows.show.saved_report import SavedReport
from llmkit.workflows.show.tokenizer import Piece, SpecialToken, TokenizerReport

TOKENIZER = TokenizerReport(
    path="tok",
    model="BPE",
    bytes_as="byte-level",
    vocab_size=50_257,
    merges=50_000,
    special_tokens=[SpecialToken(id=50_256, piece="<|endoftext|>", roles=["bos", "eos"])],
    pre_tokenizer="other",
    pattern=r"\p{L}+",
    normalizer=["NFC"],
    added_to_text=["<|endoftext|>"],
    chat_template="x" * 1234,
    longest=[
        Piece(id=1, piece="-" * 64, text="-" * 64, hex=""),
        Piece(id=2, piece="ĠÃ", text=None, hex=""),
        Piece(id=3, piece="Ġrawdownload", text=" rawdownload", hex=""),
        Piece(id=4, piece="", text="abcdefghijklmnopqrstuvwxyz0123456789", hex=""),
    ],
    sha256="0123456789abcdef" * 4,
    made_by=None,
)
TOKENIZER_TEXT = """\
tok: tokenizer, BPE
  vocabulary      50,257 ids, 50,000 merges, byte-level
  cut into words  other: \\p{L}+
  normaliser      NFC
  special         <|endoftext|> 50,256 (bos, eos)
  adds to text    <|endoftext|>
  template        1,234 characters
  longest         '-' x 64, 'ĠÃ', ' rawdownload',
                  'abcdefghijklmnopqrstuvwxyz01234…'
  sha256          0123456789ab"""
ADAPTER = AdapterReport(
    path="a",
    peft_type="LORA",
    base_model="meta/llama",
    rank=8,
    alpha=16,
    scaling=2.0,
    variant="lora",
    target_modules=["q_proj", "v_proj"],
    modules_to_save=None,
    modules=[
        AdaptedModule(name="q_proj", modules=32, ranks=[8], parameters=2_097_152),
        AdaptedModule(name="head", modules=1, ranks=[], parameters=512),
    ],
    parameters=2_097_664,
    size_bytes=4_195_328,
    dtypes={"BF16": 2_097_664},
    refused_by={"vLLM": "takes no modules_to_save"},
)
ADAPTER_TEXT = """\
a: adapter, lora, lora
  base model  meta/llama
  rank        8, alpha 16, scaling 2
  targets     q_proj, v_proj
  weights     2,097,664 parameters, BF16, 4.0 MiB
  vLLM        takes no modules_to_save

  module  count  rank  parameters
  q_proj     32     8   2,097,152
  head        1     -         512"""


def _facts(text: str) -> dict[str, str]:
    lines = text.split("\n\n")[0].splitlines()[1:]
    return {name: what.strip() for name, _, what in (line.strip().partition("  ") for line in lines)}


def test_a_tokenizer_is_told_in_facts() -> None:
    assert tokenizer_text(TOKENIZER, width=80) == TOKENIZER_TEXT


@pytest.mark.parametrize(
    ("changes", "name", "fact"),
    [
        ({"merges": None, "bytes_as": None, "vocab_size": 32}, "vocabulary", "32 ids"),
        ({"pre_tokenizer": "gpt2", "pattern": None}, "cut into words", "gpt2"),
        ({"normalizer": []}, "normaliser", "none"),
        ({"special_tokens": []}, "special", "none"),
        ({"added_to_text": []}, "adds to text", "nothing"),
        ({"chat_template": None}, "template", "none"),
        ({"named_templates": ("rag", "tool_use")}, "more templates", "rag, tool_use"),
        ({"longest": []}, "longest", None),
        ({"made_by": "llmkit train-tokenizer"}, "made by", "llmkit train-tokenizer"),
        ({"pattern": "[\r\n]+"}, "cut into words", r"other: [\x0d\x0a]+"),
    ],
)
def test_each_fact_of_a_tokenizer_says_what_is_known(
    changes: dict[str, Any], name: str, fact: str | None
) -> None:
    text = tokenizer_text(msgspec.structs.replace(TOKENIZER, **changes), width=110)
    assert _facts(text).get(name) == fact


def test_of_many_special_tokens_twelve_are_named() -> None:
    def special(count: int) -> str:
        tokens = [SpecialToken(id=number, piece=f"<{number}>", roles=[]) for number in range(count)]
        text = tokenizer_text(msgspec.structs.replace(TOKENIZER, special_tokens=tokens), width=400)
        return _facts(text)["special"]

    assert special(12).endswith("<11> 11")
    assert special(13).endswith("<11> 11, and 1 more")
    assert special(1012).endswith("<11> 11, and 1,000 more")


def test_an_adapter_is_told_in_facts_and_a_table_of_its_modules() -> None:
    assert adapter_text(ADAPTER, width=80) == ADAPTER_TEXT


@pytest.mark.parametrize(
    ("changes", "name", "fact"),
    [
        ({"base_model": None}, "base model", "not named"),
        ({"rank": None, "alpha": None, "scaling": None}, "rank", None),
        ({"alpha": None, "scaling": None}, "rank", "8"),
        ({"alpha": 16.5, "scaling": 5.83363}, "rank", "8, alpha 16.5, scaling 5.83363"),
        ({"target_modules": "all-linear"}, "targets", "all-linear"),
        ({"target_modules": None}, "targets", None),
        ({"modules_to_save": ["lm_head", "x\x1b[2J"]}, "also saved", r"lm_head, x\x1b[2J"),
    ],
)
def test_each_fact_of_an_adapter_says_what_is_known(
    changes: dict[str, Any], name: str, fact: str | None
) -> None:
    text = adapter_text(msgspec.structs.replace(ADAPTER, **changes), width=110)
    assert _facts(text).get(name) == fact


def test_a_data_file_names_the_fields_that_not_every_record_has() -> None:
    report = RecordsReport(
        kind="chat",
        path="c.jsonl",
        records=1200,
        fields={"messages": 1200, "id": 1199, "mask": 7},
        messages=Lengths(total=3000, shortest=2, mean=2.5, longest=9),
        roles={"user": 1500, "assistant": 1500},
    )
    assert records_text(report, width=80) == (
        "c.jsonl: chat\n"
        "  records   1,200\n"
        "  messages  3,000 messages; 2 to 9 a record, mean 2.5\n"
        "  roles     user 1,500, assistant 1,500\n"
        "  fields    messages, id (1,199), mask (7)"
    )


@pytest.mark.parametrize(
    ("tokens", "fact"),
    [
        (Lengths(total=1, shortest=1, mean=1, longest=1), "1 token"),
        (Lengths(total=2048, shortest=2048, mean=2048, longest=2048), "2,048 tokens"),
        (Lengths(total=2048, shortest=1024, mean=1024, longest=1024), "2,048 tokens; 1,024 a record"),
        (
            Lengths(total=9000, shortest=0, mean=1500, longest=8000),
            "9,000 tokens; 0 to 8,000 a record, mean 1,500.0",
        ),
    ],
)
def test_lengths_say_no_more_than_they_have_to(tokens: Lengths, fact: str) -> None:
    report = RecordsReport(
        kind="tokens", path="t", records=2, tokens=tokens, highest_token_id=0, masked_records=1
    )
    facts = _facts(records_text(report, width=80))
    assert (facts["tokens"], facts["highest id"], facts["masked"]) == (fact, "0", "1 record")


def test_every_kind_of_report_has_its_text(
    tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path], byte_level_dir: Path
) -> None:
    from llmkit.workflows.show.show import show_artefact

    model, adapter = tiny_model(), tiny_adapter()
    documents, metrics = model.parent / "docs.jsonl", model.parent / "m.jsonl"
    saved = model.parent / "ppl.json"
    saved.write_text('{"perplexity": 3.25, "schema": "llmkit.eval.ppl/1"}\n')
    documents.write_text('{"text": "a"}\n')
    metrics.write_text('{"step": 1, "loss": 2.0}\n')
    for path, kind in {
        model: "model, llama",
        adapter: "adapter, lora, lora",
        byte_level_dir: "tokenizer, BPE",
        documents: "documents",
        metrics: "metrics",
        saved: "report, llmkit.eval.ppl/1",
    }.items():
        text = report_text(show_artefact(path), width=80, color=False)
        assert text.splitlines()[0] == f"{path}: {kind}" and len(text.splitlines()) > 1


def test_a_report_that_was_kept_is_told_key_by_key_with_lists_of_objects_counted() -> None:
    values = {
        "quality.kld": 0.1367767308722122,
        "chunks": 12345,
        "gate": None,
        "noisy": False,
        "none": {},
        "rows": [{}, {}],
    }
    report = SavedReport(path="kl.json", of="llmkit.eval.kl/1", values={**values, "k": [1, 10]})
    assert report_text(report, width=80, color=False).splitlines() == [
        "kl.json: report, llmkit.eval.kl/1",
        *("  quality.kld  0.136777", "  chunks       12,345", "  noisy        no"),
        *("  rows         2 in a list", "  k            1, 10"),
    ]


def test_only_a_run_has_colour() -> None:
    for report in (TOKENIZER, ADAPTER, ModelReport(kind="config", path="c"), RunReport(path="r")):
        assert "\x1b" not in report_text(report, width=80, color=True)


def test_an_importance_matrix_says_what_it_saw_and_how_it_is_used() -> None:
    report = ImatrixReport(
        **{"path": "imatrix.gguf", "datasets": ["a.txt"], "chunks": 2, "chunk_size": 512},
        **{"matrices": 9, "unseen": 1, "columns": 4096, "size_bytes": 2048},
    )
    assert report_text(report, width=80, color=False).splitlines() == [
        "imatrix.gguf: importance matrix",
        "  datasets  a.txt",
        "  text      2 chunks of 512 tokens",
        "  matrices  9, 1 of them unseen",
        "  columns   4,096",
        "  size      2.0 KiB (2,048 bytes)",
        "  use       llmkit quantize MODEL OUT --imatrix imatrix.gguf",
    ]
