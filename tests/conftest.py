"""Fixtures of the whole suite: the shared data, a command line in this process, and a real shell."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Finished:
    """A command line that has run: its exit status and what it wrote, as bytes and as text."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """stdout as text."""
        return self.out.decode()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return folder


@pytest.fixture
def llmkit_run(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Finished]:
    """Run `llmkit ARGS` in this process (no second import of torch); `stdin` is bytes piped in."""
    from llmkit.cli import run

    def call(*args: object, stdin: bytes = b"") -> Finished:
        read, write = os.pipe()
        writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=write)
        os.close(write)
        assert writer.stdin is not None
        with os.fdopen(read, "r", encoding="utf-8") as pipe:
            monkeypatch.setattr(sys, "stdin", pipe)
            capfdbinary.readouterr()
            feeder = threading.Thread(target=writer.communicate, args=(stdin,))
            feeder.start()
            status = run([str(arg) for arg in args])
            sys.stdout.flush()
            out, err = capfdbinary.readouterr()
        feeder.join()
        return Finished(status, out, err.decode())

    return call


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Finished]:
    """Run a bash line with pipefail in `cwd` (the test's own folder), `llmkit` on the PATH."""

    def call(
        line: str, *, cwd: Path = tmp_path, env: dict[str, str] | None = None, timeout: float = 120
    ) -> Finished:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=cwd,
            env={**os.environ, "PATH": path, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr.decode())

    return call


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def byte_level_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level tokenizer of the tokenizers library's own making: GPT-2's pattern, ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([(REPOSITORY / "LICENSE").read_text(encoding="utf-8")], trainer)
    folder = tmp_path_factory.mktemp("byte-level") / "tok"
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "chat_template": CHATML,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
