"""The engine beside transformers: the same greedy text and the same scores, whatever goes on around it."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.counts import Counts
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.parts import runs_natively
from llmkit.engine.request import Request
from llmkit.engine.text import GIVEN_TOKENS
from llmkit.kernels.library import available

from .family_models import CASES, DYNAMIC, GEMMA4_SMALL, Pair, make_pair

pytestmark = pytest.mark.usefixtures("one_torch_thread")
FAMILIES = {
    **{"llama": 0, "gpt2": CASES.index(("gpt2", {}))},
    **{
        name: next(number for number, (family, _) in enumerate(CASES) if family == name)
        for name in (
            "mixtral",
            "qwen3",
            "gemma2",
            "gemma3_text",
            "gemma4_text",
            "deepseek_v3",
            "gpt_oss",
            "llama4_text",
        )
    },
    "gemma4_text, shared": CASES.index(("gemma4_text", GEMMA4_SMALL)),
    "llama, dynamic": CASES.index(("llama", DYNAMIC)),
    "phi3, longrope": next(n for n, (family, changes) in enumerate(CASES) if "longrope" in str(changes)),
}
NEW = 17
"""Tokens behind each prompt: more than a block has."""
TEXTS = 12


@dataclass(frozen=True)
class Case:
    """A model opened by both, prompts, and what is written after each: the first test holds it true."""

    pair: Pair
    prompts: list[list[int]]
    written: list[list[int]]

    @property
    def depends_on_length(self) -> bool:
        """Whether a text that has grown turns its first positions otherwise."""
        scaling = self.pair.ours.config.rope_scaling
        return scaling is not None and scaling["rope_type"] in ("dynamic", "longrope")


@pytest.fixture(scope="module", params=FAMILIES.values(), ids=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    family, changes = CASES[request.param]
    pair = make_pair(family, changes, tmp_path_factory.mktemp(family))
    # transformers goes on beyond the context that it calls the original one of dynamic scaling
    pair.ours.config = replace(pair.ours.config, max_position_embeddings=256)
    unknown = Case(pair, ragged(pair.ours.config.vocab_size), [])
    texts, _ = _ours(unknown, reuse=False, max_texts=TEXTS)
    return replace(unknown, written=texts)


def ragged(vocab_size: int) -> list[list[int]]:
    """Prompts of 1 to 60 tokens; each second one begins as those before it do."""
    random = torch.Generator().manual_seed(7)
    common = torch.randint(3, vocab_size, (60,), generator=random).tolist()
    lengths = [1, 60, *torch.randint(2, 60, (TEXTS - 2,), generator=random).tolist()]
    return [
        common[:length] if number % 2 else torch.randint(3, vocab_size, (length,), generator=random).tolist()
        for number, length in enumerate(lengths)
    ]


def _forget_the_longest(pair: Pair) -> None:
    """Of dynamic scaling transformers remembers the longest text, up to the next short one."""
    pair.theirs(torch.tensor([[3]]))


@torch.no_grad()
def _their_scores(pair: Pair, prompt: list[int]) -> list[float]:
    """The log probability of each token but the first, from one pass over all of them."""
    _forget_the_longest(pair)
    logprobs = pair.theirs(torch.tensor([prompt])).logits[0, :-1].float().log_softmax(-1)
    return [float(row[one]) for row, one in zip(logprobs, prompt[1:], strict=True)]


@torch.no_grad()
def _theirs(pair: Pair, prompt: list[int]) -> list[int]:
    _forget_the_longest(pair)
    written = pair.theirs.generate(  # type: ignore[operator]
        torch.tensor([prompt]), max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0
    )
    text: list[int] = written[0, len(prompt) :].tolist()
    return text


def _ours(
    case: Case, texts: range = range(TEXTS), *, lookup: bool = False, **sizes: Any
) -> tuple[list[list[int]], Counts]:
    """What the engine writes after some of the prompts, all asked for at once, and its counts."""
    proposer = PromptLookup(shortest=1) if lookup else None
    engine = Engine(case.pair.ours, EngineConfig(**{"positions": 3200, **sizes}), proposer=proposer)
    greedy = SamplingConfig(temperature=0.0, max_tokens=NEW, ignore_eos=True)
    numbers = [engine.submit(Request(tuple(case.prompts[text]), greedy)) for text in texts]
    found: dict[int, list[int]] = {number: [] for number in numbers}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None, event.error
            found[event.number].append(event.drawn.id)
        engine.pool.check()
    assert engine.pool.num_free == engine.pool.num_blocks
    return [found[number] for number in numbers], engine.counts


@torch.no_grad()
def test_a_ragged_batch_writes_what_transformers_writes_after_each_prompt_alone(case: Case) -> None:
    for number, (prompt, text) in enumerate(zip(case.prompts, case.written, strict=True)):
        if number < 3 or case.depends_on_length:
            assert text == _theirs(case.pair, prompt)
        else:  # one pass over the text tells what each step of theirs would take
            ids = torch.tensor([prompt + text])
            assert text == case.pair.theirs(ids).logits[0, len(prompt) - 1 : -1].argmax(-1).tolist()


def test_what_texts_have_in_common_is_computed_once_and_the_texts_are_the_same(case: Case) -> None:
    texts, counts = _ours(case, max_texts=TEXTS)
    assert texts == case.written
    assert (counts.cached_tokens > 0) != case.depends_on_length


def test_a_text_alone_is_the_same(case: Case) -> None:
    greedy = SamplingConfig(temperature=0.0, max_tokens=NEW, ignore_eos=True)
    for number in (0, 1, 2):
        drawn = Engine(case.pair.ours).run(Request(tuple(case.prompts[number]), greedy))
        assert [one.id for one in drawn] == case.written[number]


@pytest.mark.parametrize(("pass_tokens", "max_texts"), [(1, 1), (7, 1), (7, 7), (64, 32)])
def test_a_pass_of_any_size_gives_the_same_text(case: Case, pass_tokens: int, max_texts: int) -> None:
    some = range(0, 7, 3 if max_texts == 1 else 1)
    texts, counts = _ours(case, some, pass_tokens=pass_tokens, max_texts=max_texts)
    assert texts == case.written[some.start : some.stop : some.step]
    computed = sum(len(case.prompts[text]) + NEW - 1 for text in some) - counts.cached_tokens
    assert counts.computed_tokens >= computed
    assert counts.passes >= -(-computed // max(pass_tokens, max_texts))


@pytest.mark.parametrize("reuse", [True, False])
def test_texts_that_lose_their_memory_and_start_again_are_the_same(case: Case, reuse: bool) -> None:
    texts, counts = _ours(case, positions=160, block_tokens=4, max_texts=TEXTS, reuse=reuse)
    assert texts == case.written
    scaling = case.pair.ours.config.rope_scaling or {"rope_type": ""}
    assert (counts.restarts > 0) == (scaling["rope_type"] != "dynamic")  # which takes its memory whole


@pytest.mark.parametrize("positions", [3200, 160])
def test_guesses_ahead_leave_the_text_as_it_is(case: Case, positions: int) -> None:
    texts, counts = _ours(
        case, range(8), lookup=True, positions=positions, block_tokens=4, max_texts=8, pass_tokens=40
    )
    assert texts == case.written[:8]
    assert counts.proposed_drafts >= counts.accepted_drafts > 0
    assert counts.drawn_tokens == 8 * NEW


@pytest.mark.parametrize("kernels", ["torch", "native"])
@pytest.mark.parametrize(
    "sizes",
    [{"positions": 3200}, {"positions": 3200, "pass_tokens": 7, "max_texts": 7}, {"positions": 256}],
    ids=["at once", "in parts", "with little memory"],
)
def test_a_prompt_that_is_scored_has_the_scores_of_one_pass_of_transformers_over_all_of_it(
    case: Case, sizes: dict[str, int], kernels: str
) -> None:
    config = case.pair.ours.config
    if kernels == "native" and not (available() and runs_natively("float32", "cpu")):
        pytest.skip("the kernels do not run this model")
    model = pack_model(case.pair.ours) if kernels == "native" else case.pair.ours
    random = torch.Generator().manual_seed(5)
    original = min((config.rope_scaling or {}).get("original_max_position_embeddings", 80), 80)
    lengths = [2, original - 1, original, original + 1, original + 9, GIVEN_TOKENS + 60]
    prompts = [
        torch.randint(3, config.vocab_size, (length,), generator=random).tolist() for length in lengths
    ]
    engine = Engine(model, EngineConfig(**sizes))
    sampling = SamplingConfig(max_tokens=1, temperature=0.0)
    firsts = [1, 1, 1, 1, original, 1]  # of one text some tokens are only read
    found: dict[int, list[float]] = {
        engine.submit(Request(tuple(prompt), sampling, scores_prompt="only", scores_from=first)): []
        for prompt, first in zip(prompts, firsts, strict=True)
    }
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None and event.drawn.score is not None, event.error
            found[event.number].append(event.drawn.score.logprob)
    is_dynamic = (config.rope_scaling or {}).get("rope_type") == "dynamic"  # which takes its memory whole
    assert (engine.counts.restarts > 0) == (sizes["positions"] == 256 and not is_dynamic)
    for scores, prompt, first in zip(found.values(), prompts, firsts, strict=True):
        assert scores == pytest.approx(_their_scores(case.pair, prompt)[first - 1 :], abs=1e-4)


def test_what_follows_a_prompt_is_the_same_where_its_tokens_are_scored_too(case: Case) -> None:
    engine = Engine(case.pair.ours, EngineConfig(positions=3200))
    greedy = SamplingConfig(temperature=0.0, max_tokens=NEW, ignore_eos=True)
    numbers = [engine.submit(Request(tuple(prompt), greedy, scores_prompt="too")) for prompt in case.prompts]
    found: dict[int, list[int]] = {number: [] for number in numbers}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None, event.error
            found[event.number] += [] if event.drawn.given else [event.drawn.id]
    assert list(found.values()) == case.written
