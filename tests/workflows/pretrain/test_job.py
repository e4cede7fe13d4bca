"""A run's inputs opened: what goes together is taken together, what does not is refused before any work."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel

from llmkit.errors import ConfigError, DataError, MissingError, UsageError
from llmkit.formats.provenance import Invocation
from llmkit.progress import SILENT
from llmkit.tokens.config import PackConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.train.config import PretrainConfig
from llmkit.train.parallel.degrees import ONE_PROCESS, Degrees
from llmkit.workflows.pack.pack import PackSources, pack_files
from llmkit.workflows.pretrain.job import Job, PretrainFiles, open_job

TEXTS = [{"id": "a", "text": "the cat sat " * 60}]
SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}


@pytest.fixture
def shards(pack_records: Callable[..., Path]) -> Path:
    """Rows of 63 targets."""
    return pack_records("shards", *TEXTS)


@pytest.fixture
def other_tokenizer(tmp_path: Path) -> Path:
    """A folder with a tokenizer that nothing here was packed with."""
    folder = tmp_path / "other"
    folder.mkdir()
    Backend(WordLevel({"the": 0}, unk_token="the")).save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def open_run(tmp_path: Path) -> Callable[..., Job]:
    """Open a job for a small model."""

    def call(
        *data: Path, config: dict[str, Any] | None = None, degrees: Degrees = ONE_PROCESS, **files: Any
    ) -> Job:
        settings = {"out": tmp_path / "run", "overrides": SHAPE, "packing": PackConfig(seq_len=16), **files}
        return open_job(
            PretrainFiles(data=data, **settings),
            PretrainConfig(device="cpu", **(config or {})),
            tmp_path / "cache",
            Invocation("pretrain"),
            SILENT,
            degrees=degrees,
        )

    return call


@pytest.fixture
def model_folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Callable[..., Path]:
    """A model with weights, big enough for the tokenizer, which is in its folder too."""

    def make(name: str = "model", tokenizer: Path = byte_level_dir) -> Path:
        folder = tiny_model(name, vocab_size=700, max_position_embeddings=64)
        for file in tokenizer.iterdir():
            shutil.copy(file, folder)
        return folder

    return make


def test_shards_need_no_tokenizer_and_name_their_special_ids(
    open_run: Callable[..., Job], shards: Path
) -> None:
    job = open_run(shards)
    assert (job.tokenizer, job.valid) == (None, None)
    index = json.loads((shards / "index.json").read_text())
    assert job.source.config.vocab_size == index["vocab_size"]
    assert (job.source.config.bos_token_id, job.source.config.max_position_embeddings) == (0, 63)
    assert (job.setup.recipe.data_sha256, job.setup.recipe.rows) == (job.data.sha256, index["rows"])


def test_a_given_tokenizers_special_ids_come_before_the_shards(
    open_run: Callable[..., Job], shards: Path, byte_level_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "renamed"
    shutil.copytree(byte_level_dir, folder)
    names = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    config = open_run(shards, tokenizer=folder).source.config  # its tokenizer.json is the shards'
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 0)


def test_documents_are_packed_into_the_cache_and_scored_at_the_same_length(
    open_run: Callable[..., Job], byte_level_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.txt").write_text("the cat sat on the mat " * 50)
    (tmp_path / "v.txt").write_text("on the mat sat the cat " * 9)
    job = open_run(tmp_path / "t.txt", valid=(tmp_path / "v.txt",), tokenizer=byte_level_dir)
    assert job.valid is not None
    assert job.data.seq_len == job.valid.seq_len == 16
    assert job.data.sha256 != job.valid.sha256
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert not (tmp_path / "run").exists()


def test_a_model_folder_brings_its_tokenizer_and_one_that_is_given_comes_first(
    open_run: Callable[..., Job], model_folder: Callable[..., Path], byte_level_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.txt").write_text("the cat sat on the mat " * 50)
    folder = model_folder()
    job = open_run(tmp_path / "t.txt", model=folder, overrides={})
    assert job.tokenizer is not None
    assert job.tokenizer.sha256 == load_tokenizer(byte_level_dir).sha256 == job.data.tokenizer_sha256
    assert job.source.weights == folder
    assert job.setup.recipe.initial_sha256 == job.source.weights_sha256 is not None


def test_a_model_is_not_trained_on_with_another_tokenizer_than_its_own(
    open_run: Callable[..., Job],
    model_folder: Callable[..., Path],
    shards: Path,
    other_tokenizer: Path,
    byte_level_dir: Path,
) -> None:
    folder = model_folder(tokenizer=other_tokenizer)
    with pytest.raises(DataError, match="packed with another tokenizer"):
        open_run(shards, model=folder, overrides={})
    with pytest.raises(DataError, match=f"{folder}: another tokenizer than the training data's"):
        open_run(shards, model=folder, tokenizer=byte_level_dir, overrides={})


def test_validation_data_of_another_tokenizer_or_length_is_refused(
    open_run: Callable[..., Job],
    pack_records: Callable[..., Path],
    shards: Path,
    other_tokenizer: Path,
    tmp_path: Path,
) -> None:
    short = pack_records("short", *TEXTS, seq_len=31)
    with pytest.raises(UsageError, match="short: rows of 31 tokens, where --seq-len or --data has 63"):
        open_run(shards, valid=(short,))
    (tmp_path / "v.txt").write_text("the " * 80)
    foreign = PackSources(inputs=[tmp_path / "v.txt"], out=tmp_path / "foreign", tokenizer=other_tokenizer)
    pack_files(foreign, PackConfig(seq_len=63), invocation=Invocation("pack"), progress=SILENT)
    with pytest.raises(DataError, match=r"foreign: another tokenizer than the training data's"):
        open_run(shards, valid=(tmp_path / "foreign",))


def test_validation_documents_are_packed_as_long_as_the_shards_are(
    open_run: Callable[..., Job], shards: Path, byte_level_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "v.txt").write_text("on the mat sat the cat " * 50)
    job = open_run(shards, valid=(tmp_path / "v.txt",), tokenizer=byte_level_dir)
    assert job.valid is not None and job.valid.seq_len == job.data.seq_len == 63


def test_ids_that_only_the_validation_data_has_have_an_embedding_too(
    open_run: Callable[..., Job], pack_records: Callable[..., Path]
) -> None:
    few = pack_records("few", {"id": "a", "tokens": [1, 2, 3] * 40}, tokenizer=False)
    more = pack_records("more", {"id": "b", "tokens": [1, 2, 99] * 40}, tokenizer=False)
    assert open_run(few).source.config.vocab_size == 4
    assert open_run(few, valid=(more,)).source.config.vocab_size == 100
    with pytest.raises(DataError, match="a vocabulary of 50, but the data has 100 ids"):
        open_run(few, valid=(more,), overrides={**SHAPE, "vocab_size": 50})


@pytest.mark.parametrize("where", ["data", "valid"])
def test_a_path_that_is_not_there_is_found_first(
    open_run: Callable[..., Job], shards: Path, tmp_path: Path, where: str
) -> None:
    absent = tmp_path / "absent"
    paths = {"data": ((absent,), ()), "valid": ((shards,), (absent,))}[where]
    with pytest.raises(MissingError, match="absent: no such file or folder"):
        open_run(*paths[0], valid=paths[1], tokenizer=tmp_path / "no-tokenizer-either")
    assert not (tmp_path / "cache").exists()


def test_samples_need_a_tokenizer(open_run: Callable[..., Job], shards: Path, byte_level_dir: Path) -> None:
    with pytest.raises(UsageError, match="--sample-every needs a tokenizer"):
        open_run(shards, config={"sample_every": 5})
    assert open_run(shards, config={"sample_every": 5}, tokenizer=byte_level_dir).tokenizer is not None


@pytest.mark.parametrize("setting", ["eval_every", "eval_rows"])
def test_how_to_evaluate_is_refused_where_there_is_nothing_to_evaluate_on(
    open_run: Callable[..., Job], shards: Path, setting: str
) -> None:
    with pytest.raises(UsageError, match=f"--{setting.replace('_', '-')} without validation data"):
        open_run(shards, config={setting: 2})
    assert open_run(shards, config={setting: 2}, valid=(shards,)).valid is not None


def test_rows_longer_than_a_trained_models_positions_are_refused_before_anything_is_packed(
    open_run: Callable[..., Job], model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("the cat sat " * 60)
    given: dict[str, Any] = {"model": model_folder(), "overrides": {}, "seq_len": 128}
    given["packing"] = PackConfig(seq_len=128)
    with pytest.raises(UsageError, match="rows of 128 tokens, but the model has 64 positions") as caught:
        open_run(tmp_path / "text.txt", **given)
    assert caught.value.hint is not None and caught.value.hint.startswith("--rope-scaling yarn:2, or")
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UsageError, match="rows of 300 tokens, but the model has 128 positions") as caught:
        open_run(tmp_path / "text.txt", rope_scaling="linear:2", **{**given, "seq_len": 300})  # 5 x 64
    assert caught.value.hint is not None and caught.value.hint.startswith("--rope-scaling yarn:5, or")
    job = open_run(tmp_path / "text.txt", rope_scaling="yarn:2", **given)
    assert job.setup.recipe.model["max_position_embeddings"] == 128


@pytest.mark.parametrize(
    ("config", "degrees", "message"),
    [
        ({"batch_rows": 8, "batch_ramp": "3:4"}, ONE_PROCESS, "a batch of 8 rows is no whole number of 3"),
        ({"batch_rows": 8, "batch_ramp": "2:4"}, Degrees(dp=4), "2 rows cannot be shared by 4 processes"),
        ({"batch_rows": 8}, Degrees(fsdp=3), "8 rows of an update cannot be shared by 3 processes"),
        ({"batch_rows": 8}, Degrees(cp=3), "rows of 16 tokens do not fall into 6 equal pieces"),
        ({"batch_tokens": 8}, ONE_PROCESS, "--batch-tokens 8 is less than one row of 16 tokens"),
    ],
)
def test_batches_that_cannot_be_shared_are_refused_before_anything_is_packed(
    open_run: Callable[..., Job],
    byte_level_dir: Path,
    tmp_path: Path,
    config: dict[str, Any],
    degrees: Degrees,
    message: str,
) -> None:
    (tmp_path / "text.txt").write_text("the cat sat " * 60)
    with pytest.raises(ConfigError, match=message):
        open_run(tmp_path / "text.txt", tokenizer=byte_level_dir, config=config, degrees=degrees)
    assert not (tmp_path / "cache").exists()
