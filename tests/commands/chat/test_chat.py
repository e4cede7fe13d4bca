"""llmkit chat on the command line: turns from a pipe, by hand on a terminal, its statuses and streams."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def model(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    folder = tiny_model(vocab_size=600, max_position_embeddings=128)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def talk(model: Path) -> list[object]:
    return ["chat", "-m", model, "--max-tokens", "6", "--stop", "\n"]


def test_each_line_of_a_pipe_is_a_turn_and_each_reply_a_line(llmkit_run: Run, talk: list[object]) -> None:
    done = llmkit_run(*talk, stdin=b"the License\n\n  \nthe Work\r\n/quit")
    assert (done.status, done.err) == (0, "")
    assert done.out.count(b"\n") == 3
    records = llmkit_run(*talk, "--json", stdin=b"the License\nthe Work\n/quit").text.splitlines()
    found = [json.loads(line) for line in records]
    assert [one["prompt"] for one in found] == ["the License", "the Work", "/quit"]  # no command from a pipe
    assert "".join(one["completion"] + "\n" for one in found) == done.text
    assert [one["turn"] for one in found] == [1, 2, 3] and found[0]["schema"] == "llmkit.chat/1"
    assert all(
        one["usage"]["total_tokens"] == one["usage"]["prompt_tokens"] + one["usage"]["completion_tokens"]
        for one in found
    )


def test_a_file_is_a_pipe_and_nothing_at_all_is_nothing(
    llmkit_run: Run, talk: list[object], tmp_path: Path
) -> None:
    file = tmp_path / "turns.txt"
    file.write_text("the License\nthe Work\n")
    named = llmkit_run(*talk, file)
    assert named.out == llmkit_run(*talk, stdin=file.read_bytes()).out
    assert named.out == llmkit_run(*talk, "-", stdin=file.read_bytes()).out
    empty = llmkit_run(*talk)
    assert (empty.status, empty.out, empty.err) == (0, b"", "")


def test_a_transcript_is_food_for_finetuning_and_is_resumed(
    llmkit_run: Run, talk: list[object], tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    keep = [*talk, "--transcript", path]
    first = llmkit_run(*keep, "--system", "Be brief.", stdin=b"the License\n")
    second = llmkit_run(*keep, "--resume", stdin=b"the Work\n")
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "the License"},
            {"role": "assistant", "content": first.text.removesuffix("\n")},
            {"role": "user", "content": "the Work"},
            {"role": "assistant", "content": second.text.removesuffix("\n")},
        ]
    }
    whole = llmkit_run(*talk, "--system", "Be brief.", stdin=b"the License\nthe Work\n")
    assert first.out + second.out == whole.out
    assert llmkit_run(*keep, stdin=b"a").status == 2  # exists


def test_a_full_context_is_said_on_stderr_and_quiet_is_quiet(llmkit_run: Run, talk: list[object]) -> None:
    turns = b"the License and the Work\n" * 5
    done = llmkit_run(*talk, "--context", "64", stdin=turns)
    assert done.status == 0 and "the context is full: 1 turn dropped, the oldest" in done.err
    assert llmkit_run(*talk, "--context", "64", "-q", stdin=turns).err == ""


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (["--seed", "1"], True), (["--temperature", "0.1"], True), (["--top-k", "1"], True),
        (["--top-p", "0.01"], True), (["--min-p", "1"], True), (["--typical-p", "0.01"], True),
        (["--top-n-sigma", "0.1"], True),
        (["--xtc-probability", "1", "--xtc-threshold", "0.0001"], True),
        (["--adaptive-target", "0.1"], True),
        (["--adaptive-target", "0.1", "--adaptive-decay", "0"], True),
        (["--mirostat", "1"], True), (["--mirostat", "2", "--mirostat-tau", "1"], True),
        (["--mirostat", "2", "--mirostat-tau", "2", "--mirostat-eta", "1"], True),
       
        (["--repetition-penalty", "50"], True), (["--presence-penalty", "100"], True),
        (["--frequency-penalty", "100"], True), (["--logit-bias", "70=100"], True), (["--greedy"], True),
        (["--max-tokens", "5"], True), (["--system", "x"], True), (["--dtype", "bfloat16"], True),
        (["--rope-scaling", "yarn:4"], True), (["--regex", "[0-9]{9}"], True), (["--choice", "a"], True),
        (["--grammar", 'start: "a"'], True), (["--stop-id", "71", "--logit-bias", "71=100"], True),
        (["--json-schema", '{"type": "null"}'], True), (["--json"], True), (["--context", "40"], True),
        (["--device", "cpu"], False), (["--threads", "1"], False), (["--unbuffered"], False),
    ],
)  # fmt: skip
def test_every_flag_that_bears_on_the_replies_changes_them_and_no_other_does(
    llmkit_run: Run, model: Path, flags: list[str], changes: bool
) -> None:
    line = ["chat", "-m", model, "--max-tokens", "16"]
    turns = b"the License the\nthe Work\n"
    plain, done = llmkit_run(*line, stdin=turns), llmkit_run(*line, *flags, stdin=turns)
    assert plain.status == done.status == 0, done.err
    assert (done.out != plain.out) == changes


@pytest.mark.parametrize(
    ("flags", "stdin", "status", "problem"),
    [
        (["--resume"], b"a", 2, "--resume does nothing"),
        (["--greedy", "--temperature", "1"], b"a", 2, "exclude each other"),
        (["--context", "1M"], b"a", 2, "a context of 128"),
        (["--logit-bias", "x"], b"a", 2, "not of the form ID=X"),
        (["nowhere"], b"", 4, "nowhere: no such file"),
        ([], b"a\ncaf\xe9\n", 3, "stdin:2: not UTF-8 (found byte 0xe9 at offset 3)"),
        ([], b"\xff\xfea\0\n\0", 3, "iconv -f utf-16 -t utf-8 FILE | llmkit chat"),
        ([], b"license " * 200, 2, "the message alone takes"),
    ],
)
def test_wrong_use_has_its_status_and_two_lines(
    llmkit_run: Run, talk: list[object], flags: list[str], stdin: bytes, status: int, problem: str
) -> None:
    done = llmkit_run(*talk, *flags, stdin=stdin)
    assert done.status == status and problem in done.err, done.err
    assert len(done.err.splitlines()) == 2


def test_what_was_said_before_an_error_is_in_the_transcript(
    llmkit_run: Run, talk: list[object], tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    assert llmkit_run(*talk, "--transcript", path, stdin=b"the License\n\xff\n").status == 3
    assert len(json.loads(path.read_text())["messages"]) == 2


def test_the_plan_is_a_table_or_json_and_nothing_is_written(
    llmkit_run: Run, talk: list[object], tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    plan = json.loads(llmkit_run(*talk, "-n", "--json", "--transcript", path).out)
    assert plan["schema"] == "llmkit.chat-plan/1" and plan["context"] == 128
    assert "context     128 tokens\n" in llmkit_run(*talk, "-n", "--transcript", path).text
    halved = json.loads(llmkit_run(*talk, "-n", "--json", "--kv-dtype", "bfloat16").out)
    assert halved["kv_bytes"] == plan["kv_bytes"] // 2
    assert not path.exists()


class Hand:
    """Somebody at a terminal."""

    def __init__(self, line: list[str], **streams: Any) -> None:
        self.ours, theirs = pty.openpty()
        self.seen = ""
        self.running = subprocess.Popen(
            line,
            stdin=theirs,
            stdout=streams.get("stdout", theirs),
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb"},
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def until(self, text: str) -> str:
        """What is shown up to `text`, since the last time."""
        deadline = time.monotonic() + 120
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.ours], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.ours, 4096).decode().replace("\r\n", "\n")
                except OSError:  # the other side is closed
                    assert text in self.seen, self.seen
        shown, _, self.seen = self.seen.partition(text)
        return shown

    def interrupt(self) -> None:
        os.killpg(self.running.pid, signal.SIGINT)

    def interrupt_at_prompt(self, text: str) -> None:
        """Ctrl-C, which shows `text`. Python loses one that comes between a prompt and the wait behind it:
        a person presses again."""
        for _ in range(20):
            self.interrupt()
            if select.select([self.ours], [], [], 3)[0]:
                break
        self.until(text)

    def ends(self) -> int:
        return self.running.wait(timeout=60)


@pytest.fixture
def hand(
    tiny_model: Callable[..., Path], byte_level_dir: Path, forked_llmkit: Path
) -> Iterator[Callable[..., Hand]]:
    folder = tiny_model("long", vocab_size=600, max_position_embeddings=100_000)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    hands: list[Hand] = []

    def start(*flags: str, template: str | None = None, **streams: Any) -> Hand:
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        hands.append(Hand([str(forked_llmkit / "llmkit"), "chat", "-m", str(folder), *flags], **streams))
        return hands[-1]

    yield start
    for one in hands:
        one.running.kill()
        one.running.wait()
        os.close(one.ours)


def test_by_hand_there_are_commands_and_a_meter(
    hand: Callable[..., Hand], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    one = hand("--choice", "yes", "--choice", "no", "--transcript", str(tmp_path / "t.jsonl"))
    one.until("[0 of 100,000] > ")
    one.type("the License?\n")
    first = one.until(" of 100,000] > ")
    assert "yes\n" in first or "no\n" in first
    file = tmp_path / "one.jsonl"
    for line, shows in (
        ("/help", "/regenerate"),
        ("/stats", "conversation  1 turn"),
        ("/regenerate", "["),
        ("/system Be brief.", "the system message is set"),
        (f"/save {file}", "written to"),
        (f"/save {file}", "already exists"),
        ("/reset", "a new conversation"),
        (f"/load {file}", "goes on with 3 messages"),
        ("/save ~/two.jsonl", f"written to {tmp_path}/two.jsonl"),
        ("/load ~/two.jsonl", "goes on with 3 messages"),
        ("/regenrate", "did you mean /regenerate?"),
        ("/load", "needs the name of a file"),
        ("//slash", "["),
    ):
        one.type(line + "\n")
        assert shows in one.until("] > ") + "[", line
    one.type("/quit\n")
    assert one.ends() == 0
    messages = json.loads((tmp_path / "t.jsonl").read_text().splitlines()[-1])["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[3]["content"] == "/slash"
    assert json.loads(file.read_text())["messages"] == messages[:3]


def test_by_hand_what_a_model_thinks_is_dim_and_nowhere_else_is_a_code(
    hand: Callable[..., Hand], tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    choice = ("--choice", "Seven?</think>Seven.", "--transcript", str(path))
    one = hand(*choice, "--color", "always", template="{{ messages[-1].content }}<think>\n")
    one.until("] > ")
    one.type("//three and four?\n")
    shown = one.until(" of 100,000")
    dim = "".join(part.partition("\x1b[0m")[0] for part in shown.split("\x1b[2m")[1:])
    plain = re.sub(r"\x1b\[2m.*?\x1b\[0m", "", shown)
    assert dim == "Seven?</think>" and "\nSeven.\n" in plain
    one.type("/quit\n")
    assert one.ends() == 0
    assert json.loads(path.read_text())["messages"][1]["content"] == "Seven?</think>Seven."
    two = hand(*choice, "--force", "--color", "never")
    two.until("] > ")
    two.type("and?\n")
    assert "\nSeven?</think>Seven.\n" in two.until(" of 100,000")


def test_by_hand_a_message_may_have_several_lines(hand: Callable[..., Hand], tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    one = hand("--choice", "yes", "--transcript", str(path))
    one.until("] > ")
    for line in ("/multi", "the License", "", "/stats is text here"):
        one.type(line + "\n")
        one.until("... ")
    one.type("/end\n")
    one.until("yes\n")
    one.until("] > ")
    said = "the License\n\n/stats is text here"
    assert json.loads(path.read_text())["messages"][0] == {"role": "user", "content": said}
    one.type("/multi\n")
    one.until("... ")
    one.interrupt_at_prompt("nothing is said\n")
    one.until("] > ")
    one.type("/multi two\n")
    one.until("stands alone in its line\n")
    one.until("] > ")
    one.type("/quit\n")
    assert one.ends() == 0
    assert len(json.loads(path.read_text())["messages"]) == 2


def test_ctrl_c_stops_a_reply_and_the_session_goes_on_and_ctrl_d_ends_it(
    hand: Callable[..., Hand], tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    one = hand("--max-tokens", "90000", "--logit-bias", "0=-1000", "--logit-bias", "2=-1000",
               "--transcript", str(path))  # fmt: skip
    one.until("] > ")
    one.type("the License\n")
    one.until("License\n")
    one.until(" ")  # it writes
    one.interrupt()
    one.until("stopped\n")
    one.until("] > ")
    assert len(json.loads(path.read_text())["messages"]) == 2
    one.interrupt_at_prompt("Ctrl-D or /quit ends\n")
    one.until("] > ")
    one.type("\x04")
    assert one.ends() == 0


def test_the_prompt_is_not_in_what_is_piped_on(hand: Callable[..., Hand]) -> None:
    read, write = os.pipe()
    one = hand("--choice", "yes", stdout=write)
    os.close(write)
    one.until("[0 of 100,000] > ")
    one.type("the License\n")
    one.until("] > ")
    one.type("/quit\n")
    assert one.ends() == 0
    with os.fdopen(read, "rb") as out:
        assert out.read() == b"yes\n"


def test_ctrl_c_in_a_pipe_ends_as_everywhere(
    tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path
) -> None:
    folder = tiny_model("long", vocab_size=600, max_position_embeddings=100_000)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    words = ["--max-tokens", "90000", "--unbuffered", "--logit-bias", "0=-1000", "--logit-bias", "2=-1000"]
    running = subprocess.Popen(
        [str(Path(sys.executable).parent / "llmkit"), "chat", "-m", str(folder), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert running.stdin is not None and running.stdout is not None
    running.stdin.write(b"the License\n")
    running.stdin.flush()
    running.stdout.read(10)  # the reply begins while the pipe is open
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, b"llmkit: interrupted\n") and out.endswith(b"\n")


def test_calls_go_on_in_chat_as_in_generate_and_stand_in_the_transcript(
    llmkit_run: Run, spelled_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llguidance")
    model = spelled_model(max_position_embeddings=1024)
    (tmp_path / "town.py").write_text(
        "from typing import Literal\ndef weather(town: Literal['Oslo']) -> dict: return {'degrees': 21}\n"
    )
    asked: list[tuple[str, dict[str, Any]]] = []

    def approve(name: str, arguments: dict[str, Any]) -> bool:
        asked.append((name, arguments))
        return len(asked) == 1

    monkeypatch.setattr("llmkit.commands.tool_flags.terminal_approval", lambda: approve)
    common = ["--tool", f"{tmp_path / 'town.py'}:weather", "--tool-choice", "weather", "--max-tokens", "150"]
    transcript = tmp_path / "talk.jsonl"
    done = llmkit_run(
        "chat", "-m", model, *common, "--json", "--transcript", transcript, stdin=b"Warm?\nStill?\n"
    )
    assert done.status == 0, done.err
    assert [json.loads(line)["calls"] for line in done.text.splitlines()] == [1, 1]
    assert asked == [("weather", {"town": "Oslo"})] * 2
    assert done.err.splitlines() == [
        'weather({"town": "Oslo"}) -> {"degrees": 21}',
        'weather({"town": "Oslo"}) -> {"error": "the user did not approve this call"}',
    ]
    record = json.loads(transcript.read_text())
    roles = [one["role"] for one in record["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant"] * 2
    replayed = llmkit_run(
        *("generate", "-m", model, "Warm?", "--replay", transcript, "--tool-choice", "weather", "--json"),
        *("--max-tokens", "150"),
    )
    assert replayed.status == 0 and len(asked) == 2, replayed.err
    assert json.loads(replayed.text)["messages"][2]["content"] == '{"degrees": 21}'

    monkeypatch.setattr("llmkit.commands.tool_flags.terminal_approval", lambda: None)
    for command in (["chat", "-m", model], ["generate", "-m", model, "Warm?"]):
        refused = llmkit_run(*command, *common, stdin=b"Warm?\n")
        assert refused.status == 2 and "no terminal to ask at" in refused.err
