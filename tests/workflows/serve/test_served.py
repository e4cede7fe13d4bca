"""What a model's files say of how it is served."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError
from llmkit.model.relevance import Relevance
from llmkit.workflows.serve.serve import open_serve_job
from llmkit.workflows.serve.served import fingerprint_of, relevance_of
from tests.model.test_relevance import judging_folder


def test_a_fingerprint_names_the_version(shared_data: Path) -> None:
    job = open_serve_job(shared_data / "models" / "stories260K", None, GenerateConfig())
    assert fingerprint_of(job, "v2") == f"{fingerprint_of(job, '')}-v2"


def test_a_model_judges_where_its_files_say_so_and_by_tokens_that_it_has(
    spelled_model: Callable[..., Path],
) -> None:
    plain = spelled_model("plain")
    judge = judging_folder(spelled_model("judge"), {"true_token_id": 5, "false_token_id": 599})
    wrong = judging_folder(spelled_model("wrong"), {"true_token_id": 5, "false_token_id": 600})
    jobs = [open_serve_job(folder, None, GenerateConfig()) for folder in (plain, judge, wrong)]
    assert relevance_of(jobs[0]) is None and relevance_of(jobs[1]) == Relevance(5, 599)
    with pytest.raises(DataError, match="judges by token 600, and has 600"):
        relevance_of(jobs[2])
