"""Weights taken one by one are those that were saved, whatever the files are, and nobody else keeps them."""

import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf_models
import numpy as np
import pytest
import torch
from coded_models import coded_gguf
from gguf_models import case_config, random_model
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.save import gguf_model
from llmkit.model.load import load_model
from llmkit.model.mapped import FileMappings
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.save import save_model
from llmkit.model.stored_weights import StoredWeights, open_store
from llmkit.model.transformer import Transformer
from tests.model.test_mapped import resident_file_bytes
from tests.quant.small_folders import write_folders

FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {**gguf_models.MHA, **gguf_models.TIED, **gguf_models.BIAS}),
    *(("gpt2", {}), ("gpt_neox", {}), ("phi3", {}), ("gemma", {})),
    *(("mixtral", gguf_models.LOCAL), ("gpt_oss", {**gguf_models.LOCAL, "head_dim": 16})),
    ("deepseek_v3", {**gguf_models.LATENT, **gguf_models.GROUPS}),
]
Q, K, V = (f"model.layers.0.self_attn.{one}_proj.weight" for one in "qkv")
DOWN = "model.layers.0.mlp.down_proj.weight"


def write(place: Path, model: Transformer, form: str, dtype: str = "float32") -> Path:
    if form == "folder":
        save_model(model, place, dtype=getattr(torch, dtype))
        return place
    made = gguf_model(model, dtype)
    with (place / "a.gguf").open("wb") as stream:
        write_gguf(stream, made.metadata, made.tensors)
    return place / "a.gguf"


def as_tensor(array: NDArray[Any]) -> Tensor:
    if array.dtype == np.uint16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


@pytest.mark.parametrize("form", ["folder", "gguf"])
@pytest.mark.parametrize(("family", "changes"), FAMILIES)
def test_what_was_saved_is_taken_in_every_dtype(
    family: str, changes: dict[str, Any], form: str, tmp_path: Path
) -> None:
    model = random_model(case_config(family, changes))
    path, state = write(tmp_path, model, form), model.state_dict()
    for dtype in ("float32", "bfloat16", "float16"):
        weights = StoredWeights(path, dtype=dtype)
        assert weights.dtype == dtype and weights.codes == {}
        assert weights.shapes == {name: tuple(one.shape) for name, one in state.items()}
        for name, tensor in state.items():
            exact = model.config.norm_plus_one and "norm" in name and form == "gguf"
            expected = (tensor + 1) - 1 if exact else tensor
            if not name.endswith("e_score_correction_bias"):
                expected = expected.to(getattr(torch, dtype))
            found = weights.take(name)
            assert found.flags.c_contiguous and found.flags.writeable
            assert as_tensor(found).dtype == expected.dtype
            assert torch.equal(as_tensor(found), expected), name


def test_any_order_will_do_and_the_config_s_dtype_is_the_files(tmp_path: Path) -> None:
    model = random_model(case_config("phi3", {}))
    path, state = write(tmp_path, model, "folder", "bfloat16"), model.bfloat16().state_dict()
    weights = StoredWeights(path)
    assert weights.dtype == "bfloat16"
    for name in reversed(list(state)):
        assert torch.equal(as_tensor(weights.take(name)), state[name])


def test_a_tensor_is_taken_once(tmp_path: Path) -> None:
    weights = StoredWeights(write(tmp_path, random_model(case_config("phi3", {})), "folder"))
    weights.take(K)
    for name in (K, "model.layers.0.self_attn.qkv_proj.weight"):
        with pytest.raises(KeyError):
            weights.take(name)
    assert weights.take(Q).shape == weights.shapes[Q]


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "mixtral"])
def test_what_was_taken_is_held_by_nobody_else(family: str, tmp_path: Path) -> None:
    changes = gguf_models.LOCAL if family == "mixtral" else {}
    model = random_model(case_config(family, changes))
    for dtype in ("float32", "bfloat16"):
        weights = StoredWeights(write(tmp_path, model, "folder"), dtype=dtype)
        taken = [weights.take(name) for name in weights.shapes]
        owners = [weakref.ref(one if one.base is None else one.base) for one in taken]
        del taken
        alive = [one for one in (owner() for owner in owners) if one is not None]
        assert all(one.base is not None for one in alive)  # windows on the file's bytes


