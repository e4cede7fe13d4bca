"""What is opened before a model is served, and what it is called."""

from pathlib import Path

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import MissingError, UsageError
from llmkit.server.config import ServeConfig
from llmkit.workflows.serve.serve import fingerprint_of, model_name, open_serve_job, plan_serve


def test_a_model_is_called_as_its_folder_unless_it_has_a_name(shared_data: Path) -> None:
    folder = shared_data / "models" / "stories260K"
    job = open_serve_job(folder, None, GenerateConfig())
    assert model_name(job, None) == "stories260K" and model_name(job, "small") == "small"
    with pytest.raises(UsageError, match="no colon"):
        model_name(job, "a:b")
    assert fingerprint_of(job, "v2") == f"{fingerprint_of(job, '')}-v2"
    plan = plan_serve(job, ServeConfig(port=9), "small")
    assert (plan.name, plan.listens, plan.keys) == ("small", "http://127.0.0.1:9", None)
    assert plan.cache_positions >= plan.context == 512
    assert (plan.processes, plan.threads) == (1, 1)
    halved = plan_serve(open_serve_job(folder, None, GenerateConfig(tp=2, threads=6)), ServeConfig(), None)
    assert (halved.processes, halved.threads) == (2, 3) and halved.memory_bytes > plan.memory_bytes


def test_a_model_without_a_tokenizer_is_not_served(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "models" / "stories260K"
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(MissingError, match="no tokenizer"):
        open_serve_job(tmp_path, None, GenerateConfig())
