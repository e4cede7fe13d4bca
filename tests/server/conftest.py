"""A served model for tests: tiny, random, with a byte-level tokenizer, its engine in a thread."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from starlette.applications import Starlette

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.model.config import ModelConfig
from llmkit.model.relevance import Relevance
from llmkit.model.transformer import Transformer
from llmkit.server.adapters import Reader, ServedAdapters
from llmkit.server.app import build_app
from llmkit.server.engine_thread import EngineThread
from llmkit.server.gate import Gate, OpenGate
from llmkit.server.handlers import State
from llmkit.server.metrics import Metrics
from llmkit.server.models import Models
from llmkit.server.prompts import PromptPool
from llmkit.server.served import Served
from llmkit.server.wire.sampling import WireLimits
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer

FIELDS: dict[str, Any] = {
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256},
}
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
JUDGING = Relevance(70, 71, system="Judge.")


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer of every byte and a few words, with ChatML's marks."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|end|>", "<|im_start|>", "<|im_end|>"]
    gap = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=sorted(alphabet), special_tokens=special, show_progress=False
    )
    backend.train_from_iterator(["the quick brown fox jumps over the lazy dog " * 4], trainer)
    backend.add_special_tokens(gap)
    folder = tmp_path_factory.mktemp("tokenizer")
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|end|>"}')
    (folder / "chat_template.jinja").write_text(CHATML)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Transformer:
    """Random weights, the same in every run; its vocabulary is the tokenizer's."""
    torch.set_num_threads(1)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, **FIELDS)
    made = Transformer(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
            if parameter.dim() == 1 and name.endswith("weight"):
                parameter.add_(1.0)
    return made


@asynccontextmanager
async def served_app(
    model: Transformer,
    folder: Path,
    *,
    gate: Gate | None = None,
    engine: EngineConfig | None = None,
    stop_ids: Sequence[int] = (),
    read: Reader | None = None,
    behind_router: bool = False,
    **settings: Any,
) -> AsyncIterator[tuple[Starlette, EngineThread]]:
    """An application that serves a model as `tiny`, which judges too, and its engine's thread.

    Args:
        model: random weights do.
        folder: of its tokenizer.
        gate: None lets everybody in.
        engine: sizes.
        stop_ids: ids that end a text.
        read: reads adapters that are loaded live.
        behind_router: whether it is a worker.
        settings: more of what `Served` takes.
    """
    tokenizer = load_tokenizer(folder)
    writer = Engine(model, engine or EngineConfig(positions=2048), stop_ids=stop_ids)
    thread = EngineThread(writer, tokenizer)
    thread.start()
    prompts = PromptPool(folder, workers=1)
    if read is not None:
        settings["adapters"] = ServedAdapters(thread=thread, read=read)
    settings.setdefault("relevance", JUDGING)
    served = Served(
        "tiny",
        fingerprint="fp_test",
        config=model.config,
        tokenizer=tokenizer,
        thread=thread,
        prompts=prompts,
        base=SamplingConfig(temperature=1.0),
        context=model.config.max_position_embeddings,
        **settings,
    )
    models = Models([served])
    metrics = Metrics(models.loads, models.versions)
    try:
        state = State(models, gate or OpenGate(), WireLimits(), metrics, behind_router=behind_router)
        yield build_app(state), thread
    finally:
        await prompts.close()
        await thread.stop()


Serving = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def serving(model: Transformer, tokenizer_folder: Path) -> Serving:
    """A client of an application in this process: `async with serving() as client`."""

    @asynccontextmanager
    async def open_client(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with served_app(model, tokenizer_folder, **settings) as (app, thread):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                client.app = app  # type: ignore[attr-defined]
                client.thread = thread  # type: ignore[attr-defined]
                yield client

    return open_client
