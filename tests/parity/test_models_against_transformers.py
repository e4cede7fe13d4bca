"""Every family as transformers computes it: the same logits, text, config keys and files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from llmkit.estimate.file_tensors import tensor_shapes
from llmkit.model.config import ModelConfig
from llmkit.model.families.table import FAMILIES
from llmkit.model.load import load_model
from llmkit.model.save import file_tensors, save_model
from tests.model.kv_cache import KVCache

from .family_models import CASES, Pair, greedy_texts, logit_gap, make_pair

pytestmark = pytest.mark.usefixtures("one_torch_thread")
IDS = [f"{family}-{number}" for number, (family, _) in enumerate(CASES)]
NEW = 30
"""Tokens behind a prompt of 40: beyond the 64 and 48 positions that are stretched, and a window of 16."""


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """One model opened by both, made once for all tests here."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    family, changes = request.param
    return make_pair(family, changes, tmp_path_factory.mktemp(family))


def test_every_family_is_compared_in_more_than_one_shape() -> None:
    counts = {family: sum(one == family for one, _ in CASES) for family in FAMILIES}
    assert {family for family, _ in CASES} == set(FAMILIES)
    assert {family for family, count in counts.items() if count < 2} == set()


@torch.inference_mode()
def test_the_logits_and_the_greedy_text_are_the_same(pair: Pair) -> None:
    assert logit_gap(pair, 64) <= 1e-4
    prompt, scaling = _ids(pair, 1, 40), pair.ours.config.rope_scaling or {"rope_type": "default"}
    if scaling["rope_type"] == "longrope":  # begins again with other frequencies, which is the engine's to do
        ours, theirs = greedy_texts(pair)
        assert ours == theirs
        return
    text, scores = _greedy(pair, prompt, NEW)
    if scaling["rope_type"] == "dynamic":  # has frequencies of their own for every step of their cache
        settings = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
        assert text == pair.theirs.generate(prompt, **settings)[0].tolist()
        return
    theirs = pair.theirs(torch.tensor([text])).logits[0, 39:-1]  # what their steps would see: one pass tells
    torch.testing.assert_close(scores, theirs, rtol=0, atol=1e-4)
    assert text[40:] == theirs.argmax(-1).tolist()


@torch.inference_mode()
def test_a_text_fed_in_parts_of_seven_has_the_logits_of_one_pass(pair: Pair) -> None:
    ids = _ids(pair, 2, 48)
    cache = KVCache(pair.ours.config, batch=2, capacity=48)
    cache.reach = 48
    parts = [pair.ours(part, cache=cache) for part in ids.split(7, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), pair.ours(ids), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_documents_in_a_row_have_the_logits_that_each_has_alone(pair: Pair) -> None:
    ids, lengths = _ids(pair, 2, 48), [(4, 25, 19), (30, 1, 17)]
    segments = torch.tensor([[number for number, n in enumerate(row) for _ in range(n)] for row in lengths])
    packed = pair.ours(ids, segments=segments)
    for row, parts in enumerate(lengths):
        alone = [pair.ours(document[None])[0] for document in ids[row].split(list(parts))]
        torch.testing.assert_close(packed[row], torch.cat(alone), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_what_we_save_opens_in_transformers_with_equal_logits_and_here_bit_for_bit(
    pair: Pair, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    save_model(pair.ours, tmp_path)
    theirs, found = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert {kind: names for kind, names in found.items() if names} == {}
    assert logit_gap(Pair(pair.ours, theirs), 48) <= 1e-4

    again, ours = load_model(tmp_path), pair.ours.state_dict()
    assert again.config == pair.ours.config
    assert again.state_dict().keys() == ours.keys()
    assert all(torch.equal(one, ours[name]) for name, one in again.state_dict().items())

    stored = {name: tuple(one.shape) for name, one in load_file(tmp_path / "model.safetensors").items()}
    assert {name: tuple(one.shape) for name, one in file_tensors(pair.ours)} == stored
    assert tensor_shapes(pair.ours.config) == stored


def test_the_config_is_read_the_same_from_every_form_of_it(pair: Pair) -> None:
    ours = pair.ours.config
    assert ModelConfig.from_hf(json.loads(json.dumps(ours.to_hf()))) == ours
    for written in (pair.theirs.config.to_dict(), pair.theirs.config.to_diff_dict()):
        written = {"model_type": ours.model_type, **written}
        assert ModelConfig.from_hf(written) == ours
        if ours.state_layers or ours.model_type == "granitemoehybrid":
            continue  # which layers keep a state has to be said
        older = {
            key: value for key, value in written.items() if key not in ("layer_types", "mlp_layer_types")
        }
        assert ModelConfig.from_hf(older) == ours


def _greedy(pair: Pair, prompt: Tensor, new_tokens: int) -> tuple[list[int], Tensor]:
    """The prompt and what we write after it, through our cache; and the scores of each new token."""
    cache = KVCache(pair.ours.config, batch=1, capacity=prompt.shape[1] + new_tokens)
    text, scores = [prompt], []
    for _ in range(new_tokens):
        scores.append(pair.ours(text[-1], cache=cache)[:, -1])
        text.append(scores[-1].argmax(-1, keepdim=True))
    return torch.cat(text, dim=1)[0].tolist(), torch.cat(scores)


def _ids(pair: Pair, texts: int, tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, pair.ours.config.vocab_size, (texts, tokens), generator=generator)
