"""What --draft names, what is refused before a weight is read, and the engine that comes of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.request import Request
from llmkit.errors import DataError, LlmkitError, MissingError, UsageError
from llmkit.workflows.generate.draft import LOOKUP_TOKENS, MODEL_TOKENS, check_gain
from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import plan_generate
from llmkit.workflows.generate.job import Job, open_job
from llmkit.workflows.generate.model import place, start_engine
from tests.conftest import Finished

Tiny = Callable[..., Path]
Run = Callable[..., Finished]


def _job(folder: Path, **settings: Any) -> Job:
    return open_job(GenerateFiles(model=folder, jsonl=Path("-")), GenerateConfig(**settings))


def _refusal(folder: Path, **settings: Any) -> LlmkitError:
    with pytest.raises(LlmkitError) as caught:
        _job(folder, **settings)
    return caught.value


def test_guesses_come_from_nowhere_the_text_or_a_model(tiny_model: Tiny) -> None:
    folder, small = tiny_model("big"), tiny_model("small", num_hidden_layers=1)
    assert _job(folder).drafts is None
    lookup, asked = (_job(folder, draft="lookup", draft_tokens=n).drafts for n in (None, 3))
    assert lookup is not None and (lookup.tokens, lookup.path) == (LOOKUP_TOKENS, None)
    assert asked is not None and asked.tokens == 3
    model = _job(folder, draft=str(small)).drafts
    assert model is not None and (model.tokens, model.path) == (MODEL_TOKENS, small)
    assert model.model is not None and model.model.num_hidden_layers == 1


def test_what_cannot_guess_is_refused_before_a_weight_is_read(tiny_model: Tiny, tmp_path: Path) -> None:
    folder = tiny_model("big")
    assert isinstance(_refusal(folder, draft_tokens=3), UsageError)
    assert isinstance(_refusal(folder, draft=str(tmp_path / "none")), MissingError)
    other = _refusal(folder, draft=str(tiny_model("other", num_hidden_layers=1, vocab_size=40)))
    assert isinstance(other, DataError) and "a vocabulary of 40 tokens (found 48 in" in other.problem
    same = _refusal(folder, draft=str(folder))
    assert isinstance(same, UsageError) and "no gain is possible" in same.problem
    broken = tiny_model("broken", num_hidden_layers=1)
    (broken / "model.safetensors").write_bytes(b"")
    assert isinstance(_refusal(folder, draft=str(broken)), DataError)


def test_a_tokenizer_is_the_same_by_its_tokens_not_by_its_bytes(
    tiny_model: Tiny, byte_level_dir: Path
) -> None:
    big, small = tiny_model("big", vocab_size=600), tiny_model("small", vocab_size=608, num_hidden_layers=1)
    for folder in (big, small):
        shutil.copy(byte_level_dir / "tokenizer.json", folder)
        shutil.copy(byte_level_dir / "tokenizer_config.json", folder)
    content = json.loads((small / "tokenizer.json").read_text())
    (small / "tokenizer.json").write_text(json.dumps(content))  # other bytes, and a padded embedding
    assert _job(big, draft=str(small)).drafts is not None
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (small / "tokenizer.json").write_text(json.dumps(content))
    refusal = _refusal(big, draft=str(small))
    assert isinstance(refusal, DataError)
    assert "(token 'a' is" in refusal.problem and "guesses for" in refusal.hint


def test_one_prompt_for_which_no_guess_can_be_made_is_refused(tiny_model: Tiny) -> None:
    dynamic = {"type": "dynamic", "factor": 4.0}
    drafts = _job(tiny_model("plain"), draft="lookup").drafts
    assert drafts is not None
    stretched = _job(tiny_model("stretched"), rope_scaling=json.dumps(dynamic)).model
    original = 32
    check_gain(drafts, stretched, prompt_tokens=original - 1, max_tokens=9)
    check_gain(None, stretched, prompt_tokens=original, max_tokens=1)
    with pytest.raises(UsageError, match="no gain is possible: dynamic rope turns each token beyond 32"):
        check_gain(drafts, stretched, prompt_tokens=original, max_tokens=9)
    with pytest.raises(UsageError, match="a text of 2 tokens"):
        check_gain(drafts, stretched, prompt_tokens=3, max_tokens=2)
    small = tiny_model("small", num_hidden_layers=1, max_position_embeddings=8)
    by_model = _job(tiny_model("big"), draft=str(small))
    with pytest.raises(UsageError, match="a context of 8, and the prompt takes 8"):
        check_gain(by_model.drafts, by_model.model, prompt_tokens=8, max_tokens=9)


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_the_text_is_the_same_and_the_memory_that_of_both_models(tiny_model: Tiny, kernels: str) -> None:
    folder, small = tiny_model("big"), tiny_model("small", num_hidden_layers=1)
    asked = Request((1, 2, 1, 2), SamplingConfig(max_tokens=28, temperature=0.7, seed=3, ignore_eos=True))
    extent = Extent(rows=1, prompt_tokens=4, positions=31, texts=1)
    ids, places = {}, {}
    for draft in ("off", "lookup", str(small)):
        job = _job(folder, draft=draft, kernels=kernels)
        placement = places[draft] = place(job, extent)
        engine = start_engine(job, placement)
        ids[draft] = [token.id for token in engine.run(asked)]
        assert (engine.speculation() is None) == (draft == "off")
    assert ids["off"] == ids["lookup"] == ids[str(small)]
    assert places["lookup"].memory_bytes == places["off"].memory_bytes
    added = places[str(small)].memory_bytes - places["off"].memory_bytes
    cache = 2 * 1 * 1 * 4 * 32 * 4  # K and V, layers, heads, head_dim, positions in whole blocks, float32
    weights = (small / "model.safetensors").stat().st_size
    assert (
        added == places[str(small)].draft_bytes == pytest.approx(weights + cache, abs=2500)
    )  # but for headers


def test_the_plan_has_the_memory_of_the_model_that_guesses(tiny_model: Tiny, byte_level_dir: Path) -> None:
    big, small = tiny_model("big", vocab_size=600), tiny_model("small", vocab_size=600, num_hidden_layers=1)
    files = GenerateFiles(model=big, tokenizer=byte_level_dir, prompt="The")
    plain, guessing = (plan_generate(files, GenerateConfig(draft=draft)) for draft in ("off", str(small)))
    assert plain.draft_bytes == 0 < guessing.draft_bytes == guessing.memory_bytes - plain.memory_bytes


def test_flags_reach_the_engine_of_generate_and_chat(
    llmkit_run: Run, tiny_model: Tiny, byte_level_dir: Path
) -> None:
    big, small = tiny_model("big", vocab_size=600), tiny_model("small", vocab_size=600, num_hidden_layers=1)
    generate = ("generate", "-m", big, "-t", byte_level_dir, "The", "--max-tokens", 20)
    chat = ("chat", "-m", big, "-t", byte_level_dir, "--max-tokens", 8)
    plain, talk = llmkit_run(*generate), llmkit_run(*chat, stdin=b"Hi\n")
    assert plain.status == talk.status == 0 and plain.out
    for draft in ("lookup", small):
        flags = ("--draft", draft, "--draft-tokens", 2)
        assert llmkit_run(*generate, *flags).out == plain.out
        assert llmkit_run(*chat, *flags, stdin=b"Hi\n").out == talk.out
    for command in (generate, chat):
        refused = llmkit_run(*command, "--draft", big, stdin=b"Hi\n")
        assert refused.status == 2 and refused.out == b""
        problem, hint = refused.err.splitlines()
        assert "no gain is possible" in problem and hint == (
            "  hint: a model several times smaller, or --draft lookup"
        )
        plan = llmkit_run(*command, "--draft", small, "--dry-run", stdin=b"Hi\n")
        assert plan.status == 0 and "draft model" in plan.text
    explained = llmkit_run(*generate, "--draft", "lookup", "--explain-step")
    assert explained.status == 2 and "--explain-step and --draft exclude each other" in explained.err
