"""A model in parts, joined: what is summed, what is gathered."""

import threading
from collections.abc import Callable
from pathlib import Path

import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.cuda.plan import PagePlan
from llmkit.engine.cuda.runner import CudaRunner
from llmkit.engine.parallel.ranks import PartHead, ranks_of
from llmkit.engine.runner import Runner
from llmkit.engine.scheduler import Work
from llmkit.engine.store import KVStore
from llmkit.model.load import load_model
from tests.engine.parallel.threads import load_parts
from tests.written_texts import known

Save = Callable[[str], Path]
ASKED = SamplingConfig(max_tokens=1)


def works() -> list[Work]:
    """A prompt, and one token of another text."""
    texts = known(0, [7, 3, 19, 30, 2], [0, 2]), known(1, [5], [1])
    return [Work(text, 0, len(text.tokens), 0) for text in texts]


def test_a_pass_over_pages_sums_twice_a_layer_and_gathers_the_scores_of_the_whole(save_family: Save) -> None:
    folder = save_family("llama, one key head, tied, an odd vocabulary")
    whole = load_model(folder)
    expected = Runner(whole, KVStore(whole.config, 4, 4)).run(works())
    models, meeting = load_parts(folder, 2)
    runners = [
        CudaRunner(model, KVStore(model.config, 4, 4), PagePlan("gathered"), max_texts=2) for model in models
    ]
    other = threading.Thread(target=lambda: runners[1].run(works()))
    other.start()
    found = runners[0].run(works())
    other.join()
    for ours, theirs in zip(found, expected, strict=True):
        assert ours is not None and theirs is not None
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert meeting.sums == 2 * whole.config.num_hidden_layers


def test_a_process_has_a_share_of_the_heads_rows_and_no_copy_of_a_tied_one(save_family: Save) -> None:
    folder = save_family("llama, one key head, tied, an odd vocabulary")
    whole = load_model(folder)
    models, _ = load_parts(folder, 2)
    heads = [model.lm_head for model in models]
    assert [len(head.weight) for head in heads] == [20, 21]
    assert torch.equal(torch.cat([head.weight for head in heads]), whole.lm_head.weight)
    embedding = models[1].model.embed_tokens.weight
    assert heads[1].weight.data_ptr() == embedding[20:].data_ptr()
    other = load_parts(save_family("llama"), 2)[0][0].lm_head.weight
    assert other.untyped_storage().nbytes() == other.nbytes == 20 * 16 * 4
    assert isinstance(heads[0], PartHead) and ranks_of(models[0]) is heads[0].ranks
    assert ranks_of(whole) is None
