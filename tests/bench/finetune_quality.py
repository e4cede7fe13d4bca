"""Does fine-tuning teach? A small model, real examples, figures on what it has not seen.

    python tests/bench/finetune_quality.py MODEL DATA [--out FOLDER] [--seed N] [--only CASE ...] [--flags F]

MODEL is a model folder with a chat template, DATA the folder that has sft/ and preference/; F goes to every
`llmkit finetune`: "--device cuda", say. One instruction in five is held out, of the preferences the same ones
as of the answers, so that no pair that is scored was seen as an answer; UltraFeedback has an evaluation file.
Every figure is of the last step: nothing is chosen by what it is measured on. Prints a table for README.md.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from llmkit.model.adapters.add_lora import attach_adapter
from llmkit.model.adapters.load import load_adapter
from llmkit.model.load import load_model
from llmkit.probe.evaluate.intervals import wilson
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.finetune.rollout import Writer
from llmkit.workflows.finetune.run import encode_prompt

Record = dict[str, Any]
ONE_IN = 5
"""How many instructions there are for each that is held out."""
ANSWERS, ANSWER_TOKENS = 50, 64
"""Held-out instructions that are answered, and where an answer is given up."""
PAIRS = ("--epochs", 2)
ULTRA = ("--max-tokens", 256, "--epochs", 2)
"""The first 256 tokens of prompt and answer; pairs whose prompt is longer are left out."""


@dataclass(frozen=True)
class Case:
    """A run of `llmkit finetune`."""

    name: str
    data: str
    valid: str
    method: str
    flags: tuple[Any, ...] = ()
    base: str = "sft-full"
    """The case whose model it starts from; empty: MODEL."""


CASES = (
    Case("sft-full", "answers", "answers-held", "sft", ("--epochs", 3), base=""),
    Case("sft-lora", "answers", "answers-held", "sft", ("--epochs", 3, "--lora"), base=""),
    Case("dpo-full", "pairs", "pairs-held", "dpo", PAIRS),
    Case("dpo-lora", "pairs", "pairs-held", "dpo", (*PAIRS, "--lora")),
    Case("flipped-dpo", "pairs-flipped", "pairs-held", "dpo", PAIRS),
    Case("flipped-robust", "pairs-flipped", "pairs-held", "robust", (*PAIRS, "--label-smoothing", 0.2)),
    Case("ultra-full", "ultra", "ultra-held", "dpo", ULTRA),
    Case("ultra-lora", "ultra", "ultra-held", "dpo", (*ULTRA, "--lora")),
    Case("ultra-flip20", "flip20", "ultra-held", "dpo", ULTRA),
)


def main() -> int:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, help="kept; default: a folder that is removed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="CASE")
    parser.add_argument("--flags", default="", help="for every run, in one word")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = given.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        prepare(given.data, out)
        print_heads()
        for case in CASES:
            if given.only is None or case.name in given.only:
                run(case, given.model, out, ["--seed", given.seed, *given.flags.split()])
        print_forms(given.model, out)
    return 0


def prepare(data: Path, out: Path) -> None:
    """The files that the cases read."""
    answers = list(records(data / "sft/instruction-1100.jsonl.zst"))
    pairs = list(records(data / "preference/instruction-preference-1100.jsonl.zst"))
    for name, found in (("answers", answers), ("pairs", pairs)):
        write(out / f"{name}.jsonl", (one for one in found if not is_held(one)))
        write(out / f"{name}-held.jsonl", (one for one in found if is_held(one)))
    flipped = [one for one in pairs if not is_held(one)]
    for one in flipped[::ONE_IN]:
        one["chosen"], one["rejected"] = one["rejected"], one["chosen"]
    write(out / "pairs-flipped.jsonl", flipped)
    for name, file in (("ultra", "1000"), ("flip20", "1000-flip20"), ("ultra-held", "eval-200")):
        write(out / f"{name}.jsonl", records(data / f"preference/ultrafeedback-{file}.jsonl.zst"))
    for name in ("pairs-held", "ultra-held"):
        found = [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]
        longer = sum(len(one["chosen"]) > len(one["rejected"]) for one in found) / len(found)
        print(f"{name}: of {len(found)} pairs {longer:.0%} have the longer answer chosen")


def is_held(record: Record) -> bool:
    """By what is asked, so that it is the same in both files."""
    asked = f"{record['instruction']}\n{record['input']}".encode()
    return hashlib.sha256(asked).digest()[0] % ONE_IN == 0


def run(case: Case, model: Path, out: Path, flags: list[Any]) -> None:
    """Fine-tune, and print a row."""
    base = out / case.base if case.base else model
    command = [sys.executable, "-m", "llmkit", "finetune", base, "--method", case.method, *case.flags]
    command += ["--data", out / f"{case.data}.jsonl", "--valid", out / f"{case.valid}.jsonl"]
    command += ["--eval-every", 1_000_000, "--keep", 1, "-o", out / case.name, "--json", "-q", *flags]
    started = time.monotonic()
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    seconds = time.monotonic() - started
    report = json.loads(done.stdout)
    lines = (out / case.name / "metrics.jsonl").read_text().splitlines()
    last = [one for one in map(json.loads, lines) if one.get("event") == "eval"][-1]
    accuracy, says = last.get("reward_accuracy"), ""
    if accuracy is not None:
        low, high = wilson(round(accuracy * last["units"]), last["units"])
        says = f"{accuracy:.3f} ({low:.3f} to {high:.3f})"
    cells = (
        case.name,
        f"{report['trained_parameters']:,}",
        report["steps"],
        f"{report['loss']:.3f}",
        f"{report['valid_loss_base']:.3f}",
        f"{last['valid_loss']:.3f}",
        says,
        f"{last['reward_margin']:.3f}" if says else "",
        f"{seconds:.0f} s",
    )
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_heads() -> None:
    """The head of the table."""
    print("| run | trained | steps | last loss | held out before | after | accuracy (95 %) | margin | time |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")


def print_forms(model: Path, out: Path) -> None:
    """How many greedy answers end as the template has it, and not where they are given up."""
    asked = [json.loads(line) for line in (out / "answers-held.jsonl").read_text().splitlines()][:ANSWERS]
    tokenizer = load_tokenizer(model)
    prompts = [encode_prompt(tokenizer, f"{one['instruction']}\n\n{one['input']}".strip()) for one in asked]
    for name, folder in (("base", model), ("sft-full", out / "sft-full"), ("sft-lora", out / "sft-lora")):
        if not folder.is_dir():
            continue
        is_adapter = (folder / "adapter_config.json").is_file()
        trained = load_model(model if is_adapter else folder)
        if is_adapter:
            attach_adapter(trained, load_adapter(folder, trained.config))
        writer = Writer(trained.eval(), tokenizer, ANSWER_TOKENS, temperature=0.0)
        answers = writer.write(prompts, [0] * len(prompts))
        ended = sum(len(one.ids) < ANSWER_TOKENS for one in answers)
        print(f"{name}: {ended} of {len(answers)} answers end by themselves; the first: {answers[0].text!r}")


def records(path: Path) -> Iterator[Record]:
    """The records of a .jsonl.zst."""
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file)
        for line in io.TextIOWrapper(reader, encoding="utf-8"):
            yield json.loads(line)


def write(path: Path, found: Iterable[Record]) -> None:
    """As JSON lines."""
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
