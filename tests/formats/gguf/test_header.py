"""GGUF headers: a real file, files packed by hand after the specification, and damaged ones."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.formats.gguf.header import MAX_LISTED, SkippedArray, read_gguf_header

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
Q8_0, Q4_K, PLAIN_F32 = 8, 12, 0


def text(content: str, order: str = "<") -> bytes:
    encoded = content.encode()
    return struct.pack(f"{order}Q", len(encoded)) + encoded


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def array(kind: int, items: Sequence[bytes]) -> bytes:
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def entry(name: str, dims: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def write(
    path: Path, keys: Sequence[bytes], entries: Sequence[bytes], data: int, alignment: int = 32
) -> Path:
    header = b"GGUF" + struct.pack("<IQQ", 3, len(entries), len(keys)) + b"".join(keys) + b"".join(entries)
    path.write_bytes(header + b"\0" * (-len(header) % alignment) + b"\1" * data)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    keys = [
        key("general.architecture", STRING, text("llama")),
        key("llama.block_count", U32, struct.pack("<I", 2)),
        key("llama.rope.freq_base", F32, struct.pack("<f", 10000)),
        key("tokenizer.ggml.add_bos_token", BOOL, b"\1"),
        key("layers", ARRAY, array(U32, [struct.pack("<I", n) for n in (1, 2, 3)])),
        key("tokens", ARRAY, array(STRING, [text(f"token {n}") for n in range(MAX_LISTED + 1)])),
        key("scores", ARRAY, array(F32, [b"\0" * 4] * (MAX_LISTED + 1))),
        key("last", U64, struct.pack("<Q", 1 << 40)),
    ]
    entries = [
        entry("token_embd.weight", (256, 3), Q4_K, 0),
        entry("experts.weight", (32, 2, 4), Q8_0, 448),
        entry("norm.weight", (5,), PLAIN_F32, 448 + 288),
    ]
    return write(tmp_path / "small.gguf", keys, entries, 448 + 288 + 20)


def test_keys_and_tensors_are_what_was_written(small: Path) -> None:
    header = read_gguf_header(small)
    assert header.version == 3
    assert header.metadata == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.add_bos_token": True,
        "layers": [1, 2, 3],
        "tokens": SkippedArray(MAX_LISTED + 1),
        "scores": SkippedArray(MAX_LISTED + 1),
        "last": 1 << 40,
    }
    found = {tensor.name: tensor for tensor in header.tensors}
    assert [(t.type, t.dims, t.nbytes, t.numel) for t in header.tensors] == [
        ("Q4_K", (256, 3), 3 * 144, 768),
        ("Q8_0", (32, 2, 4), 8 * 34, 256),
        ("F32", (5,), 20, 5),
    ]
    assert header.data_offset % 32 == 0
    assert found["norm.weight"].offset + 20 == small.stat().st_size
    assert header.nbytes == 432 + 272 + 20


def test_long_arrays_are_kept_when_asked_for(small: Path) -> None:
    brief, full = read_gguf_header(small), read_gguf_header(small, keep_arrays=True)
    long = {"tokens": [f"token {n}" for n in range(MAX_LISTED + 1)], "scores": [0.0] * (MAX_LISTED + 1)}
    assert full.metadata == brief.metadata | long
    assert (full.tensors, full.data_offset) == (brief.tensors, brief.data_offset)


def test_the_type_of_every_value_is_told(small: Path) -> None:
    header = read_gguf_header(small, keep_arrays=True)
    assert header.kinds == {
        **{"general.architecture": "str", "llama.block_count": "u32", "llama.rope.freq_base": "f32"},
        **{"tokenizer.ggml.add_bos_token": "bool", "layers": "u32[]", "tokens": "str[]", "scores": "f32[]"},
        "last": "u64",
    }


def test_arrays_of_arrays_are_kept(tmp_path: Path) -> None:
    inner = array(U32, [struct.pack("<I", 5)])
    path = write(tmp_path / "a.gguf", [key("nested", ARRAY, array(ARRAY, [inner] * 2000))], [], 0)
    header = read_gguf_header(path, keep_arrays=True)
    assert header.metadata == {"nested": [[5]] * 2000}
    assert read_gguf_header(path).metadata == {"nested": SkippedArray(2000)}


def test_part_of_a_character_is_kept_without_loss_with_the_arrays(tmp_path: Path) -> None:
    part = b"\xe2\x96"
    raw = struct.pack("<Q", 2) + part
    path = write(tmp_path / "a.gguf", [key("tokens", ARRAY, array(STRING, [raw]))], [], 0)
    assert read_gguf_header(path).metadata == {"tokens": ["\\xe2\\x96"]}
    (kept,) = cast(list[str], read_gguf_header(path, keep_arrays=True).metadata["tokens"])
    assert kept.encode("utf-8", "surrogateescape") == part


def test_a_file_of_llama_cpps_writer_is_read_whole(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf package, which writes the file, is not installed")
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "qwen3")
    values: dict[str, Any] = {
        **{"a.u8": 200, "a.i8": -100, "a.u16": 60000, "a.i16": -30000, "a.u32": 1 << 31, "a.i32": -5},
        **{"a.u64": 1 << 63, "a.i64": -(1 << 40), "a.f32": 0.5, "a.f64": 0.1, "a.bool": False, "a.str": "é"},
        **{"b.tokens": [f"t{n}" for n in range(5000)], "b.ids": list(range(5000)), "b.scores": [-1.5] * 5000},
    }
    words = {"u": "uint", "i": "int", "f": "float"}
    for name, value in values.items():
        kind = name.removeprefix("a.")
        word = "array" if name[0] == "b" else {"str": "string"}.get(kind, kind)
        word = f"{words[word[0]]}{word[1:]}" if word[1:].isdigit() else word
        getattr(writer, f"add_{word}")(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_gguf_header(path, keep_arrays=True)
    assert header.metadata == {"general.architecture": "qwen3"} | values
    assert {
        f"a.{kind}": kind for kind in (n[2:] for n in values if n[0] == "a")
    }.items() <= header.kinds.items()
    assert (header.kinds["b.tokens"], header.kinds["b.ids"], header.kinds["b.scores"]) == (
        *("str[]", "i32[]", "f32[]"),
    )


def test_a_big_endian_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.gguf"
    body = struct.pack(">IQQ", 3, 1, 1) + text("a", ">") + struct.pack(">II", U32, 7)
    body += text("w", ">") + struct.pack(">IQIQ", 1, 4, PLAIN_F32, 0)
    path.write_bytes(b"GGUF" + body + b"\0" * (-(4 + len(body)) % 32 + 16))
    header = read_gguf_header(path)
    assert header.big_endian
    assert header.metadata == {"a": 7}
    assert header.tensors[0].nbytes == 16


def test_data_begins_at_the_alignment_that_the_file_names(tmp_path: Path) -> None:
    keys = [key("general.alignment", U32, struct.pack("<I", 256))]
    path = write(tmp_path / "a.gguf", keys, [entry("w", (1,), PLAIN_F32, 0)], 4, alignment=256)
    header = read_gguf_header(path)
    assert header.data_offset == header.alignment == 256


def test_tensors_are_not_read(tmp_path: Path) -> None:
    """A file with a hole of 1 TiB where its tensor would be."""
    path = write(tmp_path / "sparse.gguf", [], [entry("w", (1 << 20, 1 << 18), PLAIN_F32, 0)], 0)
    with path.open("r+b") as file:
        file.truncate(128 + (1 << 40))
    assert read_gguf_header(path).nbytes == 1 << 40


def test_a_real_vocabulary_is_read(shared_data: Path) -> None:
    path = shared_data / "tokenizers" / "gguf" / "ggml-vocab-llama-spm.gguf"
    header = read_gguf_header(path)
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["llama.vocab_size"] == 32000
    assert header.metadata["tokenizer.ggml.tokens"] == SkippedArray(32000)
    assert header.metadata["tokenizer.ggml.add_eos_token"] is False
    assert header.tensors == ()
    tokens = cast(list[str], read_gguf_header(path, keep_arrays=True).metadata["tokenizer.ggml.tokens"])
    assert (len(tokens), tokens[:4]) == (32000, ["<unk>", "<s>", "</s>", "<0x00>"])


def test_every_cut_in_the_header_is_noticed(small: Path, tmp_path: Path) -> None:
    content, path = small.read_bytes(), tmp_path / "cut.gguf"
    whole = read_gguf_header(small)
    for length in [*range(1, 400), *range(400, whole.data_offset, 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cut(\.gguf)?"):
            read_gguf_header(path)
        with pytest.raises(DataError, match=r"cut(\.gguf)?"):
            read_gguf_header(path, keep_arrays=True)


def test_no_changed_byte_is_more_than_a_data_error(small: Path, tmp_path: Path) -> None:
    content, path = small.read_bytes(), tmp_path / "changed.gguf"
    for place in [*range(4, 420), *range(len(content) - 960, len(content) - 700)]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        for keep_arrays in (False, True):
            try:
                header = read_gguf_header(path, keep_arrays=keep_arrays)
            except DataError:
                continue
            assert header.nbytes <= len(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK\3\4" + b"\0" * 40, "not a GGUF file"),
        (b"", "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "tensors do not fit"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "keys do not fit"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key("a", 77, b"\0" * 8), "unknown type 77"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key("a", ARRAY, array(F32, [])[:-8] + b"\xff" * 8),
            "do not fit",
        ),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + entry("w", (5,), 99, 0), "type 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + entry("w", (33,), Q8_0, 0), "a row of 33"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + entry("w", (1 << 62, 1 << 62), PLAIN_F32, 0), "cut short"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + entry("w", (1, 1, 1, 1, 1), PLAIN_F32, 0), "5 dimensions"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + entry("w", (0,), PLAIN_F32, 0) * 2 + b"\0" * 64,
            "same name",
        ),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + key("a", BOOL, b"\1") * 2, "there twice"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key("general.alignment", U32, struct.pack("<I", 24)),
            "power of two",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as raised:
        read_gguf_header(path)
    assert str(path) in raised.value.problem


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.gguf: no such file"):
        read_gguf_header(tmp_path / "none.gguf")
    with pytest.raises(DataError, match="not a GGUF file"):
        read_gguf_header(tmp_path)
