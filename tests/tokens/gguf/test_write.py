"""Tokenizers written into a GGUF file's keys give their ids when read back, here and in llama.cpp."""

import functools
import importlib.util
import json
import random
import struct
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from llmkit.errors import ConfigError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.values import MetadataValue, Typed, encode_pair
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.gguf.match import SAMPLES
from llmkit.tokens.gguf.patterns import PRE_TOKENIZERS
from llmkit.tokens.gguf.read import gguf_tokenizer
from llmkit.tokens.gguf.write import gguf_tokenizer_metadata, lost_in_gguf
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.ordinary import ordinary_backend
from llmkit.tokens.patterns import GPT2, GPT4, byte_level
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.train import train_tokenizer

PLACES = {
    "gpt2": "gpt2",
    "llama2": "llama2",
    "llama2-sentencepiece": "llama2/tokenizer.model",
    "phi-3-mini": "phi-3-mini",
    "qwen2": "qwen2",
    "cl100k_base": "tiktoken/cl100k_base.tiktoken",
    "r50k_base": "tiktoken/r50k_base.tiktoken",
    "t5-small": "t5-small",
    "sentencepiece-unigram-1k": "sentencepiece-unigram-1k",
}
NAMES = {
    **{"gpt2": ("gpt2", "gpt-2"), "r50k_base": ("gpt2", "gpt-2"), "cl100k_base": ("gpt2", "llama-bpe")},
    **{"qwen2": ("gpt2", "qwen2"), "phi-3-mini": ("llama", "default"), "llama2": ("llama", "default")},
    **{"llama2-sentencepiece": ("llama", "default"), "t5-small": ("t5", "default")},
    "sentencepiece-unigram-1k": ("t5", "default"),
}
PARITY = {
    **{"gpt2": "gpt-2", "llama2": "llama-spm", "llama2-sentencepiece": "llama-spm"},
    **{"phi-3-mini": "phi-3", "qwen2": "qwen2"},
}
MODEL = {
    "general.architecture": "llama",
    **{f"llama.{key}": Typed("u32", 8) for key in ("context_length", "embedding_length", "block_count")},
    **{f"llama.{key}": Typed("u32", 8) for key in ("feed_forward_length", "attention.head_count")},
    "llama.attention.layer_norm_rms_epsilon": Typed("f32", 1e-5),
    "llama.rope.dimension_count": Typed("u32", 1),
}
NOT_IN_LLAMA_CPP = ("gpt2",)
LLAMA_CPP = """
import ctypes, json, sys
library, texts, vocab_only = sys.argv[1], json.load(sys.stdin), 72
class Parameters(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_ubyte * 256)]  # longer than llama_model_params; vocab_only is at 72
library = ctypes.CDLL(library)
library.llama_model_default_params.restype = Parameters
library.llama_model_load_from_file.restype = library.llama_model_get_vocab.restype = ctypes.c_void_p
library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Parameters]
library.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
kinds = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32]
library.llama_tokenize.argtypes = [*kinds, ctypes.c_bool, ctypes.c_bool]
parameters = library.llama_model_default_params()
assert parameters.bytes[vocab_only] == 0
parameters.bytes[vocab_only] = 1
def ids(vocabulary, text, special):
    content = text.encode()
    room = len(content) + 8
    buffer = (ctypes.c_int32 * room)()
    count = library.llama_tokenize(vocabulary, content, len(content), buffer, room, special, special)
    return list(buffer[:count])
answers = []
for model in sys.argv[2:]:
    loaded = library.llama_model_load_from_file(model.encode(), parameters)
    assert loaded, f"llama.cpp refuses {model}"
    vocabulary = library.llama_model_get_vocab(loaded)
    answers.append([[ids(vocabulary, text, special) for text in texts] for special in (False, True)])
json.dump(answers, sys.stdout)
"""
"""Prints the ids of texts by each file: as plain text, then with special tokens read and put around."""


@functools.cache
def _open(path: Path) -> Tokenizer:
    return load_tokenizer(path)


@functools.cache
def _written(path: Path) -> dict[str, MetadataValue]:
    return gguf_tokenizer_metadata(_open(path)) | MODEL | {"general.name": path.name}  # phi-3 tells by it


def plain(metadata: dict[str, MetadataValue]) -> dict[str, Any]:
    """Values as a reader of the file has them."""
    values = {key: value.value if isinstance(value, Typed) else value for key, value in metadata.items()}
    return {key: list(one) if isinstance(one, tuple) else one for key, one in values.items()}


