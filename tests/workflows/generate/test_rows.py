"""Prompts and rows as requests: what each form encodes to, whose settings win, which seed it gets."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.jsonl import BadLine
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job
from llmkit.workflows.generate.row import Refusal, Row
from llmkit.workflows.generate.rows import read_prompt, read_rows

CHAT = [{"role": "user", "content": "the License?"}]
RENDERED = "<|im_start|>user\nthe License?<|im_end|>\n<|im_start|>assistant\n"


HERMES = (
    "{{ tools | tojson }}{% for message in messages %}{{ message.role }}: {{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>"
    "{% endfor %}\n{% endfor %}"
)


@pytest.fixture
def folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    """A model with a tokenizer."""
    folder = tiny_model(vocab_size=600, max_position_embeddings=64)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


def _job(folder: Path, *, sampling: dict[str, Any] | None = None, **settings: Any) -> Job:
    names = {"prompt", "file", "jsonl", "template"}
    files = {key: value for key, value in settings.items() if key in names}
    rest = {key: value for key, value in settings.items() if key not in names}
    return open_job(GenerateFiles(model=folder, **files), GenerateConfig(sampling=sampling or {}, **rest))


def _rows(folder: Path, *records: Any, sampling: dict[str, Any] | None = None, **settings: Any) -> list[Row]:
    path = folder / "rows.jsonl"
    path.write_text("".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in records))
    return list(read_rows(_job(folder, sampling=sampling, jsonl=path, **settings), path))


def _ids(folder: Path, text: str) -> tuple[int, ...]:
    from tokenizers import Tokenizer

    return tuple(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids)


def test_a_prompt_is_taken_as_it_is(folder: Path) -> None:
    row = read_prompt(_job(folder, prompt=" the License\n"))
    assert row.request.prompt == _ids(folder, " the License\n")
    assert row.text == " the License\n" and bytes(row.record["prompt"]) == b'" the License\\n"'


@pytest.mark.parametrize(
    ("content", "text"), [(b"a\n", "a"), (b"a\n\n", "a\n"), (b"a", "a"), ("é\r\n".encode(), "é\r"), (b"", "")]
)
def test_a_file_is_a_prompt_but_for_one_line_feed_at_its_end(folder: Path, content: bytes, text: str) -> None:
    file = folder / "prompt.txt"
    file.write_bytes(content)
    assert read_prompt(_job(folder, file=file)).text == text


def test_a_file_that_is_not_utf_8_is_no_prompt(folder: Path) -> None:
    file = folder / "prompt.txt"
    file.write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"prompt.txt: not UTF-8 \(found byte 0xe9 at offset 3\)"):
        read_prompt(_job(folder, file=file))


def test_a_chat_is_rendered_and_a_system_message_put_where_there_is_none(folder: Path) -> None:
    plain = read_prompt(_job(folder, prompt="the License?", chat=True))
    assert plain.text == RENDERED and plain.request.prompt == _ids(folder, RENDERED)
    assert plain.request.stop_ids == {_ids(folder, "<|im_end|>")[0]}
    system = "<|im_start|>system\nBrief.<|im_end|>\n"
    told = read_prompt(_job(folder, prompt="the License?", chat=True, system="Brief."))
    assert told.text == system + RENDERED
    own = [{"role": "system", "content": "Own."}, *CHAT]
    rows = _rows(folder, {"messages": CHAT}, {"messages": own}, {"prompt": "x"}, system="Brief.")
    assert rows[0].text == system + RENDERED
    assert rows[1].text == system.replace("Brief.", "Own.") + RENDERED
    assert rows[2].text == "x" and rows[2].request.stop_ids == frozenset()


def test_of_tokens_messages_and_prompt_the_first_counts(folder: Path) -> None:
    full = {"prompt": "a", "messages": CHAT, "tokens": [7, 8]}
    by_tokens, by_chat, by_prompt = _rows(
        folder, full, full | {"tokens": None}, {"prompt": "a", "messages": None}
    )
    assert by_tokens.request.prompt == (7, 8) and by_tokens.text is None
    assert by_chat.text == RENDERED
    assert by_prompt.text == "a"


def test_a_row_sets_what_it_names_and_the_flags_the_rest(folder: Path) -> None:
    row = {
        **{"prompt": "a", "max_tokens": 3, "temperature": 0, "top_k": 5, "top_p": 0.5, "min_p": 0.1},
        **{"repetition_penalty": 1.5, "presence_penalty": 0.2, "frequency_penalty": 0.3, "stop": "x"},
        **{"ignore_eos": True, "seed": 9, "samples": 2, "logprobs": 4, "typical_p": 0.7},
    }
    given, bare, null = _rows(
        folder,
        row,
        {"prompt": "a", "stop": ["y", "z"]},
        {"prompt": "a", "top_k": None},
        sampling={"top_k": 8},
    )
    expected = {key: value for key, value in row.items() if key != "prompt"} | {"stop": ("x",)}
    assert {name: getattr(given.request.sampling, name) for name in expected} == expected
    assert bare.request.sampling.stop == ("y", "z") and bare.request.sampling.top_k == 8
    assert null.request.sampling.top_k == 8


def test_a_row_has_a_bias_and_a_rule_of_its_own_in_place_of_the_flags(folder: Path) -> None:
    pytest.importorskip("llguidance")
    bare, chosen, schema, regex = _rows(
        folder,
        {"prompt": "a"},
        {"prompt": "a", "choice": ["x", "y"], "logit_bias": {"5": -1, "7": 2.5}},
        {"prompt": "a", "json_schema": {"type": "null"}},
        {"tokens": [1], "regex": "b"},
        sampling={"regex": "a", "logit_bias": ((3, 1.0),)},
    )
    assert bare.request.sampling.rule == ("regex", "a") and bare.request.sampling.logit_bias == ((3, 1.0),)
    assert chosen.request.sampling.rule == ("choice", ("x", "y"))
    assert chosen.request.sampling.logit_bias == ((5, -1.0), (7, 2.5))
    assert schema.request.sampling.rule == ("json_schema", '{"type":"null"}')
    assert regex.request.sampling.rule == ("regex", "b")
    grammars = [row.request.grammar for row in (bare, chosen, schema, regex)]
    assert None not in grammars and len(set(grammars)) == 4


def test_what_breaks_repetitions_is_the_rows_own_or_the_flags_where_they_are_looked_for(folder: Path) -> None:
    (colon,), (bang,) = _ids(folder, ":"), _ids(folder, "!")
    usual, own, by_ids, off = _rows(
        folder,
        {"prompt": "a"},
        {"messages": CHAT, "dry_sequence_breakers": ["!"]},
        {"tokens": [1], "dry_base": 2, "dry_allowed_length": 3, "dry_penalty_last_n": 9},
        {"prompt": "a", "dry_multiplier": 0},
        sampling={"dry_multiplier": 0.8},
    )
    found = [row.request.breaks for row in (usual, own, by_ids, off)]
    assert [one and (one.within(colon), one.within(bang)) for one in found] == [
        *((True, False), (False, True), (True, False), None),
    ]
    asked = by_ids.request.sampling
    assert (asked.dry_base, asked.dry_allowed_length, asked.dry_penalty_last_n) == (2.0, 3, 9)


def test_a_rows_seed_is_its_own_whatever_stands_around_it(folder: Path) -> None:
    def seeds(*records: dict[str, Any], seed: int = 0) -> list[int]:
        rows = _rows(folder, *records, sampling={"seed": seed})
        return [row.request.sampling.seed for row in rows]

    one, two, bare = {"id": 1, "prompt": "a"}, {"id": "2", "prompt": "a"}, {"prompt": "a"}
    first = seeds(one, two, bare)
    assert len(set(first)) == 3
    assert seeds(bare, two, one) == first[::-1]
    assert seeds({"prompt": "a", "more": 5}, two) == [first[2], first[1]]  # without an id the prompt counts
    assert not set(seeds(one, two, bare, seed=1)) & set(first)
    assert seeds({"id": 1, "prompt": "a", "seed": 77}) == [77]


def test_single_prompts_have_the_seed_that_was_given(folder: Path) -> None:
    job = _job(folder, prompt="a", sampling={"seed": 12})
    assert read_prompt(job).request.sampling.seed == 12


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"text": "a"}, r"no prompt, messages or tokens \(found: text\)"),
        ({}, "found: no keys at all"),
        ({"prompt": 3}, '"prompt": Expected `str`'),
        ({"prompt": "a", "temperature": "hot"}, '"temperature": Expected `float`'),
        ({"prompt": "a", "max_tokens": 1.5}, '"max_tokens": Expected `int`'),
        ({"prompt": "a", "top_p": 2}, "top_p must be"),
        ({"prompt": "a", "stop": [""]}, "stop must be"),
        ({"prompt": "a", "adapter": "x"}, "adapter"),
        ({"tokens": []}, "no token"),
        ({"tokens": [600]}, "token id 600"),
        ({"prompt": "a", "logit_bias": {"600": 1}}, "token id 600"),
        ({"prompt": "a", "logit_bias": {"a": 1}}, '"logit_bias": Expected `int`'),
        ({"prompt": "a", "regex": "("}, "regex: unclosed group"),
        ({"prompt": "a", "regex": "a", "choice": ["b"]}, "exclude each other"),
        ({"prompt": "a", "json_schema": "{}"}, '"json_schema": Expected'),
        ({"tokens": [1] * 64}, "context of 64"),
        ({"messages": "a"}, '"messages": Expected `array`'),
        ("not json\n", "not a JSON object"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_or_passed_over(folder: Path, record: Any, problem: str) -> None:
    with pytest.raises(DataError, match=f"rows.jsonl:2: .*{problem}"):
        _rows(folder, {"prompt": "a"}, record)
    bad: list[BadLine] = []
    job = _job(folder, jsonl=folder / "rows.jsonl")
    assert len(list(read_rows(job, folder / "rows.jsonl", bad.append))) == 1
    assert [(one.number, "rows.jsonl" in one.problem) for one in bad] == [(2, False)]


def _call(body: Any, **changes: Any) -> dict[str, Any]:
    return {"custom_id": "q1", "method": "POST", "url": "/v1/chat/completions", "body": body} | changes


def test_a_row_of_openais_batch_files_is_the_chat_that_it_asks_for(folder: Path) -> None:
    body = {"model": "model", "messages": CHAT, "max_completion_tokens": 3, "n": 2, "seed": 4, "user": "u"}
    called, plain = _rows(folder, _call(body), {"messages": CHAT, "max_tokens": 3, "samples": 2, "seed": 4})
    assert isinstance(called, Row) and isinstance(plain, Row) and called.call is not None
    assert (called.text, called.request.prompt) == (plain.text, plain.request.prompt)
    assert called.request.sampling == plain.request.sampling
    assert (called.call.custom_id, called.call.model, called.request.key) == ("q1", "model", "u")
    named, other = _rows(folder, _call({"messages": CHAT}), _call({"messages": CHAT}, custom_id="q2"))
    assert named.request.sampling.seed != other.request.sampling.seed  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": CHAT, "top_p": 3}, "top_p"),
        ({"messages": CHAT, "logit_bias": {"600": 1}}, "logit_bias"),
        ({"messages": CHAT, "n": 0}, "n"),
        ({"messages": CHAT * 50}, None),
        ({"messages": CHAT, "verbosity": "low"}, "verbosity"),
    ],
)
def test_what_a_batch_row_asks_for_and_cannot_have_is_its_answer(
    folder: Path, body: Any, param: str | None
) -> None:
    refused, row = _rows(folder, _call(body), {"prompt": "a"})
    assert isinstance(refused, Refusal) and refused.error.param == param and isinstance(row, Row)


def test_what_is_wrong_with_the_rule_of_a_batch_row_is_told_in_the_rows_words(folder: Path) -> None:
    pytest.importorskip("llguidance")
    (refused,) = _rows(folder, _call({"messages": CHAT, "guided_regex": "("}))
    assert isinstance(refused, Refusal) and refused.error.param == "guided_regex"
    assert refused.error.problem.startswith("guided_regex: ")


def test_a_batch_row_tells_the_template_how_much_is_to_be_thought(folder: Path) -> None:
    template = "{{ enable_thinking }} {{ reasoning_effort }}: {{ messages[0].content }}"
    (folder / "chat_template.jinja").write_text(template)
    bodies: list[dict[str, Any]] = [
        {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "low"},
        {"chat_template_kwargs": None, "reasoning_effort": None},
        {"chat_template_kwargs": {"chat_template": "{{ messages }}"}},
    ]
    told, plain, refused = _rows(folder, *(_call({"messages": CHAT, **body}) for body in bodies))
    assert (told.text, plain.text) == ("False low: the License?", " : the License?")
    assert isinstance(refused, Refusal) and refused.error.param == "chat_template_kwargs.chat_template"


def test_a_strict_tool_holds_the_calls_of_a_row_as_it_holds_those_of_a_batch_row(
    spelled_model: Callable[..., Path],
) -> None:
    pytest.importorskip("llguidance")
    folder = spelled_model(max_position_embeddings=2048)
    (folder / "chat_template.jinja").write_text(HERMES)
    shape: Any = {"type": "object", "properties": {"town": {"enum": ["Oslo"]}}, "additionalProperties": False}

    def asked(**function: Any) -> dict[str, Any]:
        return {"messages": CHAT, "tools": [{"type": "function", "function": {"name": "f", **function}}]}

    strict, free = asked(parameters=shape, strict=True), asked(parameters=shape)
    own_rule = strict | {"regex": "a+"}
    held, batch, loose, ruled = _rows(folder, strict, _call(strict), free, own_rule)
    assert held.request.grammar is not None and held.request.grammar is batch.request.grammar
    assert loose.request.grammar is None
    assert ruled.request.grammar not in (None, held.request.grammar)
    wrong = asked(parameters={"type": "array"}, strict=True)
    with pytest.raises(DataError, match=r"rows.jsonl:1: tools: the arguments of f are not an object"):
        _rows(folder, wrong)


def test_a_batch_row_whose_prompt_is_none_leaves_the_rows_around_it_alone(folder: Path) -> None:
    url = "/v1/completions"
    bodies = ({"prompt": "a"}, {"prompt": [None]}, {"prompt": [1.5]}, {"prompt": [5.0]})
    first, null, part, last = _rows(folder, *(_call(body, url=url) for body in bodies))
    assert isinstance(null, Refusal) and isinstance(part, Refusal)
    assert (null.error.status, null.error.param) == (part.error.status, part.error.param) == (400, "prompt")
    assert isinstance(first, Row) and isinstance(last, Row) and last.request.prompt == (5,)


def test_a_batch_row_without_a_custom_id_is_a_bad_line(folder: Path) -> None:
    with pytest.raises(DataError, match=r'rows.jsonl:1: no "custom_id" field'):
        _rows(folder, {"url": "/v1/completions", "body": {"prompt": "a"}})


def test_a_prefill_is_read_behind_the_opening_of_the_reply(folder: Path) -> None:
    by_flag, own, none = _rows(
        folder,
        {"messages": CHAT},
        {"messages": CHAT, "prefill": "Sure"},
        {"messages": CHAT, "prefill": ""},
        prefill="the",
    )
    assert [row.prefill for row in (by_flag, own, none)] == ["the", "Sure", ""]  # type: ignore[union-attr]
    assert own.request.prompt == _ids(folder, RENDERED + "Sure") and own.text == RENDERED  # type: ignore[union-attr]
    for wrong in ({"prompt": "a", "prefill": "b"}, {"tokens": [1], "prefill": "b"}):
        with pytest.raises(DataError, match="a prefill, and no chat"):
            _rows(folder, wrong)
    with pytest.raises(DataError, match="a prefill and choice exclude"):
        _rows(folder, {"messages": CHAT, "prefill": "b", "choice": ["a"]})


def test_rows_of_tokens_need_no_tokenizer_and_all_others_do(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model("bare")
    (row,) = _rows(folder, {"tokens": [1, 2]})
    assert row.request.prompt == (1, 2)
    dry: dict[str, Any] = {"tokens": [1], "dry_multiplier": 0.8}
    (row,) = _rows(folder, {**dry, "dry_sequence_breakers": []})
    assert row.request.sampling.has_dry and row.request.breaks is None
    for record in ({"prompt": "a"}, {"messages": CHAT}, {"tokens": [1], "stop": "x"}, dry):
        with pytest.raises(MissingError, match="no tokenizer"):
            _rows(folder, record)


def test_an_empty_prompt_needs_a_token_to_begin_with(folder: Path, shared_data: Path) -> None:
    assert read_prompt(_job(folder, prompt="")).request.prompt == _ids(folder, "<|endoftext|>")
    with pytest.raises(UsageError, match="neither bos nor eos"):
        read_prompt(_job(shared_data / "models" / "char-gpt-shakespeare", prompt=""))


def test_a_template_makes_the_prompt_of_a_row_whatever_else_the_row_has(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("Q: {{ q }}, {{ record.q }}{% if hint is defined %} ({{ hint }}){% endif %}")
    bare, hinted, other = _rows(
        folder,
        {"q": "who", "tokens": [1, 2]},
        {"q": "who", "hint": "me", "prompt": "no"},
        {"q": 7, "messages": CHAT},
        template=path,
    )
    assert bare.text == "Q: who, who" and bare.request.prompt == _ids(folder, "Q: who, who")
    assert hinted.text == "Q: who, who (me)" and other.text == "Q: 7, 7"
    assert bytes(hinted.record["prompt"]) == b'"no"'
    (asked,) = _rows(folder, {"q": "the License?"}, template=path, chat=True)
    assert asked.text == RENDERED.replace("the License?", "Q: the License?, the License?")
    with pytest.raises(DataError, match=r"rows\.jsonl:1: .*t\.jinja: 'q' is undefined"):
        _rows(folder, {"question": "who"}, template=path)


def test_a_template_without_rows_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("a")
    with pytest.raises(UsageError, match="--template does nothing without --jsonl"):
        _job(folder, prompt="a", template=tmp_path / "t.jinja")


@pytest.fixture
def gap_folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    """A model whose tokenizer has the marks of a gap."""
    from tokenizers import AddedToken, Tokenizer

    folder = tiny_model(vocab_size=610, max_position_embeddings=64)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    marks = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>")
    backend.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    backend.save(str(folder / "tokenizer.json"))
    return folder


def test_a_suffix_makes_a_gap_of_what_follows_a_prompt(gap_folder: Path) -> None:
    written = _ids(gap_folder, "<|fim_prefix|>the <|fim_suffix|> License<|fim_middle|>")
    (end,) = _ids(gap_folder, "<|fim_pad|>")
    flag = read_prompt(_job(gap_folder, prompt="the ", suffix=" License")).request
    assert flag.prompt == written and end in flag.stop_ids
    rows = _rows(
        gap_folder,
        {"prompt": "the ", "suffix": " License"},
        {"prompt": "the "},
        {"prompt": "the ", "suffix": None},
        suffix=" other",
    )
    other = _ids(gap_folder, "<|fim_prefix|>the <|fim_suffix|> other<|fim_middle|>")
    assert [one.request.prompt for one in rows] == [written, other, _ids(gap_folder, "the ")]
    assert not rows[2].request.stop_ids


def test_a_chat_and_tokens_have_no_gap(gap_folder: Path) -> None:
    for row in ({"messages": CHAT}, {"tokens": [1]}):
        with pytest.raises(DataError, match='"suffix", and a'):
            _rows(gap_folder, row | {"suffix": "b"})
        with pytest.raises(DataError, match="--suffix, and a"):
            _rows(gap_folder, row, suffix="b")
    (opted_out,) = _rows(gap_folder, {"tokens": [1], "suffix": None}, suffix="b")
    assert opted_out.request.prompt == (1,)
    with pytest.raises(UsageError, match="--suffix does nothing in a chat"):
        _job(gap_folder, prompt="a", chat=True, suffix="b")


def test_a_batch_row_may_ask_for_a_gap_and_is_refused_by_the_name_where_there_is_none(
    gap_folder: Path, byte_level_dir: Path
) -> None:
    body = {"prompt": "the ", "suffix": " License"}
    call = {"custom_id": "1", "method": "POST", "url": "/v1/completions", "body": body}
    (row,) = _rows(gap_folder, call)
    assert row.request.prompt == _ids(gap_folder, "<|fim_prefix|>the <|fim_suffix|> License<|fim_middle|>")
    (refusal,) = _rows(gap_folder, call, suffix="b")
    assert isinstance(refusal, Refusal) and "--suffix is not for rows" in refusal.error.problem
    for file in byte_level_dir.iterdir():
        shutil.copy(file, gap_folder)
    (refusal,) = _rows(gap_folder, call)
    assert isinstance(refusal, Refusal) and refusal.error.param == "suffix"
