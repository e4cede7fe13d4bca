"""Grammars: whatever a model thinks, what it writes to the end is valid; checked by json and re."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.completion import Completion, complete_all
from llmkit.engine.config import SamplingConfig
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.grammar import Grammars
from llmkit.engine.request import Request
from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.model.transformer import Transformer
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from tests.written_texts import complete

pytest.importorskip("llguidance")
Make = Callable[..., Transformer]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 18, "maximum": 65},
        "size": {"enum": ["S", "M", None]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "age", "size", "tags"],
    "additionalProperties": False,
}


def _is_valid(text: str) -> bool:
    """The schema above, by hand."""
    found = json.loads(text)
    return (
        list(found) == ["name", "age", "size", "tags"]
        and isinstance(found["name"], str)
        and len(found["name"]) <= 6
        and type(found["age"]) is int
        and 18 <= found["age"] <= 65
        and found["size"] in ("S", "M", None)
        and 1 <= len(found["tags"]) <= 3
        and all(type(tag) is bool for tag in found["tags"])
    )


def _is_balanced(text: str) -> bool:
    """The grammar below, by hand."""
    found = re.fullmatch(r"(\(*)[a-z]{1,4}(\)*)", text)
    return found is not None and len(found[1]) == len(found[2])


RULES: list[tuple[dict[str, Any], Callable[[str], Any]]] = [
    ({"json_schema": json.dumps(SCHEMA)}, _is_valid),
    ({"regex": r"[0-9]{2,4}(-[a-c]+)?!"}, lambda text: re.fullmatch(r"[0-9]{2,4}(-[a-c]+)?!", text)),
    ({"regex": r"é{1,3}€?"}, lambda text: re.fullmatch(r"é{1,3}€?", text)),
    ({"regex": r"[a-z]{1,9}"}, lambda text: re.fullmatch(r"[a-z]{1,9}", text)),
    (
        {"choice": ("yes", "no", "no way", "(.*)\n", "a|b")},
        {"yes", "no", "no way", "(.*)\n", "a|b"}.__contains__,
    ),
    ({"grammar": 'root ::= "(" root ")" | word\nword ::= [a-z]{1,4}'}, _is_balanced),
    ({"grammar": 'start: "(" start ")" | WORD\nWORD: /[a-z]{1,4}/'}, _is_balanced),
]


def _write(engine: Engine, tokenizer: Tokenizer, grammars: Grammars, **settings: Any) -> Completion:
    sampling = SamplingConfig(**{"max_tokens": 400, "temperature": 1.0} | settings)
    prompt = tuple(tokenizer.encode("Name:"))
    return complete(engine, Request(prompt, sampling, grammar=grammars.compile(sampling)), tokenizer)


@pytest.mark.parametrize(("rule", "is_valid"), RULES)
def test_a_random_model_over_257_tokens_writes_valid_texts(
    rule: dict[str, Any], is_valid: Callable[[str], Any], make_model: Make, bytes_only: Tokenizer
) -> None:
    assert bytes_only.vocab_size == 257
    model = make_model(vocab_size=300, max_position_embeddings=600)  # rows that no token has
    engine, grammars = Engine(model, stop_ids=[256]), Grammars(bytes_only, 300)
    for seed in range(6):
        done = _write(engine, bytes_only, grammars, seed=seed, **rule)
        assert done.finish == "stop" and done.text is not None and is_valid(done.text), done.text
        assert done.text.encode() == b"".join(
            bytes_only.token_bytes(one.id) for one in done.drawn if one.is_text
        )


@pytest.mark.parametrize(("rule", "is_valid"), RULES)
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_trained_model_writes_valid_texts_and_guesses_change_nothing(
    rule: dict[str, Any],
    is_valid: Callable[[str], Any],
    temperature: float,
    stories: Transformer,
    shared_data: Path,
) -> None:
    tokenizer = load_tokenizer(shared_data / "models" / "stories260K")
    grammars = Grammars(tokenizer, 512)
    plain, guessing = Engine(stories), Engine(stories, proposer=PromptLookup(shortest=1))
    for seed in range(2):
        settings = {"temperature": temperature, "seed": seed, "repetition_penalty": 1.05, **rule}
        done = _write(plain, tokenizer, grammars, **settings)
        assert _write(guessing, tokenizer, grammars, **settings) == done
        if done.finish == "stop":
            assert done.text is not None and is_valid(done.text), done.text
        else:  # a number or a string that never ends
            assert len(done.drawn) == 400


@pytest.mark.parametrize("name", ["gpt2", "qwen2", "llama2", "phi-3-mini"])
def test_real_vocabularies_spell_what_is_asked_and_nothing_else(
    name: str, shared_data: Path, make_model: Make
) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / name)
    size = tokenizer.vocab_size
    model = make_model(vocab_size=size, hidden_size=8, num_hidden_layers=1, max_position_embeddings=600)
    engine, grammars = Engine(model), Grammars(tokenizer, size)
    for rule, is_valid in RULES:
        done = _write(engine, tokenizer, grammars, seed=1, **rule)
        assert done.finish == "stop" and done.text is not None and is_valid(done.text), done.text


def test_texts_of_different_grammars_in_one_batch_keep_each_its_own(
    make_model: Make, bytes_only: Tokenizer
) -> None:
    engine = Engine(
        make_model(vocab_size=257, max_position_embeddings=600),
        EngineConfig(max_texts=4, positions=700),  # too few for all: some start over
        stop_ids=[256],
    )
    grammars = Grammars(bytes_only, 257)
    prompt = tuple(b"Name:")
    requests = []
    for number in range(10):
        sampling = SamplingConfig(
            max_tokens=300, seed=number, temperature=1.0, **RULES[number % len(RULES)][0]
        )
        requests.append(Request(prompt, sampling, grammar=grammars.compile(sampling)))
    found = [piece.completion for piece in complete_all(engine, requests, bytes_only) if piece.completion]
    for number, done in enumerate(found):
        assert done.finish == "stop" and done.text is not None and RULES[number % len(RULES)][1](done.text)
        assert done == complete(Engine(engine.model, stop_ids=[256]), requests[number], bytes_only)


def test_the_tokens_allowed_first_are_the_beginnings_of_what_is_asked(bytes_level: Tokenizer) -> None:
    choices = ("License", "Work", "contributor", "a")
    grammar = Grammars(bytes_level, 600).compile(SamplingConfig(choice=choices))
    assert grammar is not None
    allowed = {one for one, is_allowed in enumerate(grammar.start([7]).allowed()) if is_allowed}
    pieces = [bytes_level.token_bytes(one).decode(errors="replace") for one in range(bytes_level.vocab_size)]
    assert allowed == {
        one
        for one, piece in enumerate(pieces)
        if piece and any(choice.startswith(piece) for choice in choices)
    }


@pytest.fixture
def bytes_level(byte_level_dir: Path) -> Tokenizer:
    return load_tokenizer(byte_level_dir)


def _tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    found = [tokenizer.id_of(letter) for letter in text]
    return [one for one in found if one is not None]


def test_a_text_may_end_where_it_could_go_on_only_by_an_end_token(bytes_level: Tokenizer) -> None:
    grammar = Grammars(bytes_level, 600).compile(SamplingConfig(regex="a|ab"))
    assert grammar is not None
    a, b = _tokens(bytes_level, "ab")
    free, bound = grammar.start([5]), grammar.start()
    for matcher in (free, bound):
        assert not matcher.allowed()[5] and not matcher.is_complete
        matcher.consume(a)
        assert not matcher.is_complete
    assert free.allowed()[[5, b]].all() and free.allowed().sum() == 2
    assert bound.allowed()[b] and bound.allowed().sum() == 1
    bound.consume(b)
    assert bound.is_complete


def test_a_grammar_is_compiled_once_and_its_texts_do_not_bear_on_each_other(bytes_level: Tokenizer) -> None:
    grammars = Grammars(bytes_level, 600)
    sampling = SamplingConfig(regex="ab")
    grammar = grammars.compile(sampling)
    assert grammar is not None and grammars.compile(SamplingConfig(regex="ab", seed=3)) is grammar
    assert grammars.compile(SamplingConfig(regex="a")) is not grammar
    assert grammars.compile(SamplingConfig()) is None
    (a,) = _tokens(bytes_level, "a")
    first, second = grammar.start(), grammar.start()
    first.consume(a)
    assert first.allowed().tolist() != second.allowed().tolist()


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"regex": "("}, "regex: unclosed group"),
        ({"regex": "a(?=b)"}, "look-around"),
        ({"json_schema": "{"}, "json_schema: not JSON"),
        ({"grammar": 'root ::= "a'}, "grammar: line 1: a text that is not closed"),
        ({"grammar": 'start: a\na: "b" nothing'}, 'grammar: line 2: unknown name: "nothing"'),
        ({"grammar": "root = 1"}, "grammar: neither GBNF nor Lark"),
        ({"json_schema": "[]"}, "a schema is an object"),
        ({"json_schema": "false"}, "false allows no text"),
        ({"json_schema": '{"type": "bool"}'}, "json_schema: Invalid type: bool"),
        ({"json_schema": '{"uniqueItems": true, "type": "array"}'}, "uniqueItems"),
    ],
)
def test_a_wrong_grammar_is_refused_with_the_reason(
    rule: dict[str, str], problem: str, bytes_level: Tokenizer
) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        Grammars(bytes_level, 600).compile(SamplingConfig(**rule))  # type: ignore[arg-type]


def test_the_schema_true_is_that_of_any_json(bytes_level: Tokenizer) -> None:
    grammars = Grammars(bytes_level, 600)
    starts = [
        grammars.compile(SamplingConfig(json_schema=schema)).start().allowed()  # type: ignore[union-attr]
        for schema in ("true", "{}")
    ]
    assert starts[0].tolist() == starts[1].tolist()


def test_a_vocabulary_that_cannot_spell_what_is_asked_says_so(shared_data: Path) -> None:
    folder = shared_data / "models" / "char-gpt-shakespeare"
    tokenizer = load_tokenizer(folder)
    grammar = Grammars(tokenizer, tokenizer.vocab_size).compile(SamplingConfig(regex="東"))
    assert grammar is not None
    with pytest.raises(DataError, match="nothing goes on as the grammar asks"):
        grammar.start().allowed()


def test_a_tokenizer_whose_tokens_are_not_the_text_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models

    backend = Backend(models.WordPiece({"a": 0, "##b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    with pytest.raises(DataError, match="put end to end"):
        Grammars(Tokenizer(backend), 3).compile(SamplingConfig(regex="a"))


def test_without_the_package_the_install_line_is_named(
    bytes_level: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingError) as caught:
        Grammars(bytes_level, 600).compile(SamplingConfig(regex="a"))
    assert caught.value.hint == "pip install 'llmkit[grammar]'"


def test_an_engine_without_grammars_does_not_load_the_package() -> None:
    code = "import sys, llmkit.engine.completion; assert 'llguidance' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_rule_of_a_caller_is_one_that_no_setting_names(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers/gpt2")
    grammars = Grammars(tokenizer, tokenizer.vocab_size)
    grammar = grammars.compile_rule(("tools", 'start: "a" %json {"const": 1}'))
    matcher = grammar.start()
    for one in tokenizer.encode("a1"):
        assert matcher.allowed()[one]
        matcher.consume(one)
    assert (
        matcher.is_complete and grammars.compile_rule(("tools", 'start: "a" %json {"const": 1}')) is grammar
    )
    with pytest.raises(ConfigError, match="tools: "):
        grammars.compile_rule(("tools", "start: nothing"))


def test_of_too_many_grammars_the_one_not_used_for_longest_goes(
    bytes_only: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.engine.grammar._MOST_KEPT", 2)
    grammars = Grammars(bytes_only, 257)
    first, second, third = (SamplingConfig(regex=one) for one in ("a", "b", "c"))
    kept, gone = grammars.compile(first), grammars.compile(second)
    assert grammars.compile(first) is kept  # used again, behind the second
    grammars.compile(third)
    assert grammars.compile(first) is kept
    assert grammars.compile(second) is not gone
