"""How calls are written, form by form, as grammars ask for them; how they are read is in tools/forms.py."""

from dataclasses import dataclass

from llmkit.tokens.tools.bodies import HARMONY_ANSWER
from llmkit.tokens.tools.forms import FormName


@dataclass(frozen=True)
class Shape:
    """A text of calls: `begin`, calls with `between` them, `end`; of each `before`, arguments, `after`."""

    before: str
    after: str = ""
    begin: str = ""
    between: str | None = None
    """None: there is never more than one."""
    end: str = ""
    answer: str = ""
    """Stands before a text that comes in place of calls."""


SHAPES: dict[FormName, Shape] = {
    "hermes": Shape('<tool_call>\n{"name": "NAME", "arguments": ', "}\n</tool_call>", between="\n"),
    "qwen-xml": Shape("<tool_call>\n<function=NAME>\n", "</function>\n</tool_call>", between="\n"),
    "seed": Shape("<seed:tool_call>\n<function=NAME>\n", "</function>\n</seed:tool_call>", between="\n"),
    "minimax": Shape(
        '<invoke name="NAME">\n',
        "</invoke>\n",
        "<minimax:tool_call>\n",
        "",
        "</minimax:tool_call>",
    ),
    "glm": Shape("<tool_call>NAME\n", "</tool_call>", between="\n"),
    "llama": Shape('{"name": "NAME", "parameters": ', "}"),
    "mistral": Shape('{"name": "NAME", "arguments": ', "}", "[TOOL_CALLS][", ", ", "]"),
    "mistral-args": Shape("[TOOL_CALLS]NAME[ARGS]", between=""),
    "harmony": Shape(
        "<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>", answer=HARMONY_ANSWER
    ),
    "command-a": Shape(
        '    {"tool_call_id": "0", "tool_name": "NAME", "parameters": ',
        "}",
        "<|START_ACTION|>[\n",
        ",\n",
        "\n]<|END_ACTION|>",
    ),
    "deepseek": Shape(
        "<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        "<｜tool▁calls▁begin｜>",
        "",
        "<｜tool▁calls▁end｜>",
    ),
    "kimi": Shape(
        "<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>",
        "<|tool_call_end|>",
        "<|tool_calls_section_begin|>",
        "",
        "<|tool_calls_section_end|>",
    ),
    "granite": Shape('{"name": "NAME", "arguments": ', "}", "<|tool_call|>[", ", ", "]"),
    "command-r": Shape(
        '    {\n        "tool_name": "NAME",\n        "parameters": ',
        "\n    }",
        "Action:\n```json\n[\n",
        ",\n",
        "\n]```",
    ),
    "json": Shape('{"name": "NAME", "arguments": ', "}"),
}


OPENS: dict[FormName, str] = {
    "hermes": "<tool_call>",
    "qwen-xml": "<tool_call>",
    "seed": "<seed:tool_call>",
    "minimax": "<minimax:tool_call>",
    "glm": "<tool_call>",
    "mistral": "[TOOL_CALLS]",
    "mistral-args": "[TOOL_CALLS]",
    "command-a": "<|START_ACTION|>",
    "deepseek": "<｜tool▁calls▁begin｜>",
    "kimi": "<|tool_calls_section_begin|>",
    "granite": "<|tool_call|>",
}
"""What begins a call and stands nowhere else: after it a text that may be anything is a call and no other."""


@dataclass(frozen=True)
class Argument:
    """An argument in marks of its own: what stands before and after its value."""

    before: str
    after: str
    value: str = "(?s:.*)"
    """A text to `after`."""


ARGUMENTS: dict[FormName, Argument] = {
    "qwen-xml": Argument(
        "<parameter=KEY>\n", "\n</parameter>\n", r"(?s:(([^<]|<[^\/]).*)?|<)"
    ),  # which does not begin with its end
    "seed": Argument("<parameter=KEY>", "</parameter>\n"),
    "minimax": Argument('<parameter name="KEY">', "</parameter>\n"),
    "glm": Argument("<arg_key>KEY</arg_key>\n<arg_value>", "</arg_value>\n"),
}
