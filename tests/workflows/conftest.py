"""A small shard folder; a tokenizer whose ids are known by hand, and runs of tokenize held in memory."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers.models import BPE

from llmkit.formats.documents import Document
from llmkit.formats.jsonl import encode_line
from llmkit.formats.provenance import Invocation
from llmkit.progress import SILENT
from llmkit.tokens.config import PackConfig, TokenizeConfig
from llmkit.tokens.patterns import GPT2, byte_level, special_token
from llmkit.tokens.pieces import spell
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.pack.pack import PackSources, pack_files
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.tokenize.run import Run
from tests.workflows.small_setup import small_data

CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
LICENSE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")


@pytest.fixture
def pack_records(tmp_path: Path, byte_level_dir: Path) -> Callable[..., Path]:
    """Pack records into `tmp_path/name`: rows of 64 ids, not shuffled, two or more shards."""

    def call(name: str, *records: dict[str, Any], tokenizer: bool = True, **config: Any) -> Path:
        source = tmp_path / f"{name}.jsonl"
        source.write_bytes(b"".join(map(encode_line, records)))
        settings = replace(PackConfig(seq_len=63, shuffle=False, shard_tokens=640), **config)
        sources = PackSources(
            inputs=[source], out=tmp_path / name, tokenizer=byte_level_dir if tokenizer else None
        )
        pack_files(sources, settings, invocation=Invocation("pack", {"seed": 0}), progress=SILENT)
        return tmp_path / name

    return call


@pytest.fixture
def shards(pack_records: Callable[..., Path]) -> Path:
    """The licence, "one", "two" twice, and a masked document."""
    return pack_records(
        "shards",
        {"id": "licence", "text": LICENSE},
        {"id": "one", "text": "The first short document."},
        {"id": "two", "text": "The second."},
        {"id": "two", "text": "The second again."},
        {"id": "masked", "tokens": [50, 51, 52, 53], "mask": [[2, 2]]},
    )


@pytest.fixture(scope="session")
def byte_tokenizer() -> Tokenizer:
    """Ids 0 to 255 are the bytes themselves; <|endoftext|> is 256, <|im_start|> 257, <|im_end|> 258."""
    vocabulary = {spell(bytes([byte])): byte for byte in range(256)}
    backend = byte_level(BPE(vocab=vocabulary, merges=[]), GPT2)
    backend.add_special_tokens([special_token(f"<|{name}|>") for name in ("endoftext", "im_start", "im_end")])
    config = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    return Tokenizer(backend, config, CHATML)


@pytest.fixture
def make_run(byte_tokenizer: Tokenizer) -> Callable[..., Run]:
    """A Run over texts (plain files `0.txt`, `1.txt`, …) or documents, which writes to memory."""

    def make(*documents: str | Document, tokenizer: Tokenizer | None = None, **config: Any) -> Run:
        own = {key: config.pop(key) for key in ("stream", "flush", "color", "progress") if key in config}
        return Run(
            tokenizer=tokenizer or byte_tokenizer,
            config=TokenizeConfig(**config),
            documents=_documents(documents),
            **{"stream": io.BytesIO(), **own},
        )

    return make


def _documents(given: Iterable[str | Document]) -> Iterator[Document]:
    for number, one in enumerate(given):
        yield one if isinstance(one, Document) else Document(f"{number}.txt", one, f"{number}.txt", 0)


@pytest.fixture
def make_data() -> Callable[..., PretrainData]:
    """Data to train on, held in memory."""

    return small_data


@pytest.fixture
def as_gguf() -> Callable[[Path, Path], Path]:
    """An adapter's folder as a GGUF file beside it, for a base."""
    from llmkit.workflows.convert.convert import convert
    from llmkit.workflows.convert.options import ConvertConfig

    def make(folder: Path, base: Path) -> Path:
        out = folder.with_name(f"{folder.name}.gguf")
        invocation = Invocation("convert", {}, ("in", "out"))
        convert(folder, out, ConvertConfig(base=base), force=True, invocation=invocation)
        return out

    return make
