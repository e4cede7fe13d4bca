"""A workbench: small real artefacts, made by the commands themselves from the text that Python carries."""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import zstandard

BIN = Path(sys.executable).parent
LIBRARY = Path(sysconfig.get_path("stdlib"))
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "true"}
NOT_INHERITED = ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "CLICOLOR", "PY_COLORS", "COLUMNS")
REAL = {"PYTHONHASHSEED": "1"}  # for a line whose processes are to start with nothing loaded
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
STEPS = (
    "llmkit train-tokenizer corpus.txt --vocab-size 400 -o tok",
    "llmkit tokenize -t tok --jsonl docs.jsonl -o tokens.jsonl",
    "llmkit pack tokens.jsonl -t tok --seq-len 64 -o shards",
    "llmkit pretrain --data shards -t tok --preset tiny --hidden-size 32 --num-hidden-layers 2 --steps 5"
    " --batch-rows 4 -o run",
    "llmkit retrieve index docs.jsonl -o index",
    "llmkit eval ppl run valid.txt --per-record scored.jsonl --json > ppl.json",
)


@dataclass(frozen=True)
class Done:
    """A line that has run."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """stdout as text."""
        return self.out.decode()


@dataclass(frozen=True)
class Workbench:
    """A folder to run lines in."""

    folder: Path
    llmkit: Path = BIN
    """The folder of the `llmkit` that the lines call."""

    def run(self, line: str, *, timeout: float = 180, stdin: bytes | None = None, **environment: str) -> Done:
        """Run a line as a user of bash with pipefail would."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.folder,
            env=self.variables(**environment),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    def start(self, line: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a line in a process group of its own, as an interactive shell does."""
        return subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.folder,
            env=self.variables(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def variables(self, **environment: str) -> dict[str, str]:
        """The environment of a line."""
        kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        path = os.pathsep.join([str(self.llmkit), str(BIN), kept["PATH"]])
        return {**kept, **QUIET, "PATH": path, **environment}


def write_texts(folder: Path) -> None:
    """corpus.txt, valid.txt, the documents and the chats."""
    prose = sorted(topics.items())
    source = [
        LIBRARY / name for name in ("textwrap.py", "json/decoder.py", "bisect.py", "heapq.py", "string.py")
    ]
    (folder / "corpus.txt").write_text("\n".join(p.read_text() for p in source[:4]), encoding="utf-8")
    (folder / "valid.txt").write_text(source[4].read_text(), encoding="utf-8")
    rows = [{"id": name, "text": text[:1000], "source": "manual"} for name, text in prose[:30]]
    rows += [{"id": path.name, "text": path.read_text()[:4000], "source": "library"} for path in source]
    rows.append({"id": "world", "text": "Straße, 東京, 🌍, naïve café\n", "source": "library"})
    documents = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (folder / "docs.jsonl").write_bytes(documents)
    (folder / "docs.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(documents))
    chats = [
        [("system", "You are brief."), ("user", f"What is {name}?"), ("assistant", text.split("\n")[0])]
        for name, text in prose[:8]
    ]
    (folder / "chat.jsonl").write_text(
        "".join(
            json.dumps({"id": str(n), "messages": [{"role": r, "content": c} for r, c in chat]}) + "\n"
            for n, chat in enumerate(chats)
        )
    )
    (folder / "prompts.jsonl").write_text(
        "".join(
            json.dumps({"id": str(n), "prompt": f"def {name.lower()}("}) + "\n"
            for n, (name, _) in enumerate(prose[:4])
        )
    )
    questions = [{"prompt": f"def {name}(", "choices": ["self", "x"], "answer": 0} for name, _ in prose[:4]]
    (folder / "questions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    tasks = [{"prompt": f"def {name}(", "answer": 4} for name, _ in prose[:4]]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(one) + "\n" for one in tasks))
    pairs = [
        {"prompt": f"What is {name}?", "chosen": text.split("\n")[0], "rejected": "No."}
        for name, text in prose[:8]
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    asked = [{"query": f"the {name} statement", "relevant": [name]} for name, _ in prose[:8]]
    (folder / "asked.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked))
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    (folder / "prices.toml").write_text("h100 = 2.5\na100-80 = 1.5\n")