def write_vocabulary(path: Path, metadata: dict[str, MetadataValue]) -> Path:
    """A GGUF file without tensors."""
    pairs = b"".join(encode_pair(key, value) for key, value in metadata.items())
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(metadata)) + pairs)
    return path


def random_texts(count: int, seed: int = 0) -> list[str]:
    """Text of every script, letters and white space more often."""
    dice = random.Random(seed)
    ranges = [(32, 127)] * 5 + [(9, 14), (32, 33), (0xA0, 0x250), (0x370, 0x1FFF), (0x2000, 0xD7FF)]
    ranges += [(0xE000, 0xFFFD), (0x10000, 0x1FFFF)]

    def text() -> str:
        letters = (chr(dice.randrange(*dice.choice(ranges))) for _ in range(dice.randrange(1, 80)))
        return "".join(one for one in letters if unicodedata.category(one) not in ("Cn", "Co", "Cs"))

    return [text() for _ in range(count)]


def _ids(backend: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    return [list(one.ids) for one in backend.encode_batch(texts, add_special_tokens=False)]


@pytest.mark.parametrize("name", PLACES)
def test_the_name_of_the_cut_is_found(shared_data: Path, name: str) -> None:
    written = _written(shared_data / "tokenizers" / PLACES[name])
    assert (written["tokenizer.ggml.model"], written["tokenizer.ggml.pre"]) == NAMES[name]


@pytest.mark.parametrize("name", PLACES)
def test_what_is_written_reads_back_to_the_same_ids(shared_data: Path, name: str) -> None:
    path = shared_data / "tokenizers" / PLACES[name]
    ours, again = _open(path), gguf_tokenizer(plain(_written(path)), "a.gguf")
    texts = random_texts(400)
    assert _ids(ordinary_backend(again), texts) == _ids(ordinary_backend(ours), texts)
    special = "".join(f"{one.content} x\n " for one in ours.backend.get_added_tokens_decoder().values())
    ids = ours.encode(special, special_tokens=True)
    assert again.encode(special, special_tokens=True) == ids
    assert again.decode(ids) == ours.decode(ids)
    assert again.decode(ids, skip_special=True) == ours.decode(ids, skip_special=True)
    for part in ("bos_id", "eos_id", "pad_id", "vocab_size", "chat_template"):
        assert getattr(again, part) == getattr(ours, part)


@pytest.mark.parametrize("name", PARITY)
def test_recorded_ids_of_llama_cpp_are_met_after_a_round_trip(shared_data: Path, name: str) -> None:
    folder = shared_data / "tokenizers" / "parity"
    cases = (folder / f"{PARITY[name]}.gguf.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
    expected = (folder / f"{PARITY[name]}.gguf.out").read_text("utf-8").splitlines()
    again = gguf_tokenizer(plain(_written(shared_data / "tokenizers" / PLACES[name])), "a.gguf")
    found = _ids(ordinary_backend(again), cases[: len(expected)])
    assert len(expected) > 30
    assert found == [[int(word) for word in line.split()] for line in expected]


@pytest.mark.parametrize("name", PLACES)
def test_llama_cpp_gives_the_same_ids(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "tokenizers" / PLACES[name]
    ours = _open(path)
    texts = [unicodedata.normalize("NFC", text) for text in (*SAMPLES, *random_texts(200, seed=1))]
    texts = [
        text.replace("</s>", "") for text in texts
    ]  # llama.cpp reads it as special whatever the file says
    if (
        NAMES[name][0] == "t5"
    ):  # `tokenizers` loses a mark on a ligature, which SentencePiece and llama.cpp keep
        texts = ["".join(one for one in text if unicodedata.category(one)[0] != "M") for text in texts]
    file = write_vocabulary(tmp_path / "a.gguf", _written(path))
    without, around = llama_cpp_ids(file, texts)
    assert without == _ids(ordinary_backend(ours), texts)
    assert around == [ours.encode(text, special_tokens=True) for text in texts]


def _cut_short(metadata: dict[str, MetadataValue], merges: int) -> dict[str, MetadataValue]:
    """GPT-2 of fewer merges: its ids are the bytes, the merges in their order, and <|endoftext|>."""
    kept, end = plain(metadata), 256 + merges
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):
        kept[key] = [*kept[key][:end], kept[key][-1]]
    kept["tokenizer.ggml.merges"] = kept["tokenizer.ggml.merges"][:merges]
    ends = {key: Typed("u32", end) for key in kept if key.endswith("_token_id")}
    typed = {key: replace(one, value=kept[key]) for key, one in metadata.items() if isinstance(one, Typed)}
    return kept | typed | ends


def test_llama_cpp_cuts_text_as_every_name_says(shared_data: Path, tmp_path: Path) -> None:
    # GPT-2's merges show where text is cut; the first 8,000 show as many ways of it as all 50,000
    base = _cut_short(_written(shared_data / "tokenizers" / "gpt2"), 8_000)
    names = list({pre: name for name, pre in PRE_TOKENIZERS.items() if name not in NOT_IN_LLAMA_CPP}.values())
    assert len(names) > 18
    texts = [unicodedata.normalize("NFC", text) for text in (*SAMPLES, *random_texts(60, seed=3))]
    files, expected = [], []
    for name in names:
        metadata = base | {"tokenizer.ggml.pre": name}
        files.append(write_vocabulary(tmp_path / f"{name}.gguf", metadata))
        expected.append(_ids(ordinary_backend(gguf_tokenizer(plain(metadata), name)), texts))
    assert len({str(ids) for ids in expected}) > 10  # the names do differ
    for name, (found, _), ids in zip(names, llama_cpp_answers(files, texts), expected, strict=True):
        assert found == ids, name


def test_llama_cpp_knows_every_name(tmp_path: Path) -> None:
    names = [name for name in PRE_TOKENIZERS if name not in NOT_IN_LLAMA_CPP]
    files = [
        write_vocabulary(tmp_path / f"{name}.gguf", gguf_tokenizer_metadata(_small(), pre=name) | MODEL)
        for name in names
    ]
    assert len(llama_cpp_answers(files, ["a"])) == len(names) > 50


def test_llama_cpp_gives_sentencepieces_ids_on_every_text(shared_data: Path, tmp_path: Path) -> None:
    import sentencepiece

    path = shared_data / "tokenizers" / "sentencepiece-unigram-1k"
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path / "tokenizer.model"))
    texts = random_texts(500, seed=2)
    file = write_vocabulary(tmp_path / "a.gguf", _written(path))
    assert llama_cpp_ids(file, texts)[0] == [theirs.encode(text) for text in texts]


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "qwen2"])
@pytest.mark.parametrize("normalize", ["none", "nfc"])
def test_a_tokenizer_trained_here_comes_back_and_runs_in_llama_cpp(
    tmp_path: Path, pattern: Any, normalize: Any
) -> None:
    config = TrainTokenizerConfig(vocab_size=400, pattern=pattern, normalize=normalize, chat=True)
    words = ["the cat sat on the mat ", "We'LL see 12345 things!\n\n", "naïve café e\u0301e\u0301 "] * 9
    ours = train_tokenizer(iter(words), config).tokenizer
    metadata = gguf_tokenizer_metadata(ours, vocab_size=448)
    again = gguf_tokenizer(plain(metadata), "a.gguf")
    texts = [*words[:3], "e\u0301", *random_texts(100)]
    expected = _ids(ordinary_backend(ours), texts)
    assert _ids(ordinary_backend(again), texts) == expected
    assert (again.chat_template, again.eos_id) == (ours.chat_template, ours.eos_id)
    composed = [unicodedata.normalize("NFC", text) for text in texts]
    found, _ = llama_cpp_ids(write_vocabulary(tmp_path / "a.gguf", metadata | MODEL), composed)
    assert found == _ids(ordinary_backend(ours), composed)


