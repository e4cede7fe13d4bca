"""A model in parts on two GPUs, joined by NCCL. How to run it: `tests/bench/README.md`, "cuda"."""

from pathlib import Path

import pytest
import torch

from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.request import Request
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate.model import place, start_engine

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")


def test_two_gpus_write_what_one_does(tmp_path: Path) -> None:
    config = ModelConfig(
        **{"vocab_size": 511, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2},
    )
    model = Transformer(config)
    initialise(model, torch.Generator().manual_seed(0))
    save_model(model, tmp_path)
    files = GenerateFiles(model=tmp_path, jsonl=Path("-"))
    texts = []
    for tp in (1, 2):
        job = open_job(files, GenerateConfig(tp=tp, device="cuda", dtype="float32"))
        engine = start_engine(job, place(job, None))
        asked = Request((1, 2, 3), SamplingConfig(max_tokens=40, temperature=0.0, ignore_eos=True))
        texts.append([drawn.id for drawn in engine.run(asked)])
        engine.lead.close()
    assert texts[0] == texts[1] and len(set(texts[0])) > 5
