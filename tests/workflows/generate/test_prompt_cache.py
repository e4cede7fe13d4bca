"""--prompt-cache through the workflows: what a second run computes, what is refused, what an end leaves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.counts import Counts
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.errors import DataError
from llmkit.kernels.library import available
from llmkit.model.save import save_model
from llmkit.workflows.chat.chat import start_chat
from llmkit.workflows.chat.job import ChatFiles, open_chat
from llmkit.workflows.generate import model as generate_model
from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import generate_files
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate.model import BLOCK_TOKENS, place, start_engine
from llmkit.workflows.generate.prompt_cache import keeping, open_prompt_cache
from tests.model.recurrent.conftest import hybrid

STORY = "Once upon a time there was a little girl named Lily. She loved to play outside in the park. "


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Every engine that is started."""
    made: list[Engine] = []
    original = generate_model.start_engine

    def start(*args: Any) -> Engine:
        made.append(original(*args))
        return made[-1]

    monkeypatch.setattr(generate_model, "start_engine", start)
    return made


@pytest.fixture
def folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    folder = tiny_model(vocab_size=600, max_position_embeddings=256)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


def _run(model: Path, out: Path, cache: Path, prompt: str = STORY * 2, **options: Any) -> str:
    read_only = options.pop("read_only", False)
    files = GenerateFiles(
        model=model, prompt=prompt, out=out, force=True, prompt_cache=cache, prompt_cache_read_only=read_only
    )
    sampling = {"temperature": 0.0, "max_tokens": 20}
    generate_files(files, GenerateConfig(sampling=sampling, **options))
    return out.read_text()


def _counts(engine: Engine) -> Counts:
    return engine.counts


@pytest.mark.parametrize("options", [{}, {"kernels": "torch"}, {"weights": "int8"}])
def test_a_second_run_computes_only_the_last_block_of_a_long_prompt_and_its_text_is_the_same(
    options: dict[str, str], shared_data: Path, tmp_path: Path, engines: list[Engine]
) -> None:
    if options.get("weights") == "int8" and not available():
        pytest.skip("the native library is not built")
    model, cache = shared_data / "models" / "stories260K", tmp_path / "cache.safetensors"
    texts = [_run(model, tmp_path / "out", cache, **options) for _ in range(3)]
    assert len(set(texts)) == 1
    first, second, third = map(_counts, engines)
    prompt = first.computed_tokens - 19  # the last of 20 tokens is not read
    assert first.cached_tokens == 0 and prompt > 60
    assert second.cached_tokens == third.cached_tokens == (prompt - 1) // 16 * 16
    assert second.computed_tokens == prompt - second.cached_tokens + 19


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_a_model_with_states_goes_on_from_the_last_run_and_guesses(
    kernels: str, byte_level_dir: Path, tmp_path: Path, engines: list[Engine]
) -> None:
    for name, width in (("big", 48), ("small", 24)):
        shutil.copytree(byte_level_dir, tmp_path / name)
        save_model(hybrid("lfm2", vocab_size=600, intermediate_size=width), tmp_path / name)
    asked: dict[str, Any] = {"model": tmp_path / "big", "out": tmp_path / "out", "kernels": kernels}
    plain = _run(**asked, cache=tmp_path / "other")
    guessing = {"cache": tmp_path / "cache", "draft": str(tmp_path / "small")}
    assert [_run(**asked, **guessing) for _ in range(2)] == [plain] * 2
    _, first, second = map(_counts, engines)
    assert first.cached_tokens == 0 < second.cached_tokens
    assert first.proposed_drafts > 0 and second.proposed_drafts > 0


