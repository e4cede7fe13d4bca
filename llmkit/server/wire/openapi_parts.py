"""What is nested in bodies: messages, their parts and calls, tools, formats; as schemas of the checks that
`messages_in`, `message_blocks`, `response_items`, `tools` and `sampling` make."""

from llmkit.server.wire import responses
from llmkit.server.wire.json_schema import (
    ANYTHING,
    FLAG,
    JSON_OBJECT,
    NULL,
    OBJECT,
    REGEX,
    SOME_TEXT,
    TEXT,
    Schema,
    array,
    either,
    one_of,
    or_null,
    record,
    reference,
)
from llmkit.server.wire.messages_in import ROLES
from llmkit.server.wire.tools import NAME_PATTERN

_PARTS = ("text", "input_text", "output_text", "refusal")
_NAME: Schema = {"type": "string", "pattern": NAME_PATTERN}
_CHOICE = one_of("none", "auto", "required")
_UNREAD = {"annotations": ANYTHING, "executed_tools": ANYTHING, "citations": ANYTHING}
_ASIDE = {
    **dict.fromkeys(("name", "tool_call_id", "reasoning_content", "reasoning"), or_null(TEXT)),
    **dict.fromkeys(("audio", "function_call"), NULL),
    **_UNREAD,
}


def _block(kind: str, **fields: Schema) -> Schema:
    """A block of Anthropic's; keys that are not known, such as cache_control, are passed over."""
    return record({"type": {"const": kind}, **fields}, required=("type", *fields), more=True)


def _result(kind: str) -> Schema:
    fields = {"type": {"const": kind}, "tool_use_id": TEXT, "content": reference("Content")}
    return record(fields, required=("type", "tool_use_id"), more=True)


def _message(role: Schema, content: Schema) -> Schema:
    return record({"role": role, "content": content}, required=("role", "content"))


def _allowed(**of: Schema) -> dict[str, Schema]:
    """What may be called: functions, each with these fields."""
    one = record({"type": one_of("function"), **of}, required=("type", *of))
    return {"mode": one_of("auto", "required"), "tools": array(one, least=1)}


_NAMED = record({"name": TEXT}, required=("name",))
_USE = {"id": TEXT, "name": TEXT, "input": OBJECT}
_USES = (_block("tool_use", **_USE), _block("mcp_tool_use", **_USE))
_SAID = _block("text", text=TEXT)
_THOUGHT = _block("thinking", thinking=TEXT)
_THOUGHTS = array(either(*(_block(f"{of}_text", text=TEXT) for of in ("reasoning", "summary"))), least=1)
_RESULTS = (_result("tool_result"), _result("mcp_tool_result"))

