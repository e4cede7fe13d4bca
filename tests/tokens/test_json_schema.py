"""Schemas for llguidance: no text comes out that jsonschema calls invalid, whatever the bounds."""

import json
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from jsonschema import Draft4Validator, Draft202012Validator
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from llmkit.engine.grammar import Grammars
from llmkit.errors import ConfigError
from llmkit.tokens.json_schema import held_schema
from llmkit.tokens.tokenizer import Tokenizer

pytest.importorskip("llguidance")
EDGES = (-24.751, -1.5, -1, -0.5, 0, 0.05, 0.5, 1, 1.25, 1.5, 99.99, 1000)


class Texts:
    """Which texts a schema allows, over a vocabulary of bytes."""

    def __init__(self, bytes_only: Tokenizer) -> None:
        self._bytes = bytes_only.encode
        self._grammars = Grammars(bytes_only, 257)

    def allowed(self, schema: Any, text: str) -> bool:
        """Whether a text can be written to its end."""
        matcher = self._grammars.compile_rule(("json_schema", json.dumps(schema))).start([256])
        for one in self._bytes(text):
            if not matcher.allowed()[one]:
                return False
            matcher.consume(one)
        return bool(matcher.allowed()[256])


@pytest.fixture(scope="module")
def texts() -> Texts:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Backend(models.BPE(vocab={letter: one for one, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<end>"])
    return Texts(Tokenizer(backend))


def _spelled() -> list[str]:
    """Texts at the edges, and near them on both sides, whole and with a zero more."""
    near = {
        format((Decimal(str(edge)) + Decimal(step)).normalize(), "f")
        for edge, step in product(EDGES, ("0", "0.001", "-0.001", "1", "-1"))
    }
    return sorted(near | {f"{one}0" if "." in one else f"{one}.0" for one in near} | {"-0", "-0.0"})


@pytest.mark.parametrize("kind", ["number", "integer"])
@pytest.mark.parametrize("lower", ["minimum", "exclusiveMinimum"])
@pytest.mark.parametrize("upper", ["maximum", "exclusiveMaximum"])
def test_between_two_bounds_nothing_invalid_is_allowed_and_every_number_can_be_written(
    kind: str, lower: str, upper: str, texts: Texts
) -> None:
    spelled = _spelled()
    for low, high in product(EDGES, EDGES):
        schema = {"type": kind, lower: low, upper: high}
        validator = Draft202012Validator(schema)
        valid = {one for one in spelled if validator.is_valid(json.loads(one))}
        if not valid:
            continue
        allowed = {one for one in spelled if texts.allowed(schema, one)}
        assert allowed <= valid, (schema, allowed - valid)
        assert {float(one) for one in allowed} == {float(one) for one in valid}, schema


@pytest.mark.parametrize(
    ("schema", "allowed", "forbidden"),
    [
        ({"type": "integer", "maximum": 2**63 - 1}, str(2**63 - 1), str(2**63)),
        ({"type": "integer", "maximum": 2**64 - 1}, str(2**63 - 1), str(2**64)),
        ({"type": "integer", "minimum": -(2**63)}, str(1024 - 2**63), str(-(2**63) - 1)),
        ({"type": "integer", "minimum": 10**18}, str(10**18), str(10**18 - 1)),
        ({"type": "integer", "maximum": -(10**18)}, str(-(10**18)), str(1 - 10**18)),
        ({"type": "integer", "minimum": 2**53 + 1}, str(2**53 + 2), str(2**53)),
        ({"type": "integer", "exclusiveMinimum": 2**53}, str(2**53 + 2), str(2**53)),
        ({"type": "integer", "maximum": 2**53 + 1}, str(2**53), str(2**53 + 2)),
        ({"type": "number", "minimum": -1e30, "maximum": 1e30}, "-12.5", str(10**31)),
        ({"type": "number", "minimum": 7.5e-05, "maximum": 1}, "0.000075", "0.000074"),
        ({"type": "number", "minimum": 1.9652167051300817, "maximum": 2}, "1.97", "1.9652167051300815"),
        ({"allOf": [{"type": "number", "exclusiveMinimum": 0}, {"maximum": 0.5}]}, "0.5", "0"),
        ({"minimum": 0, "exclusiveMinimum": True, "maximum": 0.5, "type": "number"}, "0.1", "0"),
    ],
)
def test_bounds_that_no_float_or_int_of_64_bits_has_are_moved_inwards(
    schema: dict[str, Any], allowed: str, forbidden: str, texts: Texts
) -> None:
    assert texts.allowed(schema, allowed) and not texts.allowed(schema, forbidden)


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": 0, "exclusiveMinimum": False},
        {"maximum": 10, "exclusiveMaximum": False},
        {"minimum": 0, "maximum": 10, "exclusiveMinimum": False, "exclusiveMaximum": False},
        {"minimum": 0, "maximum": 10, "exclusiveMinimum": True, "exclusiveMaximum": False},
        {"minimum": 0, "maximum": 10, "exclusiveMinimum": False, "exclusiveMaximum": True},
        {"minimum": 0, "exclusiveMinimum": True},
        {"maximum": 10, "exclusiveMaximum": True},
        {"exclusiveMinimum": True},
        {"exclusiveMaximum": True, "minimum": 0},
        {"exclusiveMinimum": False, "exclusiveMaximum": False},
    ],
)
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_in_draft_4_an_exclusive_bound_is_true_or_false_of_the_plain_one_beside_it(
    kind: str, schema: dict[str, Any], texts: Texts
) -> None:
    schema = {"type": kind, **schema}
    validator = Draft4Validator(schema)
    for one in ("-1", "0", "1", "9", "10", "11"):
        assert texts.allowed(schema, one) == validator.is_valid(json.loads(one)), one


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 99999999999999999999, "maximum": 999999999999999999999},
        {"type": "number", "maximum": -(10**400)},
        {"const": 2**53 + 1},
        {"const": 2.0**63},
        {"const": 10**20 + 1},
        {"const": 1e300},
        {"enum": [1, {"a": [10**400]}]},
        {"const": 964.9453287863279},
        {"const": 5e-324},
        {"enum": [float("inf")]},
        {"properties": {"const": {"exclusiveMinimum": 2**64}}},
    ],
)
def test_numbers_that_would_come_out_as_others_are_refused_by_name(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^f: (a bound|the value)"):
        held_schema(schema, "f")


def test_values_that_come_out_as_they_are_stay_as_they_are() -> None:
    schema = {"enum": [0.1, 1e-7, -0.5, 1e10, 2**53, None, True, "a", [3.25, {"b": 1}]]}
    assert held_schema(schema, "f") == schema


@pytest.mark.parametrize("value", [1e20, 10**20, -1.5e20, 10**22, 123456e15])
def test_a_great_value_of_few_digits_is_written_as_a_whole_number(value: float, texts: Texts) -> None:
    schema = {"const": value}
    assert Draft202012Validator(schema).is_valid(json.loads(str(int(value))))
    assert texts.allowed(schema, str(int(value)))


def test_a_format_that_is_not_known_is_an_annotation_and_one_that_is_known_holds() -> None:
    path = {"type": "string", "format": "path"}
    schema = {"properties": {"format": path, "day": {"type": "string", "format": "date"}}, "items": [path]}
    text = {"type": "string"}
    assert held_schema(schema, "f") == {**schema, "items": [text]} | {
        "properties": {"format": text, "day": {"type": "string", "format": "date"}}
    }


def test_a_property_may_be_called_like_a_keyword(texts: Texts) -> None:
    half = {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}
    schema = {"properties": {"enum": half, "default": half}, "required": ["enum", "default"]}
    schema |= {"type": "object", "additionalProperties": False}
    assert texts.allowed(schema, '{"enum":0.5,"default":0.5}')
    assert not texts.allowed(schema, '{"enum":0,') and not texts.allowed(schema, '{"enum":0.5,"default":0}')


@pytest.mark.parametrize(
    "schema", ['{"maximum": NaN}', '{"const": ' + "9" * 5000 + "}", '{"a": ' * 200 + "1" + "}" * 200]
)
def test_what_llguidance_cannot_read_is_refused_in_two_lines(schema: str, texts: Texts) -> None:
    with pytest.raises(ConfigError, match=r"^json_schema: "):
        texts._grammars.compile_rule(("json_schema", schema))


def test_a_schema_of_too_many_levels_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"items": schema}
    with pytest.raises(ConfigError, match="nested too deeply"):
        held_schema(schema, "f")
