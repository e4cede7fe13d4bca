"""Two artefacts: which parts of which kinds are compared, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.model.save import save_model
from llmkit.workflows.convert.convert import convert
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.diff.config import OneSided
from llmkit.workflows.diff.diff import DiffReport, diff_artefacts
from llmkit.workflows.diff.options import DiffConfig
from tests.quant.small_folders import write_folders
from tests.quant.small_models import model as small_model


def compared(a: Path, b: Path, **config: Any) -> DiffReport:
    return diff_artefacts(a, b, DiffConfig(**config))


@pytest.fixture
def model(tmp_path: Path, byte_level_dir: Path) -> Callable[[str], Path]:
    """Write a model folder: two tensors, a config.json, a tokenizer."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(byte_level_dir, folder)
        random = np.random.default_rng(0)
        names = ("model.embed_tokens.weight", "model.norm.weight")
        save_file(
            {one: random.normal(size=(4, 2)).astype("f4") for one in names}, folder / "model.safetensors"
        )
        config = {"model_type": "llama", "tie_word_embeddings": True, "torch_dtype": "float32"}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def change_norm(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0, 0] += 1
    save_file(tensors, folder / "model.safetensors")


def test_all_parts_of_a_model_are_compared(model: Callable[[str], Path]) -> None:
    found = compared(model("a"), model("b"))
    assert found.same and found.missing == [] and found.provenance is None and found.shards is None
    assert found.tensors is not None and found.config is not None and found.tokenizer is not None
    assert (found.a.kind, found.b.kind) == ("model", "model")


def test_one_part_that_differs_is_enough_and_can_be_left_out(model: Callable[[str], Path]) -> None:
    a, b = model("a"), model("b")
    change_norm(b)
    found = compared(a, b)
    assert not found.same and found.tensors is not None and not found.tensors.same
    assert found.config is not None and found.config.same
    rest = compared(a, b, only=("config", "tokenizer"))
    assert rest.same and rest.tensors is None


def test_a_tokenizer_on_one_side_only_is_a_difference(model: Callable[[str], Path]) -> None:
    a, b = model("a"), model("b")
    (b / "tokenizer.json").unlink()
    found = compared(a, b)
    assert not found.same and found.missing == [OneSided(file="tokenizer", only="a")]
    with pytest.raises(MissingError):
        compared(a, b, only=("tokenizer",))
    (a / "tokenizer.json").unlink()
    assert compared(a, b).same and compared(a, b).tokenizer is None


def test_without_config_files_the_tensors_are_still_compared(model: Callable[[str], Path]) -> None:
    a, b = model("a"), model("b")
    for folder in (a, b):
        (folder / "config.json").unlink()
    assert compared(a, b).same and compared(a, b).config is None
    with pytest.raises(MissingError):
        compared(a, b, only=("config",))


def test_a_run_a_checkpoint_and_a_model_are_of_one_kind(model: Callable[[str], Path]) -> None:
    a, run, checkpoint = model("a"), model("run"), model("checkpoint")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    (checkpoint / "state.json").write_text("{}")
    assert [compared(a, other).b.kind for other in (run, checkpoint)] == ["run", "checkpoint"]
    assert compared(run, checkpoint).same


def test_files_are_compared_with_files(model: Callable[[str], Path]) -> None:
    a, b = model("a"), model("b")
    change_norm(b)
    found = compared(a / "model.safetensors", b / "model.safetensors")
    assert found.a.kind == "safetensors" and not found.same and found.config is None
    assert compared(a / "config.json", b / "config.json").same


def test_artefacts_of_different_kinds_are_refused_with_what_they_share(
    model: Callable[[str], Path], byte_level_dir: Path
) -> None:
    a = model("a")
    with pytest.raises(DataError, match="different kinds") as refused:
        compared(a, byte_level_dir)
    assert refused.value.hint == "--only tokenizer compares what both have"
    assert compared(a, byte_level_dir, only=("tokenizer",)).same
    with pytest.raises(DataError, match="not both have config"):
        compared(a, byte_level_dir, only=("config",))
    assert compared(a, a / "model.safetensors", only=("tensors",)).same


def test_adapters_are_compared_by_config_and_tensors_and_not_with_a_models_config(
    model: Callable[[str], Path], tmp_path: Path
) -> None:
    folders = []
    for name in ("x", "y"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_config.json").write_text(
            json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4})
        )
        save_file({"q.lora_A.weight": np.ones((2, 8), "f4")}, folder / "adapter_model.safetensors")
        folders.append(folder)
    x, y = folders
    assert compared(x, y).same
    (y / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 8}))
    found = compared(x, y)
    assert found.config is not None and [one.key for one in found.config.keys] == ["lora_alpha"]
    assert found.tensors is not None and found.tensors.same and not found.same
    with pytest.raises(DataError, match="not both have config"):
        compared(x, model("m"), only=("config",))


def test_shards_are_compared_with_shards(pack_records: Callable[..., Path]) -> None:
    records = [{"id": str(n), "tokens": list(range(10, 40))} for n in range(4)]
    a, b = pack_records("a", *records), pack_records("b", *records)
    found = compared(a, b)
    assert found.same and found.shards is not None and found.tensors is None


def test_what_made_them_is_told_and_does_not_count(model: Callable[[str], Path]) -> None:
    a, b = model("a"), model("b")
    write_provenance(a, Invocation("pretrain", {"seed": 0}))
    assert compared(a, b).provenance is None
    write_provenance(b, Invocation("pretrain", {"seed": 1, "lr": None}, words=("--seed", "1")))
    found = compared(a, b)
    assert found.same and found.provenance is not None
    assert {one.key for one in found.provenance} == {"command_line", "settings.seed", "seed"}


