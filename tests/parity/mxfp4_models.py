"""Small gpt-oss models as they are published: experts in MXFP4, every code and some scales at random."""

import json
from pathlib import Path

import torch
from gguf_models import LOCAL, WINDOW, case_config, random_model
from safetensors.torch import load_file, save_file

from llmkit.model.save import save_model

SECTION = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}


def mxfp4_folder(folder: Path) -> Path:
    """Write one; blocks and scales are those of OpenAI's files, by name and shape."""
    save_model(random_model(case_config("gpt_oss", {**LOCAL, **WINDOW})), folder)
    generator = torch.Generator().manual_seed(2)
    stored = load_file(folder / "model.safetensors")
    for name in [name for name in stored if name.endswith(("gate_up_proj", "down_proj"))]:
        experts, inputs, outputs = stored.pop(name).shape
        blocks = (experts, outputs, inputs // 32)
        stored[f"{name}_blocks"] = torch.randint(256, (*blocks, 16), generator=generator, dtype=torch.uint8)
        stored[f"{name}_scales"] = torch.randint(122, 126, blocks, generator=generator, dtype=torch.uint8)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": SECTION}))
    return folder
