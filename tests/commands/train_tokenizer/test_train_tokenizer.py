"""The command line of train-tokenizer: what it reads, refuses and writes; each flag changes something."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer

LICENSE = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def in_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with some text."""
    (tmp_path / "text.txt").write_text(LICENSE + "grüße ½\n")
    (tmp_path / "valid.txt").write_text("the License grants rights\n" * 5)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def train(llmkit_run: Run) -> Run:
    """Run `llmkit train-tokenizer` on text.txt into `tok`, with more flags."""

    def call(*flags: Any, inputs: tuple[str, ...] = ("text.txt",), stdin: bytes = b"") -> Any:
        sized = [] if {"--vocab", "--vocab-size"} & set(flags) else ["--vocab-size", 400]
        return llmkit_run("train-tokenizer", *inputs, "-o", "tok", *sized, *flags, stdin=stdin)

    return call


def _made(train: Run, *flags: Any) -> Tokenizer:
    done = train("--force", "-q", *flags)
    assert done.status == 0, done.err
    return load_tokenizer(Path("tok"))


def test_a_folder_is_made_and_the_report_is_on_stdout(train: Run) -> None:
    done = train()
    assert (done.status, done.err) == (0, "")
    assert sorted(path.name for path in Path("tok").iterdir()) == [
        *("chat_template.jinja", "llmkit.json", "tokenizer.json", "tokenizer_config.json"),
    ]
    assert done.text.startswith("tokenizer    bpe, 400 ids (tok)\n")


def test_the_report_can_be_json(train: Run) -> None:
    report = json.loads(train("--json", "--valid", "valid.txt").out)
    assert report["schema"] == "llmkit.train-tokenizer/1"
    assert (report["type"], report["vocab_size"], report["documents"]) == ("bpe", 400, 1)
    assert [row["source"] for row in report["valid"]] == ["valid.txt"]


def test_each_flag_changes_the_tokenizer(train: Run) -> None:
    plain = _made(train)
    assert plain.vocab_size == 400
    assert _made(train, "--vocab", "0.5k").vocab_size == _made(train, "--vocab-size", "500").vocab_size == 500
    different = [
        ("--type", "unigram"),
        ("--pattern", "gpt2"),
        ("--pattern", "qwen2"),
        ("--normalize", "nfkc"),
        ("--special", "<|tool|>"),
        ("--no-chat",),
        ("--max-bytes", "5k"),
        ("--max-bytes", "5k", "--seed", "1"),
    ]
    digests = [_made(train, *flags).sha256 for flags in different]
    assert len({plain.sha256, *digests}) == len(different) + 1
    assert _made(train, "--pattern", "llama3").sha256 == plain.sha256
    assert _made(train, "--seed", "1").sha256 == plain.sha256  # nothing is chosen where all text is used


def test_special_tokens_are_named_or_left_out(train: Run) -> None:
    tokenizer = _made(train, "--bos", "<s>", "--eos", "</s>", "--pad", "none", "--special", "<|a|>")
    assert [tokenizer.token_text(one) for one in (tokenizer.bos_id, tokenizer.eos_id)] == ["<s>", "</s>"]
    assert tokenizer.pad_id is None
    assert tokenizer.id_of("<|a|>") == 3  # after <s> </s> <|im_start|>
    assert _made(train, "--no-chat").chat_template is None


def test_coverage_decides_which_characters_are_pieces(train: Run) -> None:
    assert _made(train, "--type", "unigram").id_of("½") is None
    assert _made(train, "--type", "unigram", "--character-coverage", "1").id_of("½") is not None


def test_another_field_holds_the_text(train: Run) -> None:
    Path("docs.jsonl").write_text(json.dumps({"body": LICENSE}) + "\n")
    assert train("--field", "body", inputs=("docs.jsonl",)).status == 0
    assert train("--force", inputs=("docs.jsonl",)).status == 3