def test_what_made_things_of_two_kinds_is_not_told(
    model: Callable[[str], Path], byte_level_dir: Path, tmp_path: Path
) -> None:
    a, b = Path(shutil.copytree(byte_level_dir, tmp_path / "tok")), model("b")
    shutil.copytree(byte_level_dir, b, dirs_exist_ok=True)
    write_provenance(a, Invocation("train-tokenizer", {"vocab_size": 600}))
    write_provenance(b, Invocation("pretrain", {"seed": 1}))
    found = compared(a, b, only=("tokenizer",))
    assert found.same and found.provenance is None


def test_flags_about_what_is_not_compared_are_wrong_usage(
    model: Callable[[str], Path], byte_level_dir: Path
) -> None:
    a = model("a")
    for config in ({"headers": True}, {"atol": 1.0}, {"patterns": ("*",)}, {"any_dtype": True}):
        with pytest.raises(UsageError, match="--headers"):
            compared(byte_level_dir, byte_level_dir, **config)
    with pytest.raises(UsageError, match="--text"):
        compared(a, a, only=("tensors",), texts=(a / "config.json",))


def test_data_files_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(DataError, match=r"\(records\) is not compared"):
        compared(tmp_path / "a.jsonl", tmp_path / "a.jsonl")
    with pytest.raises(MissingError):
        compared(tmp_path / "a.jsonl", tmp_path / "nowhere")


def test_a_quantised_matrix_is_compared_as_the_numbers_it_stands_for(tmp_path: Path) -> None:
    write_folders(tmp_path)
    config = DiffConfig(only=("tensors",), any_dtype=True, atol=0.01, rtol=0.01)  # bfloat16's rounding
    report = diff_artefacts(tmp_path / "quantised", tmp_path / "plain", config)
    assert report.tensors is not None and report.tensors.same
    assert report.tensors.in_both == 12
    shutil.copytree(tmp_path / "quantised", tmp_path / "other")
    same = diff_artefacts(tmp_path / "quantised", tmp_path / "other", DiffConfig())
    assert same.same and same.tensors is not None and same.tensors.in_both == 12 + 2 * 7  # as they are stored


@pytest.fixture
def gguf(tmp_path: Path, byte_level_dir: Path) -> Callable[..., tuple[Path, Path]]:
    """Write a model as a folder, and as a GGUF file."""

    def make(dtype: str, **changes: Any) -> tuple[Path, Path]:
        folder, file = tmp_path / "folder", tmp_path / f"{dtype}.gguf"
        if not folder.exists():
            folder.mkdir()
            save_model(small_model(num_hidden_layers=2, vocab_size=600, **changes), folder)
            for one in byte_level_dir.iterdir():
                shutil.copy(one, folder)
        config = ConvertConfig(dtype=dtype)  # type: ignore[arg-type]
        convert(folder, file, config, force=False, invocation=Invocation("convert", {}))
        return folder, file

    return make


@pytest.mark.parametrize(
    "changes",
    [{}, {"tie_word_embeddings": True}, {"model_type": "phi3", "sliding_window": None}],
    ids=["llama", "tied", "phi3"],
)
def test_a_gguf_file_is_the_folder_that_it_was_made_of(
    gguf: Callable[..., tuple[Path, Path]], changes: dict[str, Any]
) -> None:
    folder, file = gguf("float32", **changes)  # llama's rows of queries and keys are in another order there
    found = compared(folder, file)
    assert found.same and found.tensors is not None and found.config is not None and found.tokenizer is None
    assert found.tensors.in_both == len(small_model(num_hidden_layers=2, **changes).state_dict())
    assert (found.a.kind, found.b.kind) == ("model", "gguf")
    assert not compared(file, folder, only=("tokenizer",)).same  # other keys say the same there


def test_two_gguf_files_are_compared_by_the_numbers_that_they_stand_for(
    gguf: Callable[..., tuple[Path, Path]],
) -> None:
    _, exact = gguf("float32")
    folder, rounded = gguf("q8_0")
    found = compared(exact, rounded)
    assert found.tensors is not None and found.tokenizer is not None and found.tokenizer.same
    matrices = [one for one in load_file(folder / "model.safetensors").values() if one.ndim == 2]
    assert len(found.tensors.changed) == len(matrices) and not found.same
    # half a step of a block's largest number in 127, and that step itself is kept in float16
    bound = max(float(np.abs(one).max()) for one in matrices) / 254 * 1.01
    assert found.tensors.max_abs is not None and 0.5 * bound < found.tensors.max_abs < bound
    assert compared(exact, rounded, atol=bound).same and compared(rounded, rounded).same


def test_another_config_and_a_changed_weight_are_found_beside_a_gguf_file(
    gguf: Callable[..., tuple[Path, Path]],
) -> None:
    folder, file = gguf("float32")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.self_attn.k_proj.weight"][3, 5] += 0.25
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    found = compared(file, folder)
    assert found.tensors is not None and found.config is not None
    (one,) = found.tensors.changed
    assert one.a.name == "model.layers.1.self_attn.k_proj.weight" and one.values is not None
    assert (one.values.differing, one.values.at) == (1, [3, 5])
    assert [key.key for key in found.config.keys] == ["rms_norm_eps"]