PARTS: dict[str, Schema] = {
    "Content": either(TEXT, array(reference("TextPart"))),
    "TextPart": either(
        record({"type": one_of(*_PARTS), "text": TEXT}, required=("type", "text"), more=True),
        record({"type": one_of("refusal"), "refusal": TEXT}, required=("type", "refusal")),
    ),
    "MadeCall": record(
        {
            "id": TEXT,
            "type": one_of("function"),
            "function": record(
                {"name": TEXT, "arguments": either(OBJECT, JSON_OBJECT)},
                required=("name", "arguments"),
                more=True,
            ),
        },
        required=("function",),
        more=True,
    ),
    "ChatMessage": either(
        record(
            {
                "role": one_of(*ROLES),
                "content": reference("Content"),
                "tool_calls": one_of(None, []),
                "refusal": or_null(TEXT),
                **_ASIDE,
            },
            required=("role", "content"),
        ),
        record(
            {
                "role": one_of("assistant"),
                "content": or_null(reference("Content")),
                "tool_calls": array(reference("MadeCall"), least=1),
                "refusal": or_null(TEXT),
                **_ASIDE,
            },
            required=("role", "tool_calls"),
        ),
        record(
            {"role": one_of("assistant"), "content": NULL, "refusal": TEXT, **_ASIDE},
            required=("role", "refusal"),
        ),
    ),
    "Tool": record(
        {
            "type": one_of("function"),
            "function": record(
                {"name": _NAME, "description": or_null(TEXT), "parameters": or_null(OBJECT)},
                required=("name",),
                more=True,
            ),
        },
        required=("type", "function"),
        more=True,
    ),
    "ToolChoice": either(
        _CHOICE,
        record({"type": one_of("function"), "function": _NAMED}, required=("type", "function")),
        record(
            {
                "type": one_of("allowed_tools"),
                "allowed_tools": record(_allowed(function=_NAMED), required=("mode", "tools")),
                "mode": TEXT,  # some clients say it twice
            },
            required=("type", "allowed_tools"),
        ),
    ),
    "ResponseFormat": either(
        record({"type": one_of("text")}, required=("type",), more=True),
        record({"type": one_of("json_object"), "schema": or_null(OBJECT)}, required=("type",), more=True),
        record(
            {
                "type": one_of("json_schema"),
                "json_schema": record({"schema": OBJECT}, required=("schema",), more=True),
            },
            required=("type", "json_schema"),
            more=True,
        ),
        record({"type": one_of("regex"), "regex": REGEX}, required=("type", "regex"), more=True),
        record({"type": one_of("grammar"), "grammar": TEXT}, required=("type", "grammar"), more=True),
        record(
            {"type": one_of("choice"), "choice": array(SOME_TEXT, least=1)},
            required=("type", "choice"),
            more=True,
        ),
    ),
    "ResponseItem": either(
        record(
            {"type": one_of("message"), "role": one_of(*ROLES), "content": reference("Content")},
            required=("role", "content"),
            more=True,
        ),
        *(
            record({"type": one_of("reasoning"), where: _THOUGHTS}, required=("type", where), more=True)
            for where in ("content", "summary")
        ),
        record(
            {"type": one_of("function_call"), "call_id": TEXT, "name": TEXT, "arguments": JSON_OBJECT},
            required=("type", "name", "arguments"),
            more=True,
        ),
        record(
            {"type": one_of("function_call_output"), "call_id": TEXT, "output": reference("Content")},
            required=("type", "call_id", "output"),
            more=True,
        ),
        record(
            {
                **{"type": one_of("mcp_call"), "id": TEXT, "name": TEXT, "arguments": JSON_OBJECT},
                **dict.fromkeys(("output", "error"), or_null(reference("Content"))),
            },
            required=("type", "id", "name", "arguments"),
            more=True,
        ),
    ),
    "ResponseTool": record(
        {
            "type": one_of("function"),
            "name": _NAME,
            "description": or_null(TEXT),
            "parameters": or_null(OBJECT),
        },
        required=("type", "name"),
        more=True,
    ),
    "ResponseToolChoice": either(
        reference("ToolChoice"),
        record({"type": one_of("function"), "name": TEXT}, required=("type", "name")),
        record({"type": one_of("allowed_tools"), **_allowed(name=TEXT)}, required=("type", "mode", "tools")),
    ),
    "ResponseMetadata": {
        **record({}, more={"type": "string", "maxLength": responses.MOST_VALUE}),
        "propertyNames": {"type": "string", "maxLength": responses.MOST_NAME},
        "maxProperties": responses.MOST_METADATA,
    },
    "ResponseText": record(
        {
            "format": or_null(
                either(
                    record({"type": one_of("text", "json_object")}, required=("type",), more=True),
                    record(
                        {"type": one_of("json_schema"), "schema": OBJECT},
                        required=("type", "schema"),
                        more=True,
                    ),
                )
            ),
            "verbosity": one_of(None, "medium"),
        }
    ),
    "AnthropicFormat": record(
        {"type": one_of("json_schema"), "schema": OBJECT}, required=("type", "schema"), more=True
    ),
    "AnthropicMessage": either(
        _message(one_of("system"), reference("Content")),
        _message(one_of("user"), either(TEXT, array(either(_SAID, *_RESULTS)))),
        _message(
            one_of("assistant"),
            either(
                TEXT,
                array(either(_SAID, _THOUGHT, *_USES, *_RESULTS)),
            ),
        ),
    ),
    "AnthropicTool": record(
        {"type": one_of("custom"), "name": _NAME, "description": TEXT, "input_schema": OBJECT},
        required=("name", "input_schema"),
        more=True,
    ),
    "AnthropicToolChoice": either(
        record(
            {"type": one_of("auto", "none", "any"), "disable_parallel_tool_use": FLAG},
            required=("type",),
            more=True,
        ),
        record(
            {"type": one_of("tool"), "name": TEXT, "disable_parallel_tool_use": FLAG},
            required=("type", "name"),
            more=True,
        ),
    ),
}
"""By their names in the document."""
