"""Fixtures of the whole suite: the shared data, a command line in this process, and a real shell."""

import fcntl
import functools
import gc
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: workers of a test run share the cores
if not Path("/dev/nvidiactl").exists():  # before Triton: without a GPU its interpreter runs the kernels
    os.environ.setdefault("TRITON_INTERPRET", "1")
# each client of HTTP reads all authorities' certificates, 70 ms; nobody changes what is made of them
ssl.create_default_context = functools.cache(ssl.create_default_context)
os.fsync = os.fstat  # no test loses power, and waiting for a disk took a third of the time of some
TINY: dict[str, Any] = {
    **{"vocab_size": 48, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32},
    "tie_word_embeddings": True,
}


def pytest_configure() -> None:
    """Hear Ctrl-C where a script's `&` ignores it: tests send it, and what they start would inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep garbage collection off what collecting makes: millions of objects, none of which ends."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(
            20_000, 20, 20
        )  # looking for cycles took a twelfth of small tests at Python's own 700
        gc.enable()


def pytest_runtest_setup() -> None:
    """One thread of the kernels, unless a test sets more: two that wait for each other spin, and where others
    hold the cores a small model took seven times the time."""
    library = sys.modules.get("llmkit.kernels.library")
    if library is not None and library.available():
        library.set_threads(1)


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


@pytest.fixture
def piped() -> Iterator[Callable[[bytes], Path]]:
    """Some bytes as the shell's `<(COMMAND)` gives them: a path that can be read only once."""
    receivers: list[int] = []

    def pipe(content: bytes) -> Path:
        receiver, sender = os.pipe()
        receivers.append(receiver)
        assert os.write(sender, content) == len(content)  # there is room for 64 KiB
        os.close(sender)
        return Path(f"/dev/fd/{receiver}")

    yield pipe
    for receiver in receivers:
        os.close(receiver)


@pytest.fixture(scope="session", autouse=True)
def a_quick_peak() -> None:
    """Each training run begins with the machine's top speed, 90 ms that no test looks at."""
    if "torch" in sys.modules:
        from llmkit.train import hardware

        hardware._MATRIX = 64


@pytest.fixture
def signalled_at(tmp_path: Path) -> Callable[[str, int], dict[str, str]]:
    """An environment in which a Python program gets a signal when it first looks a module up."""

    def environment(module: str, number: int) -> dict[str, str]:
        (tmp_path / "hook").mkdir(exist_ok=True)
        (tmp_path / "hook" / "sitecustomize.py").write_text(
            "import signal, sys\n"
            "class Finder:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name == {module!r}:\n"
            "            sys.meta_path.remove(self)\n"
            f"            signal.raise_signal({int(number)})\n"
            "sys.meta_path.insert(0, Finder())\n"
        )
        return {**os.environ, "PYTHONPATH": str(tmp_path / "hook")}

    return environment


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return folder


@pytest.fixture
def before_lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen between the opening of the next file that is to be locked, and its locking."""

    def arrange(act: Callable[[], object]) -> None:
        lock, todo = fcntl.flock, [act]

        def late(file: Any, kind: int) -> None:
            if todo:
                todo.pop()()
            lock(file, kind)

        monkeypatch.setattr(fcntl, "flock", late)

    return arrange


@pytest.fixture
def llmkit_run(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Finished]:
    """Run `llmkit ARGS` in this process (no second import of torch); `stdin` is bytes piped in."""
    from llmkit.cli import run

    def call(*args: object, stdin: bytes = b"") -> Finished:
        read, write = os.pipe()
        writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=write) if stdin else None
        os.close(write)
        with os.fdopen(read, "r", encoding="utf-8") as pipe:
            monkeypatch.setattr(sys, "stdin", pipe)
            capfdbinary.readouterr()
            feeder = threading.Thread(target=writer.communicate, args=(stdin,)) if writer else None
            if feeder is not None:
                feeder.start()
            status = run([str(arg) for arg in args])
            sys.stdout.flush()
            out, err = capfdbinary.readouterr()
        if feeder is not None:
            feeder.join()
        return Finished(status, out, err.decode())

    return call


@pytest.fixture(scope="session")
def forked_llmkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the PATH whose `llmkit` is a process of its own without an import of torch of its own."""
    from zygote import running_zygote

    with running_zygote(tmp_path_factory.mktemp("zygote")) as folder:
        yield folder