@pytest.mark.skipif(sys.platform != "linux", reason="where memory comes from is read from /proc")
def test_tensors_that_the_file_has_as_they_are_asked_for_are_its_own_pages(tmp_path: Path) -> None:
    for form, family in (("folder", "phi3"), ("gguf", "phi3"), ("folder", "gpt2"), ("gguf", "llama")):
        changes = {"n_embd": 128} if family == "gpt2" else {"hidden_size": 128}
        model = random_model(case_config(family, changes))
        path = write(tmp_path, model, form)
        for dtype in ("float32", "float16"):
            weights = StoredWeights(path, dtype=dtype)
            taken = {name: weights.take(name) for name in weights.shapes}
            files = FileMappings()
            mapped = {name for name, one in taken.items() if files.forget_pages(one) > 0}
            embedding = {"model.embed_tokens.weight"}
            if dtype == "float16":
                assert not mapped
            elif (form, family) == ("folder", "gpt2"):
                assert embedding <= mapped and not any("proj" in name for name in mapped)  # turned
            elif (form, family) == ("gguf", "llama"):
                assert embedding | {V, DOWN} <= mapped and not {Q, K} & mapped  # rows in turns
            else:
                assert embedding | {Q, K, V, DOWN} <= mapped
            state = model.state_dict()
            for name, one in taken.items():
                assert torch.equal(as_tensor(one), state[name].to(getattr(torch, dtype)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this call")
def test_pages_of_what_is_given_up_leave_the_process(tmp_path: Path) -> None:
    path = write(tmp_path, random_model(case_config("llama", {"vocab_size": 16384})), "folder")
    weights = StoredWeights(path)
    embedding = weights.take("model.embed_tokens.weight")  # 4 MiB
    kept = embedding.copy()
    before = resident_file_bytes()
    weights.forget(embedding)
    assert before - resident_file_bytes() > 3 << 20
    assert np.array_equal(embedding, kept)
    rounded = StoredWeights(path, dtype="bfloat16").take("model.embed_tokens.weight")
    weights.forget(rounded)  # memory of its own stays as it is
    assert torch.equal(as_tensor(rounded), torch.from_numpy(kept).bfloat16())


@pytest.mark.parametrize("container", ["compressed-tensors", "awq", "gptq"])
def test_quantised_folders_become_numbers_or_stay_codes(container: str, tmp_path: Path) -> None:
    write_folders(tmp_path, container)  # type: ignore[arg-type]
    plain = load_file(tmp_path / "plain/model.safetensors")
    weights = StoredWeights(tmp_path / "quantised")
    for name in weights.shapes:
        assert torch.equal(as_tensor(weights.take(name)), plain[name]), name
    coded = CodedWeights()
    weights = StoredWeights(tmp_path / "quantised", coded=coded)
    assert weights.codes is coded.sources
    assert {Q, K, V, DOWN} <= weights.codes.keys()
    for name in weights.shapes:
        if name in weights.codes:
            with pytest.raises(KeyError):
                weights.take(name)
        else:
            assert torch.equal(as_tensor(weights.take(name)), plain[name])


def test_codes_of_a_gguf_file_stay_where_they_are(tmp_path: Path) -> None:
    model = random_model(case_config("phi3", {"hidden_size": 256, "head_dim": 64}))
    path = coded_gguf(tmp_path / "a.gguf", model, {"attn_qkv": "Q4_K", "ffn": "Q8_0"})
    weights = StoredWeights(path, dtype="float32", coded=CodedWeights())
    assert {Q, K, V} <= weights.codes.keys() and "model.norm.weight" not in weights.codes
    for name, tensor in load_model(path, dtype=torch.float32).state_dict().items():
        assert tuple(tensor.shape) == weights.shapes[name]
        if name not in weights.codes:
            assert torch.equal(as_tensor(weights.take(name)), tensor)


def test_a_tied_head_that_differs_is_told_when_the_embedding_is_taken(
    tmp_path: Path,
    make_config: Callable[..., ModelConfig],
    make_model: Callable[..., Transformer],
) -> None:
    path = write(tmp_path, make_model(make_config(tie_word_embeddings=True)), "folder")
    tensors = load_file(path / "model.safetensors")
    head = tensors["model.embed_tokens.weight"].clone()
    for added in (0.0, 1e-3):
        save_file(tensors | {"lm_head.weight": head + added}, path / "model.safetensors")
        weights = StoredWeights(path)
        weights.take("model.norm.weight")
        if added:
            with pytest.raises(DataError, match=r"lm_head\.weight differs from the embedding"):
                weights.take("model.embed_tokens.weight")
        else:
            weights.take("model.embed_tokens.weight")


def test_a_longer_context_and_what_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, random_model(case_config("llama", {})), "folder")
    scaling = {"rope_type": "linear", "factor": 2.0}
    assert StoredWeights(path, rope_scaling=scaling).config.rope_scaling == scaling
    assert open_store(path).config.rope_scaling != scaling
    with pytest.raises(MissingError):
        StoredWeights(tmp_path / "nowhere")
    config = (path / "config.json").read_text().replace('"float32"', '"float64"')
    (path / "config.json").write_text(config)
    with pytest.raises(ConfigError, match="dtype 'float64' is not supported"):
        StoredWeights(path)


def test_weights_of_every_form_are_read_without_torch(tmp_path: Path) -> None:
    write_folders(tmp_path)
    paths = [tmp_path / "quantised", tmp_path / "plain"]
    for number, (family, form) in enumerate((("gpt2", "folder"), ("llama", "gguf"))):
        (tmp_path / str(number)).mkdir()
        paths.append(write(tmp_path / str(number), random_model(case_config(family, {})), form))
    script = (
        "import sys; from pathlib import Path\n"
        "from llmkit.model.quantised.coded_weights import CodedWeights\n"
        "from llmkit.model.stored_weights import StoredWeights\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    weights = StoredWeights(path, dtype='bfloat16', coded=CodedWeights())\n"
        "    for name in weights.shapes.keys() - weights.codes.keys(): weights.take(name)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, *paths], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
