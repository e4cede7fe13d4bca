"""An adapter: low-rank pairs that are whole, of the rank that is written, and that fit their base."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.formats.gguf.adapter import read_gguf_adapter
from llmkit.formats.model_folder import TensorInfo, read_header, read_json_object
from llmkit.formats.peft import ADAPTER_CONFIG, ADAPTER_WEIGHTS, parse_tensor_name
from llmkit.model.gguf.file import read_gguf_tensors
from llmkit.model.stretched import read_shape
from llmkit.workflows.doctor.findings import Finding, as_finding, finding
from llmkit.workflows.doctor.weights import check_finite


def check_adapter(folder: Path, base: Mapping[str, TensorInfo] | None = None) -> list[Finding]:
    """What is wrong with a PEFT adapter.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors.
        base: the tensors of the model it is meant for, where that is at hand.
    """
    findings: list[Finding] = []
    with as_finding(findings, "adapter.files", folder):
        config = read_json_object(folder / ADAPTER_CONFIG)
        tensors = read_header(folder / ADAPTER_WEIGHTS).tensors
        findings += _check_pairs(folder, config, tensors)
        findings += check_finite(tensors)
        if base is not None:
            findings += _check_base(folder, _pairs(tensors), base)
    return findings


def check_gguf_adapter(path: Path) -> list[Finding]:
    """What is wrong with an adapter's GGUF file by itself."""
    findings: list[Finding] = []
    with as_finding(findings, "adapter.files", path):
        read_gguf_adapter(path)
        findings += check_finite(read_gguf_tensors(path))
    return findings


def check_fits(path: Path, base: Path) -> list[Finding]:
    """Whether an adapter is for a model, whatever the form of either: a GGUF file, or a folder."""
    from llmkit.model.adapters.load import load_adapter  # torch, which the rest of doctor never loads

    findings: list[Finding] = []
    with as_finding(findings, "adapter.base", path):
        load_adapter(path, read_shape(base))
    return findings


def _pairs(tensors: Mapping[str, TensorInfo]) -> dict[str, dict[str, TensorInfo]]:
    """{"model.layers.0.self_attn.q_proj": {"A": …, "B": …}, …}"""
    pairs: dict[str, dict[str, TensorInfo]] = {}
    for name, tensor in tensors.items():
        module, part = parse_tensor_name(name)
        if part in ("A", "B"):
            pairs.setdefault(module, {})[part] = tensor
    return pairs


def _check_pairs(folder: Path, config: dict[str, Any], tensors: Mapping[str, TensorInfo]) -> list[Finding]:
    findings = []
    pairs = _pairs(tensors)
    if not pairs and not any("lora_embedding" in name for name in tensors):
        findings.append(
            finding("error", "adapter.empty", folder, "no low-rank tensors", "train the adapter again")
        )
    ranks = {config.get("r"), *(config.get("rank_pattern") or {}).values()}
    for module, pair in pairs.items():
        if len(pair) < 2:
            present = f"lora_{next(iter(pair))}"
            what = f"{module} has {present} without its other half"
            findings.append(finding("error", "adapter.pair", folder, what, "write the adapter again"))
        elif pair["A"].shape[0] != pair["B"].shape[1]:
            what = (
                f"{module}: lora_A {list(pair['A'].shape)} and lora_B {list(pair['B'].shape)} do not multiply"
            )
            findings.append(finding("error", "adapter.pair", folder, what, "write the adapter again"))
        elif pair["A"].shape[0] not in ranks:
            what = f"{module} has rank {pair['A'].shape[0]}, {ADAPTER_CONFIG} says {config.get('r')}"
            findings.append(
                finding("error", "adapter.rank", folder, what, f"set r in {folder / ADAPTER_CONFIG}")
            )
    targets = config.get("target_modules")
    if isinstance(targets, list):
        modules = {name.rpartition(".")[2] for name in pairs} | set(pairs)
        if idle := [one for one in targets if one not in modules and not any(p.endswith(one) for p in pairs)]:
            what = f"target_modules names {', '.join(idle)}, and no tensor belongs to it"
            findings.append(
                finding("warning", "adapter.targets", folder, what, "leave it out of target_modules")
            )
    return findings


def _check_base(
    folder: Path, pairs: dict[str, dict[str, TensorInfo]], base: Mapping[str, TensorInfo]
) -> list[Finding]:
    """Each module is in the base, with its pair's widths: else some servers use the base alone."""
    findings = []
    hint = "give the model it was trained on"
    for module, pair in pairs.items():
        weight = base.get(f"{module}.weight")
        if weight is None:
            what = f"adapts {module}, which the model does not have"
            findings.append(finding("error", "adapter.base", folder, what, hint))
        elif len(pair) == 2 and set(weight.shape) != {pair["B"].shape[0], pair["A"].shape[1]}:
            made = [pair["B"].shape[0], pair["A"].shape[1]]
            what = f"{module} is {list(weight.shape)}, the adapter makes {made}"
            findings.append(finding("error", "adapter.base", folder, what, hint))
    return findings