@pytest.fixture(scope="session")
def forked_python(forked_llmkit: Path) -> Path:
    """In the place of `sys.executable` for `-c` and `-m`: a process of its own, all of llmkit imported."""
    program = forked_llmkit.parent / "python"
    return program if program.exists() else Path(sys.executable)


@pytest.fixture
def shell(tmp_path: Path, forked_llmkit: Path) -> Callable[..., Finished]:
    """Run a bash line with pipefail in `cwd` (the test's own folder), `llmkit` on the PATH."""

    def call(
        line: str, *, cwd: Path = tmp_path, env: dict[str, str] | None = None, timeout: float = 120
    ) -> Finished:
        path = os.pathsep.join([str(forked_llmkit), str(Path(sys.executable).parent), os.environ["PATH"]])
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


@pytest.fixture(scope="session")
def marked_dir(byte_level_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`byte_level_dir` with StarCoder's tokens that mark a gap."""
    from tokenizers import Tokenizer

    folder = tmp_path_factory.mktemp("marked") / "tok"
    shutil.copytree(byte_level_dir, folder)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_special_tokens(["<fim_prefix>", "<fim_suffix>", "<fim_middle>"])
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def tiny_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a Llama-shaped model folder of a few kilobytes: `tiny_model("m", vocab_size=64)`."""
    import numpy as np
    from safetensors.numpy import save_file

    from llmkit.estimate.file_tensors import tensor_shapes
    from llmkit.model.config import ModelConfig

    def build(name: str = "model", **overrides: Any) -> Path:
        config = ModelConfig(**{**TINY, **overrides})
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config.to_hf()))
        random = np.random.default_rng(0)
        save_file(
            {key: random.normal(size=shape).astype("f4") for key, shape in tensor_shapes(config).items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        return folder

    return build


@pytest.fixture
def spelled_model(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Callable[..., Path]:
    """Write a `tiny_model` of 64 positions with the tokenizer of `byte_level_dir`, which puts no bos before a
    text."""

    def build(name: str = "spelled", **overrides: Any) -> Path:
        folder = tiny_model(name, **{"vocab_size": 600, "max_position_embeddings": 64, **overrides})
        for file in byte_level_dir.iterdir():
            shutil.copy(file, folder)
        return folder

    return build


@pytest.fixture
def tiny_adapter(tmp_path: Path) -> Callable[..., Path]:
    """Write a PEFT adapter for `tiny_model`: rank 2 on q_proj and v_proj of both layers."""
    import numpy as np
    from safetensors.numpy import save_file

    def build(name: str = "adapter", *, drop: str = "", width: int = 8, **overrides: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        config = {
            **{"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "model"},
            **{"r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "modules_to_save": None},
        }
        (folder / "adapter_config.json").write_text(json.dumps(config | overrides))
        tensors = {}
        for layer in range(2):
            for module, out in (("q_proj", 8), ("v_proj", 4)):
                prefix = f"base_model.model.model.layers.{layer}.self_attn.{module}"
                tensors[f"{prefix}.lora_A.weight"] = np.ones((2, width), "f4")
                tensors[f"{prefix}.lora_B.weight"] = np.zeros((out, 2), "f4")
        save_file(
            {key: one for key, one in tensors.items() if key != drop}, folder / "adapter_model.safetensors"
        )
        return folder

    return build


@pytest.fixture
def write_metrics(tmp_path: Path) -> Callable[..., Path]:
    """Write a metrics file of `steps` steps whose loss falls from 5 towards 2, with evals and a stop."""

    def build(
        path: Path | None = None, steps: int = 40, skip: tuple[int, ...] = (), stop: bool = True
    ) -> Path:
        path = path or tmp_path / "metrics.jsonl"
        lines: list[dict[str, Any]] = [{"event": "start", "step": 0, "time_seconds": 0.0}]
        for step in range(1, steps + 1):
            loss = 2 + 3 / step
            if step not in skip:
                lines.append(
                    {"time_seconds": step / 10, "step": step, "tokens": 64 * step, "loss": loss, "lr": 1e-3}
                    | {"grad_norm": 1.0, "tokens_per_second": 640.0 + step}
                )
            if step % 10 == 0:
                lines.append({"event": "eval", "step": step, "valid_loss": loss + 0.1, "bits_per_byte": loss})
        if stop:
            lines.append({"event": "stop", "step": steps, "reason": "done"})
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return build
