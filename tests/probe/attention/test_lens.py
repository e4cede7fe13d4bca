"""The logit lens against transformers' hidden states, norm and head."""

from pathlib import Path

import pytest
import torch
from family_models import Pair, make_pair
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.probe.attention.lens import LensLayer, LensReading, logit_lens

IDS = torch.tensor([5, 9, 5, 9, 11, 3, 5])
NORMS = {"gpt2": "transformer.ln_f"}


@torch.no_grad()
def by_transformers(pair: Pair, family: str, place: int) -> Tensor:
    """(L + 1, V) what transformers' own norm and head make of each of its hidden states."""
    states = pair.theirs(IDS[None], output_hidden_states=True).hidden_states
    norm = pair.theirs.get_submodule(NORMS.get(family, "model.norm"))
    rows = [norm(state[0, place]) for state in states[:-1]] + [states[-1][0, place]]  # the last has the norm
    logits = pair.theirs.lm_head(torch.stack(rows))
    cap = getattr(pair.theirs.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_every_figure_is_that_of_transformers_norm_and_head(family: str, tmp_path: Path) -> None:
    pair = make_pair(family, {}, tmp_path)
    reading, other = logit_lens(pair.ours, IDS, [-1, 3])
    assert (reading.position, other.position) == (6, 3)
    logits = by_transformers(pair, family, -1).double()
    probabilities = logits.softmax(-1)
    final = probabilities[-1]
    assert reading.answer == int(final.argmax())
    for number, (row, ours) in enumerate(zip(probabilities, reading.layers, strict=True)):
        assert ours.layers == number and ours.top == int(row.argmax())
        assert ours.rank == sorted(row.tolist(), reverse=True).index(float(row[reading.answer])) + 1
        assert ours.probability == pytest.approx(float(row[reading.answer]), rel=1e-3)
        assert ours.top_probability == pytest.approx(float(row.max()), rel=1e-3)
        assert ours.kl == pytest.approx(float((final * (final / row).log()).sum()), rel=2e-3, abs=1e-9)
    assert reading.layers[-1].kl == 0.0 and reading.layers[-1].rank == 1


def test_a_given_answer_is_followed_instead(tmp_path: Path) -> None:
    pair = make_pair("llama", {}, tmp_path)
    (reading,) = logit_lens(pair.ours, IDS, answer=7)
    own = by_transformers(pair, "llama", -1).softmax(-1)[:, 7]
    assert [one.probability for one in reading.layers] == pytest.approx(own.tolist(), rel=1e-3)
    with pytest.raises(UsageError, match="no token 96"):
        logit_lens(pair.ours, IDS, answer=96)


def test_first_and_settled_tell_a_choice_that_is_left_again_from_one_that_stays() -> None:
    tops = [3, 8, 3, 8, 8]
    reading = LensReading(0, 8, tuple(LensLayer(n, 1, 0.5, 0.0, top, 0.5) for n, top in enumerate(tops)))
    assert (reading.first_final, reading.settled) == (1, 3)
    same = LensReading(0, 8, tuple(LensLayer(n, 1, 0.5, 0.0, 8, 0.5) for n in range(3)))
    assert (same.first_final, same.settled) == (0, 0)
