"""The table of llama.cpp's architectures: names that gguf-py has, families that are ours."""

import pytest

from llmkit.model.families.table import FAMILIES
from llmkit.model.gguf.architectures import ARCHITECTURES, KNOWN, WITH_EXPERTS, WITH_STATES, families_of


def test_every_architecture_is_a_familys() -> None:
    assert {*WITH_STATES, *WITH_EXPERTS} <= set(ARCHITECTURES) <= set(FAMILIES)


def test_llama_cpp_knows_every_name() -> None:
    constants = pytest.importorskip("gguf.constants")
    assert set(KNOWN) <= set(constants.MODEL_ARCH_NAMES.values())


def test_families_of_one_architecture_have_one_layout() -> None:
    layouts: dict[str, set[tuple[bool, bool, bool, str]]] = {}
    for one in ARCHITECTURES.values():
        layout = (one.permuted, one.joined_qkv, one.joined_gate_up, one.feed_norm)
        layouts.setdefault(one.name, set()).add(layout)
    assert all(len(kinds) == 1 for kinds in layouts.values())
    assert len(layouts) < len(ARCHITECTURES)


def test_families_are_found_by_an_architectures_name() -> None:
    assert list(families_of("granite")) == ["granite", "granitemoehybrid"]
    assert families_of("granitehybrid") == WITH_STATES
    assert list(families_of("granitemoe")) == ["granitemoe", "granitemoehybrid"]
    assert families_of("nemotron_h_moe") == {"nemotron_h": WITH_EXPERTS["nemotron_h"]}
    assert all(families_of(name) for name in KNOWN) and not families_of("mamba")