def test_ids_without_a_token_are_filled_and_read_as_none(shared_data: Path) -> None:
    ours = _open(shared_data / "tokenizers" / "qwen2")
    written = plain(gguf_tokenizer_metadata(ours, vocab_size=151_936))  # the rows of Qwen2.5's embedding
    assert len(written["tokenizer.ggml.tokens"]) == 151_936
    assert written["tokenizer.ggml.tokens"][-1] == "[PAD151935]"
    assert written["tokenizer.ggml.token_type"][-1] == 5
    again = gguf_tokenizer(written, "a.gguf")
    assert again.vocab_size == ours.vocab_size
    assert again.token_text(151_935) == ""
    with pytest.raises(ConfigError, match=r"vocab_size is 100, but the tokenizer has ids up to 151664"):
        gguf_tokenizer_metadata(ours, vocab_size=100)


def test_llama_2s_keys_are_those_of_the_published_file(shared_data: Path) -> None:
    file = shared_data / "tokenizers" / "gguf" / "ggml-vocab-llama-spm.gguf"
    theirs = read_gguf_header(file, keep_arrays=True).metadata
    ours = plain(_written(shared_data / "tokenizers" / "llama2"))
    scores = "tokenizer.ggml.scores"
    for key in (key for key in theirs if key.startswith("tokenizer.") and key != scores):
        assert ours[key] == theirs[key], key
    # the numbers are free, their order is not; runs of spaces share one score there
    theirs_by_id, ours_by_id = theirs[scores], ours[scores]
    assert isinstance(theirs_by_id, list)
    merged = [index for index, score in enumerate(theirs_by_id[:29_870]) if score < 0 and score > -1e6]
    assert len(merged) > 29_000
    order = sorted(merged, key=lambda index: -theirs_by_id[index])
    assert order == sorted(merged, key=lambda index: -ours_by_id[index])


