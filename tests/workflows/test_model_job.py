"""What is known of a model before its weights are read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.workflows.eval.scorer import ModelOptions
from llmkit.workflows.inspect_attention.open import InspectOptions
from llmkit.workflows.model_job import JobOptions, open_model_job

Make = Callable[..., Path]


def test_what_is_asked_for_is_how_the_model_runs(spelled_model: Make) -> None:
    folder = spelled_model()
    job = open_model_job(ModelOptions(model=folder, kv_dtype="int8", weights="int4", batch=3, threads=2))
    assert (job.config.kv_dtype, job.config.weights) == ("int8", "int4")
    assert (job.config.batch, job.config.threads) == (3, 2)
    job = open_model_job(InspectOptions(model=folder, allow_special=True, dtype="bfloat16"))
    assert job.config.allow_special and job.config.dtype == "bfloat16"


def test_a_tokenizer_is_needed_and_may_have_no_more_ids_than_the_model(
    tiny_model: Make, spelled_model: Make, byte_level_dir: Path
) -> None:
    with pytest.raises(MissingError, match="tokenizer"):
        open_model_job(JobOptions(model=tiny_model()))
    with pytest.raises(DataError, match="the model 40 rows"):
        open_model_job(JobOptions(model=tiny_model("small", vocab_size=40), tokenizer=byte_level_dir))


def test_no_output_may_replace_the_model_its_tokenizer_or_its_adapter() -> None:
    options = JobOptions(model=Path("m"), tokenizer=Path("t"), adapter="n=runs/a:0.5")
    assert options.paths == [Path("m"), Path("t"), Path("runs/a")]
    assert JobOptions(model=Path("m")).paths == [Path("m")]
