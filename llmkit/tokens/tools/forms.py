"""The shapes in which families of models call functions, and which of them a chat template speaks.

| form       | a call                                                               | families            |
|------------|----------------------------------------------------------------------|---------------------|
| hermes     | `<tool_call>{"name", "arguments"}</tool_call>`                         | Hermes, Qwen        |
| qwen-xml   | `<tool_call><function=NAME><parameter=KEY>value</parameter>…`          | Qwen3-Coder         |
| seed       | `<seed:tool_call><function=NAME><parameter=KEY>value</parameter>…`     | Seed-OSS            |
| minimax    | `<minimax:tool_call><invoke name="NAME"><parameter name="KEY">value…`  | MiniMax-M2          |
| glm        | `<tool_call>NAME<arg_key>KEY</arg_key><arg_value>value</arg_value>…`   | GLM-4.5 and later   |
| llama      | `{"name", "parameters"}`, maybe after `<|python_tag|>`                 | Llama 3.1 and later |
| mistral    | `[TOOL_CALLS][{"name", "arguments"}, …]`                               | Mistral until v7    |
| mistral-args | `[TOOL_CALLS]NAME[ARGS]{…}`                                          | Mistral from v11    |
| harmony    | `<|channel|>commentary to=functions.NAME<|message|>{…}`                | gpt-oss             |
| command-a  | `<|START_ACTION|>` and a list of `{"tool_name", "parameters"}`         | Command R7B and A   |
| deepseek   | `<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}`                           | DeepSeek-V3 to V3.1 |
| kimi       | `<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{…}`   | Kimi K2             |
| granite    | `<|tool_call|>` and a list of `{"name", "arguments"}`                  | Granite 3, Phi-4    |
| command-r  | `Action:` and a list of `{"tool_name", "parameters"}` in a code block  | Command R           |
| json       | `{"name", "arguments"}`, or a list, and nothing else                   | any other           |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

from llmkit.errors import ConfigError, nearest
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.bodies import (
    DEEPSEEK_MARKS,
    HARMONY_MARKS,
    HARMONY_SIGNS,
    KIMI_MARKS,
    deepseek_body,
    harmony_body,
    json_body,
    kimi_body,
    mistral_body,
    nothing,
)
from llmkit.tokens.tools.calls import Body, CallFinder, CallReader, Syntax
from llmkit.tokens.tools.tagged import GLM, MINIMAX, QWEN, SEED, tagged_body
from llmkit.tokens.tools.thoughts import ThoughtForm
from llmkit.tokens.tools.turns import ToolTurns, tool_turns

FormName = Literal[
    "hermes",
    "qwen-xml",
    "seed",
    "minimax",
    "glm",
    "llama",
    "mistral",
    "mistral-args",
    "harmony",
    "command-r",
    "command-a",
    "deepseek",
    "kimi",
    "granite",
    "json",
]
FORMS: tuple[str, ...] = get_args(FormName)
_SIGNS: tuple[tuple[tuple[str, ...], FormName], ...] = (
    (HARMONY_SIGNS, "harmony"),
    (("[TOOL_CALLS]", "[ARGS]"), "mistral-args"),
    (("[TOOL_CALLS]",), "mistral"),
    (("<seed:tool_call>",), "seed"),
    (("<minimax:tool_call>",), "minimax"),
    (("<arg_key>", "<arg_value>"), "glm"),
    (("<function=", "<parameter="), "qwen-xml"),
    (("<|tool_call_argument_begin|>",), "kimi"),
    (("<｜tool▁sep｜>",), "deepseek"),
    (("<|START_ACTION|>",), "command-a"),
    (("<|tool_call|>",), "granite"),
    (("<tool_call>",), "hermes"),
    (('"parameters": ', "ipython"), "llama"),
    (("<|python_tag|>",), "llama"),
    (("Action:", '"tool_name"'), "command-r"),
)
"""What a template of each form has in it; the first row that fits decides."""
_MARKS: dict[FormName, tuple[str, ...]] = {
    "hermes": ("<tool_call>", "</tool_call>"),
    "qwen-xml": ("<tool_call>", "</tool_call>"),
    "seed": ("<seed:tool_call>", "</seed:tool_call>"),
    "minimax": ("<minimax:tool_call>", "</minimax:tool_call>"),
    "glm": ("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    "llama": ("<|python_tag|>",),
    "mistral": ("[TOOL_CALLS]",),
    "mistral-args": ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
    "harmony": HARMONY_MARKS,
    "command-r": (),
    "command-a": ("<|START_ACTION|>", "<|END_ACTION|>"),
    "deepseek": DEEPSEEK_MARKS,
    "kimi": KIMI_MARKS,
    "granite": ("<|tool_call|>", "<|/tool_call|>"),
    "json": (),
}
_MARKED_ANSWERS = ("harmony", "command-a")
"""Forms in which answers have marks too, whether there are functions or not."""
_TAGGED = {
    "qwen-xml": (QWEN, "tool_call"),
    "seed": (SEED, "seed:tool_call"),
    "minimax": (MINIMAX, "minimax:tool_call"),
}
"""The marks of a call, and the name of the mark around calls."""


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
        syntax = syntax_of(self.name, tools) if tools or self.name in _MARKED_ANSWERS else Syntax({})
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
        case "glm":
            return Syntax({"<tool_call>": partial(tagged_body, GLM, schemas)}, closes=("</tool_call>",))
        case "qwen-xml" | "seed" | "minimax":
            tags, mark = _TAGGED[form]
            opens = {
                f"<{mark}>": partial(tagged_body, tags, schemas),
                tags.name[0]: partial(tagged_body, tags, schemas, opened=True),
            }
            return Syntax(opens, closes=(f"</{mark}>",))
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
        case "deepseek":
            ends = dict.fromkeys((DEEPSEEK_MARKS[0], *DEEPSEEK_MARKS[3:]), nothing)
            return Syntax({DEEPSEEK_MARKS[1]: deepseek_body, **ends}, closes=("```",))
        case "kimi":
            ends = dict.fromkeys((KIMI_MARKS[0], *KIMI_MARKS[3:]), nothing)
            return Syntax({KIMI_MARKS[1]: kimi_body, **ends})
        case "granite":
            return Syntax({"<|tool_call|>": json_body}, closes=("<|/tool_call|>",))
        case "command-a":
            around = dict.fromkeys(("<|START_RESPONSE|>", "<|END_RESPONSE|>"), nothing)
            calls: dict[str, Callable[[], Body]] = {"<|START_ACTION|>": json_body} if tools else {}
            return Syntax({**calls, **around}, closes=("<|END_ACTION|>",))
        case "command-r":
            return Syntax({"Action:": partial(json_body, before="```json")}, closes=("```",))
        case "json":
            fenced = {fence: partial(json_body, names=schemas) for fence in ("```json", "```\n")}
            return Syntax({}, {**bare, **fenced}, closes=("```",))