def test_special_ids_and_the_end_of_a_turn_are_written(shared_data: Path) -> None:
    phi = plain(_written(shared_data / "tokenizers" / "phi-3-mini"))
    tokens = phi["tokenizer.ggml.tokens"]
    assert tokens[phi["tokenizer.ggml.eos_token_id"]] == "<|endoftext|>"
    assert tokens[phi["tokenizer.ggml.eot_token_id"]] == "<|end|>"
    assert phi["tokenizer.ggml.add_bos_token"] is False
    qwen = plain(_written(shared_data / "tokenizers" / "qwen2"))
    assert qwen["tokenizer.ggml.tokens"][qwen["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert "tokenizer.ggml.eot_token_id" not in qwen  # eos is it
    assert "tokenizer.ggml.bos_token_id" not in qwen


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer.model"])
def test_a_bpe_tokenizer_that_drops_spaces_is_written_and_it_is_told(shared_data: Path, file: str) -> None:
    import sentencepiece

    path = shared_data / "models" / "stories260K"
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path / "tokenizer.model"))
    ours = load_tokenizer(path / file)
    again = gguf_tokenizer(plain(gguf_tokenizer_metadata(ours)), "a.gguf")
    texts = [" ".join(text.split()) for text in ("Lily's dog ran.", "1\n2", *random_texts(200, seed=4))]
    assert [again.encode(text) for text in texts] == [theirs.encode(text) for text in texts]
    assert again.decode(again.encode(" a  b ")) == " a  b "  # as llama.cpp, which keeps them
    assert any("are kept, where this tokenizer drops them" in one for one in lost_in_gguf(ours))
    assert lost_in_gguf(_open(shared_data / "tokenizers" / PLACES["t5-small"])) == []