def test_only_reading_leaves_the_file_as_it_is(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    _run(folder, tmp_path / "out", cache)
    before = cache.read_bytes()
    _run(folder, tmp_path / "out", cache, STORY + "And then? " * 9, read_only=True)
    assert cache.read_bytes() == before
    _run(folder, tmp_path / "out", cache, STORY + "And then? " * 9)
    assert cache.read_bytes() != before


def test_another_model_or_dtype_is_refused_before_weights_are_read_and_the_file_stays(
    folder: Path, tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    _run(folder, tmp_path / "out", cache)
    before = cache.read_bytes()
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "model.safetensors").write_bytes(content)
    monkeypatch.setattr(generate_model, "start_engine", pytest.fail)
    for model, options, what in (
        (other, {}, "another model"),
        (folder, {"dtype": "bfloat16"}, r"another dtype \(found float32, this run has bfloat16"),
        (folder, {"rope_scaling": "yarn:2"}, "another rope scaling"),
    ):
        with pytest.raises(DataError, match=what):
            _run(model, tmp_path / "out", cache, **options)
    assert cache.read_bytes() == before


def test_what_is_no_prompt_cache_is_never_overwritten(folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "weights.safetensors"
    shutil.copy(folder / "model.safetensors", precious)
    before = precious.read_bytes()
    with pytest.raises(DataError, match="not a prompt cache"):
        _run(folder, tmp_path / "out", precious)
    assert precious.read_bytes() == before


@pytest.mark.parametrize(
    ("error", "is_kept"), [(KeyboardInterrupt, True), (BrokenPipeError, True), (DataError, False)]
)
def test_what_was_computed_is_kept_at_an_interrupt_and_where_the_reader_left_but_not_at_an_error(
    error: type[BaseException], is_kept: bool, folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    job = open_job(
        GenerateFiles(model=folder, prompt="", prompt_cache=cache), GenerateConfig(sampling={"seed": 1})
    )
    placement = place(job, Extent(rows=1, prompt_tokens=64, positions=100, texts=1))
    engine = start_engine(job, placement)
    raised = DataError("so", hint="what") if error is DataError else error()
    with pytest.raises(error), keeping(open_prompt_cache(job, placement), engine):
        for _ in engine.run(Request(tuple(range(64)), SamplingConfig(max_tokens=20, ignore_eos=True))):
            raise raised
    assert cache.exists() == is_kept
    with keeping(None, engine):
        pass


def test_a_conversation_that_is_taken_up_again_is_not_read_again(folder: Path, tmp_path: Path) -> None:
    config = GenerateConfig(sampling={"max_tokens": 30, "temperature": 0.0}, chat=True)
    files = ChatFiles(
        model=folder, transcript=tmp_path / "talk.jsonl", resume=True, prompt_cache=tmp_path / "cache"
    )
    replies, cached = [], []
    for text in ("the License and the Work", "and so on"):
        chat = start_chat(open_chat(files, config, None))
        with chat.keeping():
            replies.append("".join(chat.say(text)))
            chat.save()
        assert chat.last is not None
        cached.append((chat.last.prompt_tokens, chat.last.cached_tokens))
    assert cached[0][1] == 0
    assert cached[1][1] >= cached[0][0] // 16 * 16 > 0
    alone = start_chat(open_chat(ChatFiles(model=folder), config, None))
    assert ["".join(alone.say(text)) for text in ("the License and the Work", "and so on")] == replies
    with alone.keeping():
        pass


def test_the_flags_of_generate_and_chat_share_a_file_and_the_plan_refuses_what_the_run_would(
    folder: Path, tmp_path: Path, llmkit_run: Callable[..., Any], engines: list[Engine]
) -> None:
    cache = tmp_path / "cache"
    common = ("-m", folder, "--greedy", "--max-tokens", 4, "--prompt-cache", cache)
    question = "The License, the Work and the Licensor, all of them, and the Contributor too"
    first = llmkit_run("generate", "--chat", "-p", question, *common)
    assert first.status == 0 and cache.exists()
    before = cache.read_bytes()
    talk = llmkit_run("chat", *common, "--prompt-cache-read-only", stdin=question.encode() + b"\nMore\n")
    assert talk.status == 0 and cache.read_bytes() == before
    assert talk.out.startswith(first.out)
    assert engines[0].counts.cached_tokens == 0 and engines[1].counts.cached_tokens >= 32
    llmkit_run("chat", *common, stdin=question.encode() + b"\nMore\n")
    assert cache.stat().st_size > len(before)
    for command in (("generate", "-p", "x"), ("chat",)):
        plan = llmkit_run(*command, *common, "--dry-run", "--dtype", "bfloat16")
        assert plan.status == 3 and plan.err.count("\n") == 2 and "another dtype" in plan.err
        alone = llmkit_run(*command, *common[:-2], "--prompt-cache-read-only")
        assert alone.status == 2 and "does nothing without --prompt-cache" in alone.err
    explained = llmkit_run("generate", "-p", "x", *common, "--explain-step")
    assert explained.status == 2 and "--prompt-cache exclude each other" in explained.err


def test_host_memory_that_is_asked_for_is_the_engines_and_counts_as_memory(
    folder: Path, llmkit_run: Callable[..., Any], engines: list[Engine]
) -> None:
    common = ("generate", "-m", folder, "-p", "the Work", "--max-tokens", 4)
    llmkit_run(*common)
    llmkit_run(*common, "--cache-offload", "1MiB")
    assert engines[0].host is None
    assert engines[1].host is not None and 0.99 * 2**20 < engines[1].host.nbytes <= 2**20
    plans = [
        json.loads(llmkit_run(*common, "--dry-run", "--json", *more).out)["memory_bytes"]
        for more in ((), ("--cache-offload", "1MiB"))
    ]
    assert plans[1] - plans[0] == 2**20


def test_a_run_whose_texts_fill_no_block_says_that_there_was_nothing_to_write(
    folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    files = GenerateFiles(model=folder, prompt="a", out=tmp_path / "out", force=True, prompt_cache=cache)
    for tokens in (2, 2 * BLOCK_TOKENS):
        sampling = {"temperature": 0.0, "ignore_eos": True, "max_tokens": tokens}
        report = generate_files(files, GenerateConfig(sampling=sampling))
        told = [note for note in report.notes if "cache: not written" in note]
        assert (len(told), cache.exists()) == ((1, False) if tokens == 2 else (0, True))


def test_a_conversation_too_short_for_a_block_says_so(folder: Path, tmp_path: Path) -> None:
    files = ChatFiles(model=folder, prompt_cache=tmp_path / "cache")
    chat = start_chat(open_chat(files, GenerateConfig(), None))
    with chat.keeping():
        pass
    assert ["cache: not written" in note for note in chat.notes] == [True]
