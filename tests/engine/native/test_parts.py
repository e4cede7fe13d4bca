"""What the kernels compute, and what they say of the rest."""

import pytest

from llmkit.engine.native.parts import ACTIVATIONS, runs_natively, why_not_natively
from llmkit.kernels import library
from llmkit.model import config as model_config

needs_kernels = pytest.mark.skipif(not library.available(), reason="no native library")


def test_every_activation_of_a_config_has_its_kernel() -> None:
    assert set(ACTIVATIONS) == {*model_config.ACTIVATIONS, "xielu"}


@needs_kernels
def test_what_is_not_computed_is_named() -> None:
    assert runs_natively("float32", "cpu") and runs_natively("bfloat16", "cpu")
    reasons = {
        "in float16": why_not_natively("float16", "cpu"),
        "on cuda": why_not_natively("float32", "cuda:1"),
    }
    for part, reason in reasons.items():
        assert reason is not None and reason.startswith("does not compute") and part in reason


def test_without_the_library_nothing_runs_and_its_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_loaded", lambda: "not built: no C++ compiler (g++)")
    assert why_not_natively("float32", "cpu") == "not built: no C++ compiler (g++)"
    assert not runs_natively("float32", "cpu")
