"""Models with layers of state by the native kernels, beside transformers: the same greedy text and scores,
whatever else is in a pass and however long prompts are cut."""

from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.request import Request
from llmkit.kernels.library import available
from llmkit.model.families.hybrid import HYBRID

from .family_models import CASES, make_pair

pytestmark = [
    pytest.mark.skipif(not available(), reason="no native library"),
    pytest.mark.usefixtures("one_torch_thread"),
]
NEW, LENGTHS = 17, (1, 3, 40, 17, 16, 26)


@pytest.mark.parametrize(
    ("family", "changes"),
    [case for case in CASES if case[0] in HYBRID],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_texts_at_once_are_those_of_transformers_one_by_one(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    pair = make_pair(family, changes, tmp_path)
    random = torch.Generator().manual_seed(7)
    prompts = [torch.randint(3, 90, (length,), generator=random).tolist() for length in LENGTHS]
    engine = Engine(pack_model(pair.ours), EngineConfig(positions=800, max_texts=4, pass_tokens=7))
    greedy = SamplingConfig(temperature=0.0, max_tokens=NEW, ignore_eos=True, logprobs=1)
    texts = {engine.submit(Request(tuple(prompt), greedy)): [*prompt] for prompt in prompts}
    scores: dict[int, list[float]] = {number: [] for number in texts}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None and event.drawn.score is not None, event.error
            texts[event.number].append(event.drawn.id)
            scores[event.number].append(event.drawn.score.logprob)
    for (number, text), prompt in zip(texts.items(), prompts, strict=True):
        with torch.no_grad():
            theirs = pair.theirs(torch.tensor([text])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        assert text[len(prompt) :] == theirs.argmax(-1).tolist()
        assert scores[number] == pytest.approx(theirs.max(-1).values.tolist(), abs=1e-4)
