"""The flags of serve: what each does is tested with the command; here, that none is left over."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

import pytest

from llmkit.commands.serve import flags as serve_flags
from llmkit.commands.serve.serve import serve
from llmkit.engine.config import GenerateConfig
from llmkit.server.config import ServeConfig
from llmkit.server.router.config import RouterConfig

OWN = serve_flags.__name__


def test_every_flag_is_one_of_the_command() -> None:
    used = list(get_type_hints(serve, include_extras=True).values())
    groups = [one for one in vars(serve_flags).values() if isinstance(one, type) and one.__module__ == OWN]
    assert [group for group in groups if group not in used] == [] and len(groups) == 5
    flags = {name: one for name, one in vars(serve_flags).items() if get_origin(one) is Annotated}
    used += [one.type for group in groups for one in fields(group)]
    assert [name for name, flag in flags.items() if flag not in used] == [] and len(used) > 40


def test_what_is_said_about_the_queue_and_the_engine_reaches_them(
    monkeypatch: pytest.MonkeyPatch, llmkit_run: Callable[..., Any], tmp_path: Path
) -> None:
    seen: list[Any] = []

    def open_job(path: Path, tokenizer: Path | None, engine: GenerateConfig) -> None:
        seen.append(engine)

    def start(job: None, config: ServeConfig, **more: Any) -> None:
        seen.append(config)

    monkeypatch.setattr("llmkit.workflows.serve.serve.open_serve_job", open_job)
    monkeypatch.setattr("llmkit.workflows.serve.serve.serve", start)
    flags = [
        "--queue-tokens",
        "5k",
        "--queue-requests",
        "7",
        "--long-places",
        "2",
        "--long-prompt-tokens",
        "99",
    ]
    flags += ["--tls-cert", "c.pem", "--tls-key", "k.pem", "--cors", "https://a", "--drain-seconds", "3m"]
    flags += ["--draft", "lookup", "--draft-tokens", "5", "--cache-offload", "1MiB", "--batch", "3"]
    flags += ["--tp", "2", "--reasoning-format", "none"]
    flags += ["--response-bytes", "16MiB", "--response-seconds", "2h"]
    assert llmkit_run("serve", tmp_path, *flags).status == 0
    engine, config = seen
    assert (config.queue_tokens, config.queue_requests) == (5000, 7)
    assert (config.long_places, config.long_prompt_tokens, config.drain_seconds) == (2, 99, 180.0)
    assert (config.tls_certificate, config.tls_key) == (Path("c.pem"), Path("k.pem"))
    assert config.cors == ("https://a",)
    assert (config.response_bytes, config.response_seconds) == (16 << 20, 7200.0)
    assert config.reasoning_format == "none"
    assert engine.tp == 2
    assert (engine.draft, engine.draft_tokens, engine.cache_offload, engine.batch) == (
        "lookup",
        5,
        1 << 20,
        3,
    )


def test_what_is_said_about_workers_reaches_the_router(
    monkeypatch: pytest.MonkeyPatch, llmkit_run: Callable[..., Any]
) -> None:
    seen: list[RouterConfig] = []

    def start(job: Any, **more: Any) -> None:
        seen.append(job.router)

    monkeypatch.setattr("llmkit.workflows.serve.replicas.serve_replicas", start)
    flags = ["--worker", "http://a:1", "--worker-key", "key.txt", "--rollback-margin", "0.2"]
    assert llmkit_run("serve", *flags).status == 0
    (router,) = seen
    assert (router.workers, router.worker_key, router.rollback_margin) == (
        *(("http://a:1",), Path("key.txt"), 0.2),
    )


@pytest.mark.parametrize(
    ("flags", "listens_on"), [(("--host", "::1"), "::1"), (("--unix-socket", "llmkit.sock"), None)]
)
def test_where_it_listens_and_what_it_logs_are_said(
    flags: tuple[str, ...],
    listens_on: str | None,
    monkeypatch: pytest.MonkeyPatch,
    llmkit_run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    seen: list[ServeConfig] = []
    monkeypatch.setattr("llmkit.workflows.serve.serve.open_serve_job", lambda *job: None)
    monkeypatch.setattr("llmkit.workflows.serve.serve.serve", lambda job, config, **more: seen.append(config))
    assert llmkit_run("serve", tmp_path, *flags, "--log", tmp_path / "log", "--log-prompts").status == 0
    (config,) = seen
    assert (config.listens_on, config.log_prompts) == (listens_on, True)
    assert (config.unix_socket is not None) == ("--unix-socket" in flags)
