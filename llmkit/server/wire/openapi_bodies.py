"""The bodies of requests as JSON schemas: what their structs take, and of that what is not refused by hand.

What no schema can say stays unsaid: that a text fits the context, that a grammar can be compiled, that a tool
which is chosen is one of the request's. What says a thing twice, such as two names for one limit, may be
taken if both agree; the schemas say it once.
"""

from collections.abc import Mapping
from itertools import combinations

import msgspec

from llmkit.engine.config import SAMPLERS
from llmkit.server.wire import chat, completions, infill, llama, messages, responses
from llmkit.server.wire.embeddings import MOST_INPUTS, EmbeddingRequest
from llmkit.server.wire.json_schema import (
    NULL,
    SOME_TEXT,
    TEXT,
    Schema,
    array,
    clash,
    either,
    integer,
    lacking,
    none_of,
    one_of,
    or_null,
    record,
    reference,
)
from llmkit.server.wire.lora import MOST_ADAPTERS, LoraScale
from llmkit.server.wire.openapi_sampling import (
    LIMITS,
    RULES,
    STOP,
    TRUE,
    Facts,
    drawn,
    named_model,
    sampling_clashes,
    sampling_fields,
    token_ids,
    unsaid,
)
from llmkit.server.wire.openapi_talk import chat_fields, forced, talk_fields, template_kwargs
from llmkit.server.wire.rerank import MOST_DOCUMENTS, RerankRequest
from llmkit.server.wire.tokenize import MOST_TOKENS, DetokenizeRequest, TemplateRequest, TokenizeRequest


def body_schema(kind: type[msgspec.Struct], facts: Facts, *, counts: bool = False) -> Schema:
    """The schema of a body.

    Args:
        kind: the struct that it is decoded into.
        facts: of the server.
        counts: whether its tokens are only counted.
    """
    fields, clashes = _NARROWED[kind](facts)
    if counts and "max_tokens" in fields:
        fields["max_tokens"] = or_null(fields["max_tokens"])
    schema = as_decoded(kind, fields)
    if kind is messages.MessagesRequest and not counts:
        schema["required"] = sorted({*schema["required"], "max_tokens"})
    return schema | none_of(*clashes) if clashes else schema


def as_decoded(kind: type[msgspec.Struct], fields: Mapping[str, Schema]) -> Schema:
    """The schema of a struct, with other schemas for some of its fields."""
    _, components = msgspec.json.schema_components((kind,), ref_template="#/components/schemas/{name}")
    schema: Schema = components[kind.__name__]
    for name, narrowed in fields.items():
        schema["properties"][name] = narrowed
    return schema


_SCORES: Schema = {
    "description": "And one more, times the tokens of all answers, and of the prompts that are echoed: "
    f"at most {LIMITS.scores:,}. A chat without max_tokens ends there."
}


