"""Passes through the native kernels beside the model's own modules, for every family: chunks, batches, steps.

The models are those of family_models.py, made from their config alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from family_models import CASES, DYNAMIC, LONG, their_config
from torch import Tensor

from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.native import NativeRunner
from llmkit.engine.native.parts import runs_natively
from llmkit.engine.native.store import NativeStore
from llmkit.engine.pass_runner import PassRunner
from llmkit.engine.runner import Runner
from llmkit.engine.scheduler import Work
from llmkit.engine.store import KVStore
from llmkit.kernels.library import available
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from tests.written_texts import known

pytestmark = [
    pytest.mark.skipif(not available(), reason="no native library"),
    pytest.mark.usefixtures("one_torch_thread"),
]
BY_MODULES = ()
PROMPTS, BLOCK_TOKENS, MORE = (43, 3, 25, 1), 4, 3
COUNTED = [f"{family}-{number}" for number, (family, _) in enumerate(CASES)]


def make_model(family: str, changes: dict[str, Any]) -> Transformer:
    """A model of the family, every number of it drawn."""
    theirs = their_config(family, changes).to_dict()
    model = Transformer(ModelConfig.from_hf({**theirs, "model_type": family})).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            tensor.normal_(0.0, 0.05 if "correction_bias" in name else 0.2, generator=generator)
            factor = "norm" in name and name.endswith("weight") and not model.config.norm_plus_one
            if factor or name.endswith(("scale", "scalar")):
                tensor.add_(1.0)
    return model


def scores(runner: PassRunner, prompts: Sequence[int] = PROMPTS) -> Tensor:
    """After the first text was read in chunks, all in one pass, and some tokens of each in turn."""
    generator = torch.Generator().manual_seed(1)
    rows, texts, first = [], [], 0
    for number, length in enumerate(prompts):
        tokens = torch.randint(3, 90, (length + MORE,), generator=generator).tolist()
        rows.append(tokens)
        blocks = range(first, first + -(-(length + MORE) // BLOCK_TOKENS))
        text = known(number, tokens[:length], reversed(blocks))
        text.state = len(prompts) - 1 - number
        texts.append(text)
        first = blocks.stop
    found = []
    left = len(texts[0].tokens)
    while left > 7:
        found += runner.run([Work(texts[0], len(texts[0].tokens) - left, 7, 0)])
        left -= 7
    works = [Work(text, 0, len(text.tokens), 0) for text in texts[1:]]
    found += runner.run([Work(texts[0], len(texts[0].tokens) - left, left, 0), *works])
    for _ in range(MORE):
        for text, row in zip(texts, rows, strict=True):
            text.tokens.append(row[len(text.tokens)])
        found += runner.run([Work(text, len(text.tokens) - 1, 1, 0) for text in texts])
    return torch.from_numpy(np.concatenate([rows for rows in found if rows is not None]))


def gap(model: Transformer, prompts: Sequence[int] = PROMPTS) -> float:
    """The largest difference of scores, as a share of their spread."""
    blocks = sum(-(-(length + MORE) // BLOCK_TOKENS) for length in prompts)
    expected = scores(Runner(model, KVStore(model.config, blocks, BLOCK_TOKENS, slots=len(prompts))), prompts)
    store = NativeStore(model.config, blocks, BLOCK_TOKENS, "float32", slots=len(prompts))
    found = scores(NativeRunner(pack_model(model), store), prompts)
    assert expected.shape == found.shape == (len(prompts) * (MORE + 1), model.config.vocab_size)
    return ((found - expected).abs().max() / expected.std()).item()


@pytest.mark.parametrize(("family", "changes"), CASES, ids=COUNTED)
def test_the_kernels_score_what_the_modules_score(family: str, changes: dict[str, Any]) -> None:
    model = make_model(family, changes)
    assert runs_natively("float32", "cpu")
    assert gap(model) < 1e-4


@pytest.mark.parametrize(("family", "changes"), [("qwen2", DYNAMIC), ("phi3", LONG)])
def test_rotations_that_depend_on_the_length_are_each_text_s_own(
    family: str, changes: dict[str, Any]
) -> None:
    model = make_model(family, changes)
    original = int((model.config.rope_scaling or {})["original_max_position_embeddings"])
    assert gap(model, (original + 9, 3, original - 1)) < 1e-4
