"""The section of a config.json that says how weights are quantised."""

import subprocess
import sys

import pytest

from llmkit.model.quantised.section import quantised_section


@pytest.mark.parametrize("key", ["quantization_config", "quantization"])
def test_the_section_is_found_at_the_top_and_in_the_text_config(key: str) -> None:
    section = {"bits": 4, "group_size": 64}
    assert quantised_section({key: section}) == section
    assert quantised_section({"text_config": {key: section}}) == section


def test_an_empty_section_and_none_at_all_are_plain_numbers() -> None:
    assert quantised_section({"quantization_config": {}}) is None
    assert quantised_section({"hidden_size": 64, "text_config": {}}) is None


def test_presets_and_plain_configs_load_no_numpy() -> None:
    code = "import sys; from llmkit.model.presets import preset; preset('small'); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "llmkit.model.presets" in answer.stdout.split()
    assert "numpy" not in answer.stdout.split()
