"""The shapes in which families of models call functions, and which of them a chat template speaks.

| form       | a call                                                               | families            |
|------------|----------------------------------------------------------------------|---------------------|
| hermes     | `<tool_call>{"name", "arguments"}</tool_call>`                         | Hermes, Qwen        |
| qwen-xml   | `<tool_call><function=NAME><parameter=KEY>value</parameter>…`          | Qwen3-Coder         |
| llama      | `{"name", "parameters"}`, maybe after `<|python_tag|>`                 | Llama 3.1 and later |
| mistral    | `[TOOL_CALLS][{"name", "arguments"}, …]`                               | Mistral until v7    |
| mistral-args | `[TOOL_CALLS]NAME[ARGS]{…}`                                          | Mistral from v11    |
| harmony    | `<|channel|>commentary to=functions.NAME<|message|>{…}`                | gpt-oss             |
| command-r  | `Action:` and a list of `{"tool_name", "parameters"}` in a code block  | Command R           |
| json       | `{"name", "arguments"}`, or a list, and nothing else                   | any other           |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

from llmkit.errors import ConfigError, nearest
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.bodies import (
    HARMONY_MARKS,
    HARMONY_SIGNS,
    harmony_body,
    json_body,
    mistral_body,
    nothing,
    xml_body,
)
from llmkit.tokens.tools.calls import CallFinder, CallReader, Syntax
from llmkit.tokens.tools.thoughts import ThoughtForm
from llmkit.tokens.tools.turns import ToolTurns, tool_turns

FormName = Literal["hermes", "qwen-xml", "llama", "mistral", "mistral-args", "harmony", "command-r", "json"]
FORMS: tuple[str, ...] = get_args(FormName)
_SIGNS: tuple[tuple[tuple[str, ...], FormName], ...] = (
    (HARMONY_SIGNS, "harmony"),
    (("[TOOL_CALLS]", "[ARGS]"), "mistral-args"),
    (("[TOOL_CALLS]",), "mistral"),
    (("<function=", "<parameter="), "qwen-xml"),
    (("<tool_call>",), "hermes"),
    (('"parameters": ', "ipython"), "llama"),
    (("<|python_tag|>",), "llama"),
    (("Action:", '"tool_name"'), "command-r"),
)
"""What a template of each form has in it; the first row that fits decides."""
_MARKS: dict[FormName, tuple[str, ...]] = {
    "hermes": ("<tool_call>", "</tool_call>"),
    "qwen-xml": ("<tool_call>", "</tool_call>"),
    "llama": ("<|python_tag|>",),
    "mistral": ("[TOOL_CALLS]",),
    "mistral-args": ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
    "harmony": HARMONY_MARKS,
    "command-r": (),
    "json": (),
}


@dataclass(frozen=True)
class ToolForm:
    """How one model calls functions."""

    name: FormName
    marks: Mapping[str, int]
    """Special tokens that belong to calls: what they spell, and their ids, which must show in a text."""
    in_words: bool = False
    """Whether the template says nothing of tools, so that the model is asked for JSON in words."""
    others: tuple[int, ...] = ()
    """The special tokens that do not belong to calls."""

    @property
    def shown(self) -> frozenset[int]:
        """Ids that must not be left out of the text."""
        return frozenset(self.marks.values())

    def reader(
        self,
        tools: Sequence[Mapping[str, Any]],
        *,
        parallel: bool = True,
        required: bool = False,
        thoughts: ThoughtForm | None = None,
        thinks: bool = False,
    ) -> CallReader:
        """What finds the calls of one text, and what is thought in it.

        Args:
            tools: functions that there are, as OpenAI writes them.
            parallel: whether there may be several calls; else nothing comes after the first.
            required: whether the text can be nothing but calls.
            thoughts: how the model thinks; None: what it thinks is text.
            thinks: whether the text begins within thoughts.
        """
        syntax = syntax_of(self.name, tools) if tools or self.name == "harmony" else Syntax({})
        if self.in_words and tools:
            asked = syntax_of("json", tools)
            syntax = Syntax(syntax.opens, {**asked.bare, **syntax.bare}, (*syntax.closes, *asked.closes))
        if thoughts is not None and self.name != "harmony":  # which has its own among its messages
            syntax = replace(syntax, bare={**thoughts.opens, **syntax.bare}, told_apart=True)
        begun = thoughts.body() if thoughts is not None and thinks else None
        return CallFinder(syntax, most=None if parallel else 1, required=required, begun=begun)


def form_of(tokenizer: Tokenizer, name: str | None = None, *, turns: ToolTurns | None = None) -> ToolForm:
    """How the model of a tokenizer calls functions.

    Args:
        tokenizer: its chat template decides.
        name: of the form, in place of what the template says.
        turns: how the template takes tools; None: it is tried out now.

    Raises:
        ConfigError: there is no form of this name.
    """
    known = form_in(tokenizer.for_tools.chat_template or "")
    check_form(name)
    if name is not None:
        known = next(form for form in get_args(FormName) if form == name)
    ids = tokenizer.special_ids
    marks = {mark: ids[mark] for mark in _MARKS[known] if mark in ids}
    return ToolForm(
        known,
        marks,
        in_words=not (turns or tool_turns(tokenizer)).shows_tools,
        others=tuple(sorted({*ids.values()} - {*marks.values()})),
    )


def check_form(name: str | None) -> None:
    """Refuse a form that there is not; None: none is named.

    Raises:
        ConfigError: there is no form of this name.
    """
    if name is not None and name not in FORMS:
        guess = nearest(name, FORMS)
        raise ConfigError(
            f"no form of tool calls is called {name!r}",
            hint=f"did you mean {guess!r}?" if guess else f"one of {', '.join(FORMS)}",
        )


def form_in(template: str) -> FormName:
    """The form that a chat template speaks."""
    return next((form for signs, form in _SIGNS if all(sign in template for sign in signs)), "json")


def syntax_of(form: FormName, tools: Sequence[Mapping[str, Any]]) -> Syntax:
    """How calls stand in a text of this form.

    Args:
        form: its name.
        tools: functions that there are.
    """
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
    bare = {one: partial(json_body, begun=one, names=schemas) for one in "{["}
    match form:
        case "hermes":
            return Syntax({"<tool_call>": json_body}, closes=("</tool_call>",))
        case "qwen-xml":
            opens = {
                "<tool_call>": partial(xml_body, schemas, opened=False),
                "<function=": partial(xml_body, schemas, opened=True),
            }
            return Syntax(opens, closes=("</tool_call>",))
        case "llama":
            return Syntax({"<|python_tag|>": json_body}, bare, closes=(";", ","))
        case "mistral" | "mistral-args":
            return Syntax({"[TOOL_CALLS]": mistral_body})
        case "harmony":
            ends = dict.fromkeys(("<|end|>", "<|return|>", "<|call|>"), nothing)
            message = partial(harmony_body, calls=bool(schemas))
            to = " to=functions."  # right behind the role, which the prompt ends with
            first = {to: partial(message, begun=to)}
            return Syntax({"<|channel|>": message, "<|start|>": message, **ends}, first)
        case "command-r":
            return Syntax({"Action:": partial(json_body, before="```json")}, closes=("```",))
        case "json":
            fenced = {fence: partial(json_body, names=schemas) for fence in ("```json", "```\n")}
            return Syntax({}, {**bare, **fenced}, closes=("```",))