def _small(pattern: str = GPT2, **parts: Any) -> Tokenizer:
    """Bytes and no merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = byte_level(models.BPE({one: at for at, one in enumerate(alphabet)}, []), pattern)
    for part, value in parts.items():
        setattr(backend, part, value)
    return Tokenizer(backend)


def test_a_cut_that_llama_cpp_does_not_know_is_refused_and_a_given_name_is_taken() -> None:
    ours = _small(r"\w+|\W+")
    with pytest.raises(ConfigError, match=r"no way of cutting text like this tokenizer's") as caught:
        gguf_tokenizer_metadata(ours)
    assert "keep the folder" in caught.value.hint
    assert gguf_tokenizer_metadata(ours, pre="smollm")["tokenizer.ggml.pre"] == "smollm"
    with pytest.raises(ConfigError, match=r"no way of cutting text called 'smolm'") as caught:
        gguf_tokenizer_metadata(ours, pre="smolm")
    assert caught.value.hint == "did you mean smollm?"


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (_small(normalizer=normalizers.NFKC()), "changes text first"),
        (_small(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)), "no way of cutting text"),
        (
            Tokenizer(tokenizers.Tokenizer(models.WordLevel({"a": 0}, "a"))),
            "no tokenizer of the kind WordLevel",
        ),
        (Tokenizer(tokenizers.Tokenizer(models.BPE({"a": 0}, []))), "does not write spaces as ▁"),
    ],
)
def test_what_llama_cpp_would_cut_otherwise_is_refused(tokenizer: Tokenizer, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gguf_tokenizer_metadata(tokenizer)


def test_our_unigram_tokenizers_are_refused(shared_data: Path) -> None:
    config = TrainTokenizerConfig(vocab_size=300, type="unigram")
    ours = train_tokenizer(iter(["a cat sat on a mat"] * 9), config).tokenizer
    with pytest.raises(ConfigError, match=r"no tokenizer of the kind Unigram with tokens for bytes"):
        gguf_tokenizer_metadata(ours)


def test_other_tokens_around_a_text_than_bos_and_eos_are_refused() -> None:
    ours = _small(GPT4)
    ours.backend.add_special_tokens(["<cls>"])
    around = TemplateProcessing(single="<cls>:0 $A:0", special_tokens=[("<cls>", 256)])
    ours.backend.post_processor = around
    with pytest.raises(ConfigError, match=r"puts '<cls>' before and '' after a text"):
        gguf_tokenizer_metadata(Tokenizer(ours.backend))
    bos = gguf_tokenizer_metadata(Tokenizer(ours.backend, {"bos_token": "<cls>"}))
    assert bos["tokenizer.ggml.bos_token_id"] == Typed("u32", 256)
    assert bos["tokenizer.ggml.add_bos_token"] is True


def test_what_is_lost_is_told(shared_data: Path) -> None:
    folder = shared_data / "tokenizers"
    assert lost_in_gguf(_open(folder / "llama2")) == []
    assert "NFC" in lost_in_gguf(_open(folder / "qwen2"))[0]
    assert "11 special tokens take the white space" in lost_in_gguf(_open(folder / "phi-3-mini"))[0]
    ours = _small()
    ours.backend.add_tokens([AddedToken("<x>", single_word=True)])
    assert "inside words" in lost_in_gguf(ours)[0]


@pytest.mark.parametrize("normalized", [True, False])
def test_a_word_that_is_added_to_llama_is_the_same_when_read_back_or_it_is_told(
    normalized: bool, shared_data: Path
) -> None:
    llama = _open(shared_data / "tokenizers" / "llama2")
    theirs = tokenizers.Tokenizer.from_str(llama.backend.to_str())
    theirs.add_tokens([AddedToken("qzedq", normalized=normalized)])  # transformers' default for words: True
    ours = Tokenizer(theirs, llama.config)
    again = gguf_tokenizer(plain(gguf_tokenizer_metadata(ours)), "a.gguf")
    is_same = again.encode("a qzedq b") == theirs.encode("a qzedq b", add_special_tokens=False).ids
    assert is_same is not normalized
    assert is_same is not any("(qzedq)" in one for one in lost_in_gguf(ours))


def llama_cpp_ids(file: Path, texts: list[str]) -> tuple[list[list[int]], list[list[int]]]:
    """Ids of texts as plain text, and with special tokens read and put around."""
    ((without, around),) = llama_cpp_answers([file], texts)
    return without, around


def llama_cpp_answers(files: list[Path], texts: list[str]) -> list[list[list[list[int]]]]:
    """The same by each file, worked out in a process of its own: llama.cpp may abort."""
    found = importlib.util.find_spec("xllamacpp")
    if found is None or found.origin is None:
        pytest.skip("no llama.cpp here: pip install --no-deps xllamacpp")
    (library,) = Path(found.origin).parent.glob("xllamacpp*.so")
    done = subprocess.run(
        [sys.executable, "-c", LLAMA_CPP, str(library), *map(str, files)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_named_templates_are_written_as_llama_cpps_converter_writes_them(
    byte_level_dir: Path, tmp_path: Path
) -> None:
    import gguf

    tokenizer = load_tokenizer(byte_level_dir)
    tokenizer.named_templates = {"tool_use": "tools", "r.a-g": "rag"}
    written = gguf_tokenizer_metadata(tokenizer)
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    every = {"default": tokenizer.chat_template, **tokenizer.named_templates}
    writer.add_chat_template([{"name": name, "template": text} for name, text in every.items()])
    theirs = {name: one.value for name, one in writer.kv_data[0].items() if "chat_template" in name}
    ours = {name: value for name, value in written.items() if "chat_template" in name}
    assert sorted(ours) == sorted(theirs)
    names = ours.pop("tokenizer.chat_templates")
    assert isinstance(names, Typed) and sorted(names.value) == sorted(theirs.pop("tokenizer.chat_templates"))
    assert ours == theirs
