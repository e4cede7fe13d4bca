"""What a text must be where functions may be called: calls, an answer under its own rule, or anything."""

from collections.abc import Sequence
from typing import Any

from llmkit.engine.grammar import Rule
from llmkit.errors import LlmkitError
from llmkit.server.ask import ToolChoice
from llmkit.server.errors import as_api_error, refused
from llmkit.tokens.tools.forms import ToolForm
from llmkit.tokens.tools.grammar import calls_grammar, strict_grammar


def call_rule(
    form: ToolForm,
    tools: Sequence[dict[str, Any]],
    choice: ToolChoice,
    *,
    parallel: bool,
    answer: Rule | None,
) -> Rule | None:
    """The rule of a text; None: it is free.

    Args:
        form: how the model calls functions.
        tools: those that it is told of.
        choice: whether it must call one.
        parallel: whether there may be several calls.
        answer: the rule for a text that calls nothing; None: it has none.

    Raises:
        ApiError: 400: a required call and a rule for an answer; or a schema that calls cannot be held to.
    """
    if answer is not None and choice.mode == "required":
        raise refused("tool_choice", "a call that is required cannot have a response_format too")
    if not tools:
        return answer
    try:
        if answer is None and choice.mode == "auto":
            source = strict_grammar(form, tools)
        else:
            source = calls_grammar(form, tools, name=choice.name, parallel=parallel, answer=answer)
    except LlmkitError as error:
        raise as_api_error(error, "tools") from None
    return None if source is None else ("tools", source)