def test_text_can_be_piped_in(train: Run) -> None:
    named = _made(train).sha256
    assert train("--force", inputs=(), stdin=Path("text.txt").read_bytes()).status == 0
    assert load_tokenizer(Path("tok")).sha256 == named


def test_the_gate_is_exit_1_and_the_tokenizer_is_there(train: Run) -> None:
    done = train("--min-bytes-per-token", "50")
    assert done.status == 1 and done.out.startswith(b"tokenizer")
    first, second = done.err.splitlines()
    assert first.startswith("llmkit: error: tok: ") and "bytes a token on the text trained on" in first
    assert second == "  hint: a larger vocabulary: --vocab-size 800"
    assert Path("tok/tokenizer.json").exists()
    held_out = train("--min-bytes-per-token", "50", "--valid", "valid.txt", "--force")
    assert held_out.status == 1 and "on the held-out text" in held_out.err
    assert train("--min-bytes-per-token", "1", "--force").status == 0


def test_a_vocabulary_that_the_text_cannot_give_is_said(train: Run) -> None:
    Path("text.txt").write_text("hello hello")
    done = train("--vocab-size", "5000")
    assert done.status == 0
    assert done.err == "264 of 5,000 ids: the text holds no more pieces that repeat\n"
    assert train("--vocab-size", "5000", "--force", "-q").err == ""


@pytest.mark.parametrize(
    ("flags", "status", "problem"),
    [
        (("--vocab-size", "200"), 2, "--vocab-size 200 is too small: 256 bytes and 4 special tokens are 260"),
        (("--type", "unigram", "--vocab-size", "265"), 2, "too small for a text with"),
        (("--type", "words"), 2, "--type"),
        (("--special", "word"), 2, "special token 'word': text like this would turn into it"),
        (("--character-coverage", "0.9"), 2, "--character-coverage does nothing with --type bpe"),
        (("--type", "unigram", "--character-coverage", "2"), 2, "is not a share"),
        (("--max-bytes", "0"), 2, "--max-bytes 0 is no text"),
        (("--max-bytes", "3G"), 2, "more than the 2147483647 that pairs are counted to"),
        (("--valid", "nowhere"), 4, "nowhere: no such file"),
        (("--field", "text", "--valid", "-", "-"), 2, "stdin can be read once"),
    ],
)
def test_what_is_wrong_is_two_lines_and_writes_nothing(
    train: Run, flags: tuple[str, ...], status: int, problem: str
) -> None:
    done = train(*flags)
    assert (done.status, done.out) == (status, b"")
    assert problem in done.err and len(done.err.splitlines()) == 2
    assert not Path("tok").exists()


def test_no_text_is_bad_data(train: Run) -> None:
    Path("text.txt").write_text("")
    done = train()
    assert done.status == 3 and "no text to train on" in done.err and not Path("tok").exists()


def test_bad_bytes_are_named_or_passed_over(train: Run) -> None:
    Path("text.txt").write_bytes(b"fine\nb\xe4d\nfine fine\n")
    done = train()
    assert done.status == 3 and "text.txt:2: not UTF-8 (found byte 0xe4)" in done.err
    done = train("--skip-bad", "--rejects", "rejects.jsonl")
    assert done.status == 0 and "1 line passed over" in done.text
    assert json.loads(Path("rejects.jsonl").read_text())["_line"] == "b\\xe4d"


def test_a_dry_run_plans_and_writes_nothing(train: Run) -> None:
    plan = json.loads(train("-n", "--json").out)
    assert plan["schema"] == "llmkit.train-tokenizer-plan/1"
    assert plan["input_bytes"] == Path("text.txt").stat().st_size
    assert train("-n").text.startswith("inputs     1 file")
    assert not Path("tok").exists()


def test_progress_is_lines_on_stderr_where_there_is_no_terminal(train: Run) -> None:
    done = train("--log-every", "0")
    lines = done.err.splitlines()
    assert lines and all(line.startswith("training ") for line in lines)
    assert "phase counting words" in lines[0]
    assert train("--log-every", "0", "-q", "--force").err == ""
