"""A conversation as the text a model was trained on, by its chat template."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jinja2

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.tokens.content_parts import check_parts, joined_parts
from llmkit.tokens.templates import REFUSALS, compile_template, render_with_generations
from llmkit.tokens.tokenizer import Tokenizer, token_content

_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
REASONING = ("reasoning_content", "thinking", "reasoning")

Result = TypeVar("Result")


def render_chat(
    tokenizer: Tokenizer,
    messages: list[dict[str, Any]],
    *,
    tools: list[dict[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """The text of a conversation, equal to transformers' `apply_chat_template(tokenize=False)`.

    With tools it is the template called "tool_use" that is rendered, where there is one.

    Encode it without adding special tokens: the template writes them itself.

    Args:
        tokenizer: whose template.
        messages: {"role", "content", "tool_calls"?, …}, handed to the template as they are, but for a
            content in parts of text, which is one text.
        tools: JSON schemas of the functions that the model may call.
        add_generation_prompt: end with the opening of the assistant's turn.
        settings: what a template asks for beside all that, such as enable_thinking.

    Raises:
        MissingError: the tokenizer has no chat template.
        ConfigError: it does not parse.
        DataError: the template refuses these messages, or a part of one is no text.
    """

    def render(template: jinja2.Template, given: dict[str, Any]) -> str:
        return template.render({**(settings or {}), **given})

    return _rendered(tokenizer, messages, tools, add_generation_prompt, render)


def render_generations(
    tokenizer: Tokenizer, messages: list[dict[str, Any]], *, tools: list[dict[str, Any]] | None = None
) -> tuple[str, list[tuple[int, int]]]:
    """`render_chat`, and the character ranges of what stands in the template's generation blocks.

    Raises:
        MissingError, ConfigError, DataError: see `render_chat`.
    """
    return _rendered(tokenizer, messages, tools, False, render_with_generations)


def _rendered(
    tokenizer: Tokenizer,
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]] | None,
    add_generation_prompt: bool,
    render: Callable[[jinja2.Template, dict[str, Any]], Result],
) -> Result:
    if tools is not None:
        tokenizer = tokenizer.for_tools
    if tokenizer.chat_template is None:
        raise MissingError(
            "the tokenizer has no chat template",
            hint="a base model goes on from a text: llmkit generate; for a chat model put its "
            "chat_template.jinja beside tokenizer.json",
        )
    try:
        template = compile_template(tokenizer.chat_template)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(
            f"chat template, line {error.lineno}: {error.message}", hint="mend chat_template.jinja"
        ) from None
    given = {"documents": None, "add_generation_prompt": add_generation_prompt, **_special_tokens(tokenizer)}
    given["messages"] = [_plain(message, place) for place, message in enumerate(messages)]
    try:
        try:
            return render(template, given | {"tools": tools})
        except TypeError:
            if tools is not None:
                raise
            # a tool-use template that goes through tools unasked
            return render(template, given | {"tools": []})
    except REFUSALS as error:
        found = ", ".join(str(message.get("role")) for message in messages) or "no messages"
        raise DataError(
            f"the chat template refuses these messages: {error} (found roles: {found})",
            hint="llmkit show TOKENIZER --template prints it; every message needs a role and content",
        ) from None


def _plain(message: dict[str, Any], place: int) -> dict[str, Any]:
    """A message without its empty keys, its text in one piece, its reasoning as templates call it."""
    message = {key: value for key, value in message.items() if value is not None}
    if "content" in message:
        check_parts(message["content"], f"messages[{place}].content")
        message["content"] = joined_parts(message["content"])
    reasoning = next((message[name] for name in REASONING if name in message), None)
    return (
        message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}
    )


def _special_tokens(tokenizer: Tokenizer) -> dict[str, Any]:
    """The special tokens by the names that templates know them by; one that is not set is undefined."""
    tokens: dict[str, Any] = {}
    for name in _NAMED_TOKENS:
        content = token_content(tokenizer.config.get(name))
        if content is not None:
            tokens[name] = content
    more = tokenizer.config.get("extra_special_tokens") or tokenizer.config.get("additional_special_tokens")
    if isinstance(more, list) and more:
        tokens["additional_special_tokens"] = [token_content(one) for one in more]
    elif isinstance(more, dict):
        tokens |= {name: token_content(one) for name, one in more.items()}
    return tokens
