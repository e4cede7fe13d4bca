"""llmkit generate on the command line: prompts in, streams out, exit statuses, closed pipes, Ctrl-C."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.kernels.library import available
from llmkit.tokens.load import load_tokenizer

Run = Callable[..., Any]


@pytest.fixture
def model(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    folder = tiny_model(vocab_size=600, max_position_embeddings=64)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def gen(model: Path) -> list[object]:
    return ["generate", "-m", model, "--max-tokens", "6", "--ignore-eos"]


def test_a_suffix_is_taken_by_a_model_with_marks_for_a_gap_and_refused_by_another(
    llmkit_run: Run, gen: list[object], model: Path, tmp_path: Path
) -> None:
    refused = llmkit_run(*gen, "f(", "--suffix", "):")
    assert (refused.status, refused.out) == (3, b"") and "no tokens that mark a gap" in refused.err
    marks = [part for one in ("prefix", "suffix", "middle") for part in ("--add-token", f"<fim_{one}>")]
    assert llmkit_run("convert", model, tmp_path / "gaps", *marks).status == 0
    told = ("generate", "-m", tmp_path / "gaps", "--max-tokens", 1, "--json", "f(")
    plain, gap = (json.loads(llmkit_run(*told, *more).out) for more in ((), ("--suffix", "):")))
    tokenizer = load_tokenizer(tmp_path / "gaps")
    counts = [len(tokenizer.encode(one)) for one in ("f(", "<fim_prefix>f(<fim_suffix>):<fim_middle>")]
    assert [one["usage"]["prompt_tokens"] for one in (plain, gap)] == counts


def test_stdout_is_the_text_and_one_line_feed_and_stderr_is_silent(
    llmkit_run: Run, gen: list[object]
) -> None:
    done = llmkit_run(*gen, "the License")
    record = json.loads(llmkit_run(*gen, "the License", "--json").out)
    assert (done.status, done.err) == (0, "")
    assert done.text == record["completion"] + "\n"


def test_every_way_to_give_a_prompt_is_the_same(llmkit_run: Run, gen: list[object], tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("the License\n")
    expected = llmkit_run(*gen, "the License").out
    assert expected
    for words, stdin in (
        (("-p", "the License"), b""), (("--prompt", "the License"), b""), (("--file", file), b""),
        ((), b"the License\n"), (("-",), b"the License"), (("-p", "-"), b"the License"),
        (("-f", "-"), b"the License\n"),
    ):  # fmt: skip
        assert llmkit_run(*gen, *words, stdin=stdin).out == expected


def test_rows_from_stdin_are_rows_from_a_file(llmkit_run: Run, gen: list[object], tmp_path: Path) -> None:
    rows = b'{"id": 1, "prompt": "a", "x": 1.50}\n{"prompt": "b", "max_tokens": 2}\n'
    file = tmp_path / "rows.jsonl"
    file.write_bytes(rows)
    done = llmkit_run(*gen, "--jsonl", file)
    assert done.out == llmkit_run(*gen, "--jsonl", "-", stdin=rows).out
    assert [json.loads(line)["usage"]["completion_tokens"] for line in done.out.splitlines()] == [6, 2]
    assert b'"x":1.50' in done.out


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (["--seed", "1"], True), (["--temperature", "0.1"], True), (["--top-k", "1"], True),
        (["--top-p", "0.01"], True), (["--min-p", "1"], True), (["--repetition-penalty", "50"], True),
        (["--typical-p", "0.01"], True),
        (["--top-n-sigma", "0.1"], True),
        (["--xtc-probability", "1", "--xtc-threshold", "0.0001"], True),
        (["--adaptive-target", "0.1"], True),
        (["--adaptive-target", "0.1", "--adaptive-decay", "0"], True),
        (["--mirostat", "1"], True), (["--mirostat", "2", "--mirostat-tau", "1"], True),
        (["--mirostat", "2", "--mirostat-tau", "2", "--mirostat-eta", "1"], True),
        (["--logit-bias", "70=100"], True), (["--regex", "[0-9]{9}"], True),
        (["--choice", "a", "--choice", "b"], True), (["--json-schema", '{"type": "null"}'], True),
        (["--grammar", "root ::= [0-9]{9}"], True),
        (["--explain-step"], True), (["--presence-penalty", "100"], True),
        (["--frequency-penalty", "100"], True),
        (["--greedy"], True), (["--max-tokens", "5"], True), (["--samples", "2"], True),
        (["--echo"], True), (["--chat"], True), (["--chat", "--system", "x"], True), (["--json"], True),
        (["--dtype", "bfloat16"], True), (["--stop", ";"], False), (["--device", "cpu"], False),
        (["--rope-scaling", "yarn:4"], True), (["--rope-scaling", "none"], False),
        (["--threads", "2"], False), (["--unbuffered"], False), (["--batch", "2"], False),
        (["--tp", "2"], False), (["--require", "(?s)."], False),
    ],
)  # fmt: skip
def test_every_flag_that_bears_on_the_text_changes_it_and_no_other_does(
    llmkit_run: Run, gen: list[object], flags: list[str], changes: bool
) -> None:
    plain = llmkit_run(*gen, "--max-tokens", "16", "the License the")
    done = llmkit_run(*gen, "--max-tokens", "16", "the License the", *flags)
    assert done.status == 0, done.err
    assert (done.out != plain.out) == changes


def test_what_dry_takes_off_the_next_token_of_a_repetition_is_what_its_flags_say(
    llmkit_run: Run, gen: list[object], model: Path
) -> None:
    tokenizer = load_tokenizer(model)
    said, between = tokenizer.encode(" Work: the Work"), tokenizer.encode(" and")
    after_colon = len(tokenizer.encode(" the Work"))
    assert len(said) > after_colon + 1 and after_colon >= 2

    def taken(*flags: str) -> float:
        asked = [*gen, " Work: the Work and Work: the Work", "--logit-bias", f"{between[0]}=100"]
        stages = json.loads(llmkit_run(*asked, "--explain-step", "--json", *flags).out)["stages"]
        scores = {
            stage["step"]: {one["id"]: one["score"] for one in stage["candidates"]}[between[0]]
            for stage in stages
        }
        return round(float(scores["bias"] - scores["dry"]), 3)

    on = ("--dry-multiplier", "2")
    assert taken(*on) == round(2 * 1.75 ** (after_colon - 2), 3)
    assert taken(*on, "--dry-base", "3") == round(2 * 3 ** (after_colon - 2), 3)
    assert taken(*on, "--dry-allowed-length", "1") == round(2 * 1.75 ** (after_colon - 1), 3)
    assert taken(*on, "--dry-sequence-breaker", "none") == round(2 * 1.75 ** (len(said) - 2), 3)
    assert taken(*on, "--dry-sequence-breaker", "Wo", "--dry-sequence-breaker", "ork") == 0
    assert taken(*on, "--dry-penalty-last-n", str(len(said) + 1)) == 0


def test_penalties_look_back_as_far_as_they_are_told(llmkit_run: Run, gen: list[object], model: Path) -> None:
    text = "the License and the Work"
    ids = load_tokenizer(model).encode(text)
    place = next(at for at, token in enumerate(ids) if ids.count(token) == 1)
    asked = [*gen, text, "--logit-bias", f"{ids[place]}=100", "--repetition-penalty", "2", "--explain-step"]

    def divided_by(*flags: object) -> float:
        stages = json.loads(llmkit_run(*asked, "--json", *flags).out)["stages"]
        bias, penalties = (
            next(one["score"] for one in stage["candidates"] if one["id"] == ids[place])
            for stage in stages
            if stage["step"] in ("bias", "penalties")
        )
        return round(float(bias / penalties), 3)

    back = len(ids) - place
    assert divided_by() == divided_by("--repeat-last-n", back) == divided_by("--repeat-last-n", -1) == 2
    assert divided_by("--repeat-last-n", back - 1) == 1


def test_an_int8_cache_takes_what_kv_estimate_says_and_moves_the_scores_a_little(
    llmkit_run: Run, gen: list[object]
) -> None:
    asked = [*gen, "the License", "--max-tokens", "4", "--json"]
    plan = json.loads(llmkit_run(*asked, "-n", "--kv-dtype", "int8").out)
    config = gen[gen.index("-m") + 1]
    estimate = ["kv-estimate", config, "--kv-dtype", "int8-token", "--json", "--context"]
    context = str((plan["prompt_tokens"] + 3 + 15) // 16 * 16)
    assert plan["kv_bytes"] == json.loads(llmkit_run(*estimate, context).out)["kv_bytes"]
    scored = [
        json.loads(llmkit_run(*asked, "--greedy", "--logprobs", "0", "--kv-dtype", name).out)["logprobs"]
        for name in ("auto", "float32", "int8")
    ]
    assert scored[0] == scored[1] != scored[2]


def test_unordered_rows_come_as_they_are_complete_and_batch_says_how_many_are_at_work(
    llmkit_run: Run, gen: list[object]
) -> None:
    # far apart: the first is at work while the others are still read
    rows = b"".join(b'{"id": %d, "prompt": "a", "max_tokens": %d}\n' % (n, 60 - 15 * n) for n in range(4))

    def ids(*flags: str) -> list[int]:
        done = llmkit_run(*gen, "--jsonl", "-", *flags, stdin=rows)
        return [json.loads(line)["id"] for line in done.out.splitlines()]

    assert ids() == ids("--batch", "2") == ids("--unordered", "--batch", "1") == [0, 1, 2, 3]
    assert ids("--unordered") == [3, 2, 1, 0]
    assert ids("--unordered", "--batch", "2") == [1, 0, 2, 3]
    plan = json.loads(llmkit_run(*gen, "a", "-n", "--json", "--samples", "50", "--batch", "40").out)
    assert plan["texts_at_once"] == 40
    assert llmkit_run(*gen, "a", "--unordered").status == 2


def test_greedy_is_temperature_0_and_a_stop_string_ends_the_text(llmkit_run: Run, gen: list[object]) -> None:
    greedy = llmkit_run(*gen, "--greedy", "the License").text
    assert llmkit_run(*gen, "--temperature", "0", "--seed", "9", "the License").text == greedy
    stop = greedy[2]
    assert (
        llmkit_run(*gen, "--greedy", "--stop", stop, "the License").text
        == greedy[: greedy.index(stop)] + "\n"
    )


def test_a_reply_begins_with_its_prefill_and_its_code_can_stand_alone(
    llmkit_run: Run, gen: list[object]
) -> None:
    chat = [*gen, "--chat", "the License", "--prefill", "So: ```\n"]
    whole, code = llmkit_run(*chat).text, llmkit_run(*chat, "-x").text
    assert whole.startswith("So: ```\n") and len(whole) > 9
    begun = [*gen, "--chat", "the License", "--prefill", "So:\n```py\n"]
    whole, code = llmkit_run(*begun).text, llmkit_run(*begun, "-x").text
    assert code and whole == f"So:\n```py\n{code}\n"
    record = json.loads(llmkit_run(*begun, "-x", "--json").text)
    assert (record["code"], record["completion"] + "\n") == (code, whole)
    none = llmkit_run(*gen, "the License", "-x")
    assert (none.status, none.out) == (1, b"") and "1 of 1 texts have no code block" in none.err


def test_figures_are_on_stderr_and_beside_records_in_json(llmkit_run: Run, gen: list[object]) -> None:
    plain = llmkit_run(*gen, "the License")
    table = llmkit_run(*gen, "the License", "--stats")
    assert table.out == plain.out and "decode       " in table.err
    rows = llmkit_run(*gen, "--jsonl", "-", "--stats", stdin=b'{"prompt": "a"}\n' * 2)
    told = json.loads(rows.err)
    assert (told["texts"], told["completion_tokens"]) == (2, 12) and told["speculation"] is None


def test_marks_need_colour(llmkit_run: Run, gen: list[object]) -> None:
    line = [*gen, "the License", "--mark-below", "1"]
    assert llmkit_run(*line).status == 2
    colored = llmkit_run(*line, "--color", "always").text
    assert "\x1b[33m" in colored
    bare = colored.replace("\x1b[33m", "").replace("\x1b[0m", "")
    assert bare == llmkit_run(*gen, "the License").text


def test_samplers_apply_in_the_order_given(llmkit_run: Run, gen: list[object]) -> None:
    line = [*gen, "a", "--explain-step", "--json", "--top-k", "5", "--samplers", "top-k,temperature"]
    assert [one["step"] for one in json.loads(llmkit_run(*line).out)["stages"]] == [
        *("model", "top_k", "temperature"),
    ]
    assert "samplers leave out top_p" in llmkit_run(*line, "--top-p", "0.5").err


def test_a_batch_file_of_openais_is_answered_in_kind(
    llmkit_run: Run, gen: list[object], model: Path, tmp_path: Path
) -> None:
    message = {"role": "user", "content": "the License"}
    call = {"method": "POST", "url": "/v1/chat/completions"}
    rows = [
        call | {"custom_id": "a", "body": {"model": model.name, "messages": [message], "n": 2}},
        call | {"custom_id": "b", "body": {"messages": [message], "stream": True}},
        {"prompt": "the License"},
        call
        | {"custom_id": "c", "url": "/v1/completions", "body": {"prompt": "the License", "max_tokens": 2}},
    ]
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = llmkit_run(*gen, "--jsonl", file, "-o", out, "--resume")
    assert done.status == 0 and "1 row refused" in done.err
    chat, refused, plain, text = map(json.loads, out.read_text().splitlines())
    assert [one["custom_id"] for one in (chat, refused, text)] == ["a", "b", "c"]
    body = chat["response"]["body"]
    assert [one["index"] for one in body["choices"]] == [0, 1] and body["object"] == "chat.completion"
    assert refused["response"]["status_code"] == 400 and "stream" in str(refused["response"]["body"])
    assert plain["usage"]["completion_tokens"] == 6
    assert text["response"]["body"]["usage"]["completion_tokens"] == 2
    unordered = llmkit_run(*gen, "--jsonl", file, "--unordered").text.splitlines()
    assert json.loads(unordered[0])["custom_id"] == "b" and len(unordered) == 4


def test_special_tokens_in_a_prompt_are_text_unless_allowed(llmkit_run: Run, gen: list[object]) -> None:
    def tokens(*flags: str) -> int:
        record = json.loads(llmkit_run(*gen, "--json", "a<|im_end|>", *flags).out)
        return int(record["usage"]["prompt_tokens"])

    assert tokens("--allow-special") == 2 < tokens()


def test_logprobs_come_with_json(llmkit_run: Run, gen: list[object]) -> None:
    record = json.loads(llmkit_run(*gen, "a", "--json", "--logprobs", "3").out)
    assert [len(one["top"]) for one in record["logprobs"]] == [3] * 6
    assert all(one["entropy_bits"] > 0 and one["rank"] >= 1 for one in record["logprobs"])


def test_a_text_is_held_to_a_schema_of_a_file_and_rows_have_rules_of_their_own(
    llmkit_run: Run, gen: list[object], tmp_path: Path
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "array", "items": {"enum": ["é", 1]}, "minItems": 1, "maxItems": 2}')
    held = [*gen, "--max-tokens", "40", "--json-schema", schema, "--seed", "3"]
    found = json.loads(llmkit_run(*held, "a").text)
    assert 1 <= len(found) <= 2 and set(found) <= {"é", 1}
    rows = (
        b'{"prompt": "a"}\n{"prompt": "a", "choice": ["x y"]}\n{"prompt": "a", "json_schema": {"const": 7}}\n'
    )
    lines = llmkit_run(*held, "--jsonl", "-", stdin=rows).text.splitlines()
    records = [json.loads(line) for line in lines]
    assert [one["finish_reason"] for one in records] == ["stop"] * 3
    assert set(json.loads(records[0]["completion"])) <= {"é", 1}
    assert [one["completion"] for one in records[1:]] == ["x y", "7"]


def test_a_text_is_held_to_a_grammar_of_a_file_in_either_notation_and_a_row_has_one_of_its_own(
    llmkit_run: Run, gen: list[object], tmp_path: Path
) -> None:
    file = tmp_path / "list"
    rows = b'{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "a", "grammar": "root ::= \\"x\\"{3}"}\n'
    for grammar in (
        'root ::= ("- " item "\n"){2}\nitem ::= [b-d]+ "!"',
        "start: ITEM ITEM\nITEM: /- [b-d]+!\\n/",
    ):
        file.write_text(grammar)
        held = [*gen, "--max-tokens", "400", "--grammar", file, "--seed", "3"]
        records = [
            json.loads(line) for line in llmkit_run(*held, "--jsonl", "-", stdin=rows).text.splitlines()
        ]
        assert [one["finish_reason"] for one in records] == ["stop"] * 3
        for record in records[:2]:
            assert re.fullmatch(r"(- [b-d]+!\n){2}", record["completion"])
        assert records[2]["completion"] == "xxx"


def test_a_text_ends_before_the_token_of_stop_id_and_a_row_names_its_own(
    llmkit_run: Run, gen: list[object]
) -> None:
    plain = [
        *gen,
        "the License",
        "--greedy",
        "--max-tokens",
        "12",
        "--ignore-eos",
        "--json",
        "--logprobs",
        "0",
    ]
    ids = [one["id"] for one in json.loads(llmkit_run(*plain).out)["logprobs"]]
    ends = {one: ids.index(one) for one in ids if ids.index(one) > 0}
    assert ends
    for one, place in ends.items():
        record = json.loads(llmkit_run(*plain, "--stop-id", str(one)).out)
        assert [token["id"] for token in record["logprobs"]][:place] == ids[:place]
        assert record["finish_reason"] == "stop"
    row = {"prompt": "the License", "stop_ids": [ids[0]]}
    held = [*gen, "--greedy", "--max-tokens", "12", "--jsonl", "-"]
    done = json.loads(llmkit_run(*held, stdin=json.dumps(row).encode()).out)
    assert (done["completion"], done["finish_reason"]) == ("", "stop")


def test_a_step_is_explained_as_a_table_or_as_json(llmkit_run: Run, gen: list[object]) -> None:
    line = [*gen, "the License", "--explain-step", "--top-k", "3", "--seed", "4"]
    told = json.loads(llmkit_run(*line, "--json").out)
    first = json.loads(
        llmkit_run(*gen, "the License", "--top-k", "3", "--seed", "4", "--json", "--logprobs", "1").out
    )
    assert told["drawn_id"] == first["logprobs"][0]["id"]
    assert [stage["step"] for stage in told["stages"]] == ["model", "temperature", "top_k"]
    text = llmkit_run(*line).text
    assert f"drawn: {told['drawn_id']} {told['drawn_text']!r} (by chance, seed 4)" in text


@pytest.mark.parametrize(
    ("flags", "status", "problem"),
    [
        (["a", "-p", "b"], 2, "PROMPT and --prompt are two prompts"),
        (["-p", "a", "--jsonl", "-"], 2, "--prompt and --jsonl are two prompts"),
        (["a", "--greedy", "--temperature", "1"], 2, "exclude each other"),
        (["a", "--top-p", "0"], 2, "top_p must be above 0"),
        (["a", "--logprobs", "2"], 2, "--logprobs does nothing in plain text"),
        (["a", "--require", "("], 2, "no regular expression"),
        (["a", "--regex", "("], 2, "regex: unclosed group"),
        (["a", "--regex", "a", "--choice", "b"], 2, "--regex and --choice exclude each other"),
        (["a", "--grammar", 'root ::= "a" |\nb'], 2, "grammar: line 2: no rule b (found: root)"),
        (["a", "--grammar", "nowhere"], 4, "--grammar nowhere: no such file"),
        (["a", "--json-schema", "nowhere"], 4, "--json-schema nowhere: no such file"),
        (["a", "--stop-id", "600"], 2, "stop_ids: token id 600"),
        (["a", "--logit-bias", "600=1"], 2, "logit_bias: token id 600"),
        (["a", "--prefill", "b"], 2, "--prefill does nothing without --chat"),
        (["a", "--resume"], 2, "--resume does nothing without --jsonl"),
        (["a", "-x", "--echo"], 2, "--extract-code and --echo exclude"),
        (["a", "--mark-below", "2"], 2, "a probability is above 0"),
        (["a", "--samplers", "top_x"], 2, "samplers must be some of"),
        (["a", "--explain-step", "--echo"], 2, "--explain-step and --echo exclude"),
        (["a", "--explain-step", "--tp", "2"], 2, "--explain-step and --tp exclude"),
        (["a", "--explain-step", "--samples", "2"], 2, "--explain-step and --samples exclude"),
        (["a", "--explain-step", "--logprobs", "0"], 2, "--explain-step and --logprobs exclude"),
        (["a", "--explain-step", "--require", "a"], 2, "--explain-step and --require exclude"),
        (["a", "--explain-step", "-x"], 2, "--explain-step and --extract-code exclude"),
        (["a", "--tp", "2", "--prompt-cache", "c"], 2, "--prompt-cache does not go with --tp 2"),
        (["--jsonl", "-", "--explain-step"], 2, "--explain-step and --jsonl exclude"),
        (["a", "--device", "abacus"], 2, "no such device"),
        (["a", "--max-tokens", "many"], 2, "'many' is not a number"),
        (["license " * 100], 2, "leaves no room in the model's context of 64"),
        (["--file", "nowhere"], 4, "nowhere: no such file"),
        (["a", "-m", "nowhere"], 4, "nowhere: no such model folder"),
        (["a", "-t", "nowhere"], 4, "nowhere: no such tokenizer"),
        (["a", "--require", "no such text"], 1, "1 of 1 texts do not match 'no such text'"),
    ],
)
def test_wrong_use_has_its_status_and_two_lines(
    llmkit_run: Run, gen: list[object], flags: list[str], status: int, problem: str
) -> None:
    done = llmkit_run(*gen, *flags)
    assert done.status == status and problem in done.err, done.err
    assert len(done.err.splitlines()) == 2
    assert (done.out == b"") == (status != 1)


def test_no_prompt_on_a_terminal_is_usage_at_once(
    llmkit_run: Run, gen: list[object], monkeypatch: Any
) -> None:
    import llmkit.commands.shared as shared

    class Terminal:
        stdin = type("stdin", (), {"isatty": staticmethod(lambda: True)})

    monkeypatch.setattr(shared, "sys", Terminal)
    done = llmkit_run(*gen)
    assert done.status == 2 and "no input" in done.err and "llmkit generate -m MODEL" in done.err


def test_an_existing_output_is_refused_and_a_bad_row_leaves_it(
    llmkit_run: Run, gen: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "out.txt"
    out.write_text("old")
    assert llmkit_run(*gen, "a", "-o", out).status == 2
    rows = b'{"prompt": "a"}\nbroken\n'
    done = llmkit_run(*gen, "--jsonl", "-", "-o", out, "--force", stdin=rows)
    assert done.status == 3 and "stdin:2: " in done.err and out.read_text() == "old"
    assert llmkit_run(*gen, "a", "-o", out, "--force").status == 0
    assert out.read_bytes() == llmkit_run(*gen, "a").out


def test_rows_done_before_a_bad_one_in_a_pipe_are_not_lost(llmkit_run: Run, gen: list[object]) -> None:
    done = llmkit_run(*gen, "--jsonl", "-", stdin=b'{"prompt": "a"}\nbroken\n')
    assert done.status == 3 and json.loads(done.out)["prompt"] == "a"
    done = llmkit_run(*gen, "--jsonl", "-", "--skip-bad", stdin=b'{"prompt": "a"}\nbroken\n{"prompt": "b"}\n')
    assert done.status == 0 and len(done.out.splitlines()) == 2 and done.err == "1 bad line passed over\n"


def test_the_plan_is_a_table_or_json_and_nothing_is_written(
    llmkit_run: Run, gen: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan = json.loads(llmkit_run(*gen, "a", "--dry-run", "--json", "-o", out).out)
    assert plan["schema"] == "llmkit.generate-plan/1" and plan["rows"] == 1
    text = llmkit_run(*gen, "a", "-n", "-o", out).text
    assert "sampling  max-tokens 6, temperature 0.8, ignore-eos, seed 0" in text
    assert not out.exists()


def test_notes_go_to_stderr_and_quiet_drops_them(llmkit_run: Run, gen: list[object]) -> None:
    note = "the text ends where the model's context of 64 does\n"
    assert llmkit_run(*gen, "a", "--max-tokens", "1k").err == note
    assert llmkit_run(*gen, "a", "--max-tokens", "1k", "-q").err == ""
    assert llmkit_run(*gen, "a", "-v").err.startswith("6 tokens after 1 of prompts, ")


def _start(
    model: Path, *words: str, stdout: int, bin_dir: Path = Path(sys.executable).parent
) -> subprocess.Popen[bytes]:
    line = [str(bin_dir / "llmkit"), "generate", "-m", str(model), "--ignore-eos", *words]
    return subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def long_model(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    """A model that can write for minutes."""
    folder = tiny_model("long", vocab_size=600, max_position_embeddings=1_000_000)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


ENDLESS = ("a", "--max-tokens", "900000", "--unbuffered", "--seed", "2")


def test_text_comes_while_it_is_written_and_a_reader_that_leaves_is_a_success(
    long_model: Path, forked_llmkit: Path
) -> None:
    running = _start(long_model, *ENDLESS, stdout=subprocess.PIPE, bin_dir=forked_llmkit)
    assert running.stdout is not None and running.stderr is not None
    assert len(running.stdout.read(20)) == 20  # long before the text is complete
    running.stdout.close()
    assert running.wait(timeout=60) == 0
    assert running.stderr.read() == b""
    running.stderr.close()


def test_ctrl_c_is_one_line_and_130_and_what_was_written_ends_its_line(long_model: Path) -> None:
    running = _start(long_model, *ENDLESS, "-q", stdout=subprocess.PIPE)
    assert running.stdout is not None
    begin = running.stdout.read(20)
    os.killpg(running.pid, signal.SIGINT)
    sent = time.monotonic()
    rest, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, b"llmkit: interrupted\n")
    assert time.monotonic() - sent < 10  # the promise is a second, the machine may be busy
    assert (begin + rest).endswith(b"\n")
    (begin + rest).decode()  # whole characters to the end


def test_on_a_terminal_each_piece_is_shown_at_once(long_model: Path, forked_llmkit: Path) -> None:
    ours, theirs = pty.openpty()
    words = [word for word in ENDLESS if word != "--unbuffered"]
    running = _start(long_model, *words, stdout=theirs, bin_dir=forked_llmkit)
    os.close(theirs)
    shown = b""
    while len(shown) < 20:
        shown += os.read(ours, 20)
    os.killpg(running.pid, signal.SIGTERM)
    running.communicate(timeout=60)
    os.close(ours)
    assert running.returncode == 143


def test_a_sender_who_waits_for_each_answer_gets_it(gen: list[object], forked_python: Path) -> None:
    command = [str(forked_python), "-m", "llmkit", *map(str, gen), "--jsonl", "-", "--unbuffered"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None
        for number in range(3):
            process.stdin.write(json.dumps({"id": number, "prompt": "a"}).encode() + b"\n")
            answer = json.loads(process.stdout.readline())
            assert answer["id"] == number and answer["usage"]["completion_tokens"] == 6
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_what_computes_and_how_weights_are_kept_can_be_asked_for(
    llmkit_run: Run, model: Path, command: str
) -> None:
    line = [command, "-m", model, "--max-tokens", "6", "--greedy"]
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    by_torch = llmkit_run(*line, "--kernels", "torch", stdin=b"the License\n")
    assert by_torch.status == 0 and by_torch.out == llmkit_run(*line, stdin=b"the License\n").out
    refused = llmkit_run(*line, "--kernels", "torch", "--weights", "int4", stdin=b"the License\n")
    assert refused.status == 2 and "--weights int4 needs the native kernels" in refused.err
    native = llmkit_run(*line, "--kernels", "native", "--weights", "int8", stdin=b"the License\n")
    assert native.status == (0 if available() else 2)
    assert native.out if available() else "the native library" in native.err


def test_jsonl_alone_is_stdin_and_takes_no_flag_for_a_file(
    llmkit_run: Run, gen: list[object], tmp_path: Path
) -> None:
    rows = b'{"id": 1, "prompt": "a"}\n'
    named = llmkit_run(*gen, "--jsonl", "-", "--max-tokens", "3", stdin=rows)
    assert llmkit_run(*gen, "--jsonl", "--max-tokens", "3", stdin=rows).out == named.out
    assert llmkit_run(*gen, "--max-tokens", "3", "--jsonl", stdin=rows).out == named.out
    (tmp_path / "t.jinja").write_text("{{ prompt }}{{ id }}")
    made = llmkit_run(*gen, "--jsonl", "--template", tmp_path / "t.jinja", "--max-tokens", "3", stdin=rows)
    asked = llmkit_run(*gen, "--jsonl", "--max-tokens", "3", stdin=b'{"id": 1, "prompt": "a1"}\n')
    assert made.status == 0 and json.loads(made.out)["completion"] == json.loads(asked.out)["completion"]
