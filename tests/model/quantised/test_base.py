"""Models over codes against the same files read into numbers; a QLoRA step against LoRA on those."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from llmkit.errors import ConfigError
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.adapters.add_lora import add_lora
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.adapters.lora import adapter_parameters
from llmkit.model.adapters.merge import merge_adapter
from llmkit.model.adapters.save import save_adapter
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.save import gguf_model
from llmkit.model.load import load_model
from llmkit.model.quantised.base import load_quantised_base, quantise_base
from llmkit.model.quantised.linear import QuantisedLinear
from llmkit.model.quantised.nf4 import nf4
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer

IDS = torch.arange(24).view(2, 12)


@pytest.fixture
def int8_folder(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer], tmp_path: Path
) -> Callable[..., Path]:
    """A family's matrices in compressed-tensors' int8, one step a row, written by hand."""

    def make(family: str) -> Path:
        folder = tmp_path / family
        folder.mkdir()
        save_model(make_model(make_config(family)), folder)
        tensors = load_file(folder / "model.safetensors")
        for name in [one for one in tensors if one.endswith("proj.weight")]:
            weight = tensors.pop(name)
            steps = weight.abs().amax(1, keepdim=True) / 127
            module = name.removesuffix(".weight")
            tensors[name] = (weight / steps).round().to(torch.int8)
            tensors[f"{module}.weight_scale"] = steps
        save_file(tensors, folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] = {
            "quant_method": "compressed-tensors",
            "format": "int-quantized",
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True},
                }
            },
        }
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3", "mixtral"])
def test_a_folders_codes_compute_what_its_numbers_do(family: str, int8_folder: Callable[..., Path]) -> None:
    folder = int8_folder(family)
    ours, plain = load_quantised_base(folder), load_model(folder)
    kept = [module for module in ours.modules() if isinstance(module, QuantisedLinear)]
    attention_only = family == "mixtral"
    assert len(kept) == 2 * (4 if attention_only else 7)
    assert not any(one.requires_grad for one in ours.parameters())
    torch.testing.assert_close(ours(IDS), plain(IDS), rtol=1e-5, atol=1e-5)
    merge_adapter(ours)
    assert all(torch.equal(one, plain.state_dict()[name]) for name, one in ours.state_dict().items())


def test_a_model_of_plain_numbers_is_refused(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer], tmp_path: Path
) -> None:
    save_model(make_model(make_config()), tmp_path)
    with pytest.raises(ConfigError, match="no matrix of it is quantised"):
        load_quantised_base(tmp_path)


@pytest.mark.parametrize(("family", "count"), [("llama", 15), ("phi3", 15)])
def test_a_gguf_files_blocks_compute_what_its_numbers_do(
    family: str,
    count: int,
    make_config: Callable[..., ModelConfig],
    make_model: Callable[..., Transformer],
    tmp_path: Path,
) -> None:
    """Llama's queries are in turns there, Phi-3's are one matrix with keys and values."""
    model = make_model(make_config(family, intermediate_size=64))
    made = gguf_model(model, "q8_0")
    path = tmp_path / "model.gguf"
    with path.open("wb") as stream:
        write_gguf(stream, made.metadata, made.tensors)
    ours, plain = load_quantised_base(path), load_model(path)
    kept = [module for module in ours.modules() if isinstance(module, QuantisedLinear)]
    assert len(kept) == count
    torch.testing.assert_close(ours(IDS), plain(IDS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
def test_rounding_a_model_leaves_what_rounding_each_matrix_leaves(
    family: str, make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    ours, plain = make_model(make_config(family)), make_model(make_config(family))
    quantise_base(ours)
    with torch.no_grad():
        for module in plain.model.layers.modules():
            if isinstance(module, nn.Linear):
                codes = nf4(module.weight)
                module.weight.copy_(codes.dense(codes.tensors, torch.float32))
    torch.testing.assert_close(ours(IDS), plain(IDS), rtol=1e-5, atol=1e-5)


def test_adapters_on_codes_learn_what_they_learn_on_the_dequantised_numbers(
    int8_folder: Callable[..., Path],
) -> None:
    folder = int8_folder("llama")
    gradients = []
    for load in (load_quantised_base, load_model):
        model = load(folder)
        add_lora(model, LoraConfig(r=4, use_dora=True), seed=0)
        parameters = adapter_parameters(model)
        with torch.no_grad():
            for name, one in parameters.items():
                if name.endswith("lora_B"):
                    one.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(name)))
        nn.functional.cross_entropy(model(IDS)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).backward()
        gradients.append({name: one.grad for name, one in parameters.items()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient is not None and gradient.abs().max() > 0
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("whose_codes", ["ours", "bitsandbytes"])
def test_logits_loss_gradients_and_a_step_of_qlora_are_those_of_peft_on_bitsandbytes(
    whose_codes: str,
    make_config: Callable[..., ModelConfig],
    make_model: Callable[..., Transformer],
    transformers: ModuleType,
    tmp_path: Path,
) -> None:
    """Each rounds to its codes, or ours are those of the file that transformers writes, double quantised."""
    peft = pytest.importorskip("peft")
    pytest.importorskip("bitsandbytes")
    paths = {name: tmp_path / name for name in ("base", "codes", "adapter")}
    for path in paths.values():
        path.mkdir()
    model = make_model(make_config(hidden_size=64, intermediate_size=128), std=0.1)
    save_model(model, paths["base"])
    nested = whose_codes == "bitsandbytes"
    settings: dict[str, Any] = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    settings |= {"bnb_4bit_compute_dtype": torch.float32, "bnb_4bit_use_double_quant": nested}
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        paths["base"],
        quantization_config=transformers.BitsAndBytesConfig(**settings),
        dtype=torch.float32,
        device_map="cpu",
        attn_implementation="eager",
    )
    if nested:
        theirs.save_pretrained(paths["codes"])
        model = load_quantised_base(paths["codes"])
    else:
        quantise_base(model)
    assert sum(isinstance(one, QuantisedLinear) for one in model.modules()) == 2 * 7
    add_lora(model, LoraConfig(r=4), seed=0)
    ours = adapter_parameters(model)
    with torch.no_grad():
        for name, one in ours.items():
            if name.endswith("lora_B"):
                one.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(name)))
    save_adapter(model, paths["adapter"], str(paths["base"]))
    tuned = peft.PeftModel.from_pretrained(theirs, paths["adapter"], is_trainable=True)
    tuned.train()  # in evaluation bitsandbytes computes in bfloat16 where the CPU can, and loses the gradient
    expected = {
        name.removeprefix("base_model.model.").replace(".default", "").removesuffix(".weight"): one
        for name, one in tuned.named_parameters()
        if one.requires_grad
    }
    assert ours.keys() == expected.keys()

    before = model(IDS)
    torch.testing.assert_close(before, tuned(IDS).logits, rtol=0, atol=1e-5)
    loss = nn.functional.cross_entropy(before[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    their_loss = tuned(IDS, labels=IDS).loss
    assert abs(loss.item() - their_loss.item()) < 1e-5
    for score, parameters in ((loss, ours), (their_loss, expected)):
        score.backward()
        torch.optim.SGD(parameters.values(), lr=0.01).step()
    for name, parameter in ours.items():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-4
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-5)
    after = model(IDS)
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(after, tuned(IDS).logits, rtol=0, atol=3e-5)
    assert (model(IDS) - before).abs().max() > 0.1
