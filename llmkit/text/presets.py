"""Rules by name: single ones, the chains that published corpora went through, and files of rules.

A chain names the reading it follows: `gopher` is datatrove's of FineWeb, `c4-tfds` that of
tensorflow_datasets.

A file of rules is TOML, any rule with its thresholds, in the order in which they run:

    [[rules]]
    preset = "gopher"            # a preset's rules as they are

    [[rules]]
    rule = "c4"                  # one rule; what is not named keeps its default
    min_sentences = 3
    end_marks = false

    [[rules]]
    rule = "gopher-quality"
    max_words = false            # no limit
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

import msgspec

from llmkit.errors import ConfigError, nearest, some_of
from llmkit.text.boilerplate import BoilerplateLines
from llmkit.text.c4 import C4, C4Tfds
from llmkit.text.code import Code
from llmkit.text.fineweb import FinewebQuality
from llmkit.text.gopher_quality import GopherQuality
from llmkit.text.gopher_repetition import GopherRepetition
from llmkit.text.markup import Markup
from llmkit.text.ocr import Ocr
from llmkit.text.paragraphs import C4Paragraphs
from llmkit.text.refinedweb import RefinedwebLines
from llmkit.text.rule import Rule

KINDS: Mapping[str, type[Rule]] = {
    one.kind: one
    for one in (
        *(GopherRepetition, GopherQuality, C4, C4Tfds, C4Paragraphs, FinewebQuality, RefinedwebLines),
        *(Ocr, Markup, Code, BoilerplateLines),
    )
}
"""Every kind of rule by its name; its fields are its thresholds."""

PRESETS: Mapping[str, tuple[Rule, ...]] = {
    "c4": (C4(),),
    "c4-tfds": (C4Tfds(),),
    "c4-paragraphs": (C4Paragraphs(),),
    "gopher": (GopherRepetition(), GopherQuality()),
    "gopher-repetition": (GopherRepetition(),),
    "gopher-quality": (GopherQuality(),),
    "fineweb": (GopherRepetition(), GopherQuality(), C4(end_marks=False), FinewebQuality()),
    "fineweb-quality": (FinewebQuality(),),
    "refinedweb": (RefinedwebLines(), GopherRepetition(), GopherQuality()),
    "ocr": (Ocr(),),
    "markup": (Markup(),),
    "code": (Code(),),
    "boilerplate": (BoilerplateLines(),),
}
"""Chains by name, in the order in which they run."""


def preset(name: str) -> tuple[Rule, ...]:
    """The rules of a preset.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in PRESETS:
        guess = nearest(name, PRESETS)
        raise ConfigError(
            f"no preset of rules is called {name}",
            hint=f"did you mean {guess}?" if guess else f"presets: {', '.join(PRESETS)}",
        )
    return PRESETS[name]


def join_rules(chains: Iterable[Iterable[Rule]]) -> tuple[Rule, ...]:
    """One chain of several, in their order; a rule that comes again as it was is run once.

    Raises:
        ConfigError: a kind of rule comes twice with different thresholds.
    """
    joined: dict[str, Rule] = {}
    for rule in (rule for chain in chains for rule in chain):
        known = joined.setdefault(rule.kind, rule)
        if known != rule:
            differ = [one for one, value in settings_of(rule).items() if settings_of(known)[one] != value]
            raise ConfigError(
                f"the rule {rule.kind} comes twice and differs in {some_of(differ)}",
                hint="leave one of the two out, or write the rules you want to a file of rules",
            )
    return tuple(joined.values())


def settings_of(rule: Rule) -> dict[str, Any]:
    """A rule's thresholds by name, in the order in which they are declared."""
    return {one.name: getattr(rule, one.name) for one in _fields(type(rule))}


def read_rules(toml_text: str, *, where: str = "rules") -> tuple[Rule, ...]:
    """The rules of a file's text. `where` names the file in messages.

    Raises:
        ConfigError: not TOML, an unknown key, rule or preset, a value of the wrong kind, a rule that comes
        twice.
    """
    try:
        content = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{where}: not TOML: {error}", hint="write one [[rules]] table for each rule"
        ) from None
    _only(content, ("rules",), where)
    tables = content.get("rules")
    if not isinstance(tables, list) or not tables or not all(isinstance(one, dict) for one in tables):
        raise ConfigError(
            f"{where}: no [[rules]] table", hint='[[rules]] and below it: rule = "gopher-quality"'
        )
    return rules_from(tables, where=where)


def rules_from(tables: Sequence[Mapping[str, Any]], *, where: str = "rules") -> tuple[Rule, ...]:
    """Rules from plain values, as TOML and JSON have them.

    Raises:
        ConfigError: as read_rules.
    """
    chains = [_chain(table, f"{where}: rule {number}") for number, table in enumerate(tables, start=1)]
    return join_rules(chains)


def _chain(table: Mapping[str, Any], where: str) -> tuple[Rule, ...]:
    if "preset" in table:
        _only(table, ("preset",), where)
        return preset(str(table["preset"]))
    if "rule" not in table:
        raise ConfigError(
            f"{where}: it names no rule (found: {', '.join(table) or 'nothing'})",
            hint=f'rule = "NAME", one of {", ".join(KINDS)}; or preset = "NAME"',
        )
    kind = KINDS.get(str(table["rule"]))
    if kind is None:
        guess = nearest(str(table["rule"]), KINDS)
        raise ConfigError(
            f"{where}: no rule is called {table['rule']}",
            hint=f"did you mean {guess}?" if guess else f"rules: {', '.join(KINDS)}",
        )
    names = [one.name for one in _fields(kind)]
    _only(table, ("rule", *names), f"{where} ({kind.kind})")
    return (
        _rule(kind, {key: value for key, value in table.items() if key != "rule"}, f"{where} ({kind.kind})"),
    )


def _rule(kind: type[Rule], values: dict[str, Any], where: str) -> Rule:
    switches = {one.name for one in _fields(kind) if one.type is bool}
    limits = {one.name for one in _fields(kind) if "None" in str(one.type)}
    for name, value in values.items():
        if name in limits and value is False:
            values = {**values, name: None}
        elif name not in switches and isinstance(value, bool):
            raise ConfigError(
                f"{where}: {name} is a number, not {str(value).lower()}", hint=f"{name} = NUMBER"
            )
    try:
        rule: Rule = msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}", hint="a number, a word in quotes, true, or false") from None
    return rule


def _fields(kind: type[Rule]) -> tuple[Field[Any], ...]:
    return fields(kind)  # type: ignore[arg-type]


def _only(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in (names := list(known)):
            guess = nearest(key, names)
            raise ConfigError(
                f"{where}: unknown key {key}",
                hint=f"did you mean {guess}?" if guess else f"keys: {', '.join(names)}",
            )