def _completion(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    ids = token_ids(facts, least=1, most=None if facts.context is None else facts.context - 1)
    most = LIMITS.answers
    tokens = or_null(integer(minimum=0))
    fields = sampling_fields(facts) | unsaid(completions.HARMLESS)
    fields |= {
        "prompt": either(
            SOME_TEXT, ids, array(SOME_TEXT, least=1, most=most), array(ids, least=1, most=most)
        ),
        "max_tokens": tokens,
        "max_completion_tokens": tokens,
        "logprobs": or_null(integer(minimum=0, maximum=LIMITS.logprobs)) | _SCORES,
        "suffix": one_of(None, "") if facts.fills_gaps is False else or_null(TEXT),
    }
    prompts: Schema = {"type": "array", "items": {"type": ["string", "array"]}}
    crowds = [
        clash(n=integer(minimum=least), prompt={**prompts, "minItems": most // least + 1})
        for least in range(2, most + 1)
        if most // least != most // (least - 1)
    ]
    gap = {"type": "string", "minLength": 1}
    gaps = [clash(suffix=gap, echo=TRUE)]
    gaps += [clash(suffix=gap, prompt=array({"type": kind}, least=1)) for kind in ("integer", "array")]
    nothing = [
        lacking(clash(**{name: {"const": 0}}), echo=TRUE) for name in ("max_tokens", "max_completion_tokens")
    ]
    return fields, [*sampling_clashes(), *crowds, *nothing, *gaps]


def _chat(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    fields = sampling_fields(facts) | chat_fields(facts) | unsaid(chat.HARMLESS)
    fields |= {
        "max_completion_tokens": or_null(integer(minimum=1)),
        "top_logprobs": or_null(integer(minimum=0, maximum=LIMITS.logprobs)) | _SCORES,
        "chat_template_kwargs": or_null(template_kwargs()),
        "thinking_token_budget": or_null(integer(minimum=0)),
    }
    unscored = lacking(clash(top_logprobs=integer(minimum=1)), logprobs=TRUE)
    return fields, [*sampling_clashes(), unscored, *forced(one_of(None, "none", "auto"), RULES)]


def _response(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    fields = talk_fields(facts, "ResponseItem", "ResponseTool", "ResponseToolChoice")
    items = fields.pop("messages")
    fields |= drawn() | unsaid(responses.HARMLESS)
    fields |= {
        **{"input": either(SOME_TEXT, items), "metadata": or_null(reference("ResponseMetadata"))},
        "max_output_tokens": or_null(integer(minimum=1)),
        "text": or_null(reference("ResponseText")),
        "reasoning": or_null(record({"effort": or_null(TEXT), "summary": one_of(None, "auto")})),
    }
    return fields, [*forced(one_of(None, "none", "auto"), ("text",))]


def _message(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    fields = talk_fields(facts, "AnthropicMessage", "AnthropicTool", "AnthropicToolChoice")
    shown = {"display": one_of(None, "summarized")}
    fields |= drawn() | unsaid(messages.HARMLESS)
    fields |= {
        "max_tokens": integer(minimum=1),
        "top_k": or_null(integer(minimum=0)),
        "system": or_null(reference("Content")),
        "stop_sequences": or_null(array(STOP, most=LIMITS.stop_strings)),
        "output_config": or_null(record({"format": or_null(reference("AnthropicFormat"))})),
        "metadata": or_null(record({"user_id": TEXT}, required=("user_id",))),
        "thinking": either(
            NULL,
            record({"type": one_of("adaptive", "disabled"), **shown}, required=("type",)),
            record(
                {"type": one_of("enabled"), "budget_tokens": integer(minimum=1), **shown}, required=("type",)
            ),
        ),
    }
    free = either(NULL, record({"type": one_of("auto", "none")}, required=("type",), more=True))
    return fields, [*forced(free, ("output_config",))]


def _embedding(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    ids = token_ids(facts, least=1, most=facts.context)
    texts = array(SOME_TEXT, least=1, most=MOST_INPUTS)
    fields = {
        "model": named_model(facts, adapters=False),
        "input": either(SOME_TEXT, ids, texts, array(ids, least=1, most=MOST_INPUTS)),
        "encoding_format": one_of(None, "float", "base64"),
        "dimensions": or_null(integer(minimum=1, maximum=facts.hidden_size)),
    }
    return fields, []


def _infill(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    file = record({"text": TEXT, "filename": TEXT}, required=("text",), more=True)
    fields, clashes = _llama_fields(facts)
    return fields | {"input_extra": or_null(array(file, most=infill.MOST_FILES))}, clashes


def _llama(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    ids = token_ids(facts, least=1, most=None if facts.context is None else facts.context - 1)
    prompt = either(SOME_TEXT, ids, array(SOME_TEXT, least=1, most=1), array(ids, least=1, most=1))
    fields, clashes = _llama_fields(facts)
    return fields | {"prompt": prompt}, clashes


def _llama_fields(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    steps = one_of(*SAMPLERS, *llama.ELSEWHERE, *llama.OWN_PLACE)
    fields = sampling_fields(facts) | unsaid(llama.HARMLESS)
    fields |= {
        "n_predict": or_null(integer()),
        "max_completion_tokens": fields["max_tokens"],
        **dict.fromkeys(("n_indent", "t_max_predict_ms"), or_null(integer(minimum=0))),
        "repeat_penalty": fields["repetition_penalty"],
        "top_n_sigma": either(fields["top_n_sigma"], {"const": -1}),
        "response_fields": or_null(array(TEXT)),
        **{"n": one_of(None, 1), "n_probs": or_null(integer(minimum=0, maximum=LIMITS.logprobs))},
        "samplers": or_null({**array(steps), "uniqueItems": True}),
        "lora": or_null(array(reference(LoraScale.__name__), most=MOST_ADAPTERS)),
        **{name: or_null(integer()) for name in ("id_slot", "n_keep", "n_cache_reuse", "t_max_prompt_ms")},
    }
    twice: list[Schema] = [
        {"required": [name, other]}
        for name, other in (("n_predict", "max_tokens"), ("repeat_penalty", "repetition_penalty"))
    ]
    return fields, [*sampling_clashes(), *twice]


def _rerank(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    document = either(TEXT, record({"text": TEXT}, required=("text",), more=True))
    fields = {
        "model": named_model(facts),
        "query": {"type": "string", "pattern": r"\S"},
        "documents": array(document, least=1, most=MOST_DOCUMENTS),
        "top_n": or_null(integer(minimum=1)),
        "max_tokens_per_doc": or_null(integer(minimum=1)),
        "priority": or_null(integer()),
    }
    return fields, []


def _tokenize(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    talk = chat_fields(facts)
    fields = {"model": talk["model"], "tools": talk["tools"], "messages": talk["messages"]}
    fields |= {"prompt": TEXT, "content": TEXT, "chat_template_kwargs": or_null(template_kwargs())}
    texts = ("prompt", "content", "messages")
    several = [{"required": [one, other]} for one, other in combinations(texts, 2)]
    none = {"not": either(*({"required": [name]} for name in texts))}
    of_chats = clash(tools={"type": "array", "minItems": 1}), clash(chat_template_kwargs={"minProperties": 1})
    plain = clash(parse_special={"const": False}, messages={})
    return fields, [*several, none, plain, *(lacking(one, messages={}) for one in of_chats)]


def _detokenize(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    return {"model": named_model(facts), "tokens": token_ids(facts, most=MOST_TOKENS)}, []


def _template(facts: Facts) -> tuple[dict[str, Schema], list[Schema]]:
    talk = chat_fields(facts)
    fields = {name: talk[name] for name in ("model", "messages", "tools")}
    return fields | {"chat_template_kwargs": or_null(template_kwargs())}, []


_NARROWED = {
    completions.CompletionRequest: _completion,
    chat.ChatRequest: _chat,
    responses.ResponsesRequest: _response,
    messages.MessagesRequest: _message,
    EmbeddingRequest: _embedding,
    RerankRequest: _rerank,
    infill.InfillRequest: _infill,
    llama.LlamaRequest: _llama,
    TokenizeRequest: _tokenize,
    DetokenizeRequest: _detokenize,
    TemplateRequest: _template,
}
"""Of each struct: schemas of its fields, and what these cannot be together."""
