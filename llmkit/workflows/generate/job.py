"""What `llmkit generate` needs before any weight is read: opened, resolved, checked. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engine.breaks import breaks_of
from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.generation_config import model_defaults, unfollowed
from llmkit.engine.grammar import Grammars, Rule
from llmkit.engine.request import Request
from llmkit.errors import ConfigError, DataError, MissingError, UsageError
from llmkit.formats.provenance import read_provenance
from llmkit.formats.streams import STDIO, check_output, require_inputs
from llmkit.kernels.library import unbuilt
from llmkit.model.config import ModelConfig
from llmkit.model.pooling import Pooling, read_pooling, with_head_of
from llmkit.model.source import (
    check_model,
    read_model_generation,
    read_model_tensors,
)
from llmkit.model.stretched import read_stretched
from llmkit.retrieve.tools.loop import Toolbox
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.artefact import holds_tokenizer
from llmkit.workflows.generate.adapter import NO_ADAPTERS, AdapterSources, adapter_path, open_adapters
from llmkit.workflows.generate.cache import check_cache_options
from llmkit.workflows.generate.device import device_named
from llmkit.workflows.generate.draft import Drafts, draft_paths, open_drafts
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.parts import check_parts
from llmkit.workflows.generate.template_kwargs import unread
from llmkit.workflows.generate.tool_check import check_tool_options

if TYPE_CHECKING:
    from llmkit.server.thinking import Thinking
    from llmkit.tokens.tools.forms import ToolForm
    from llmkit.workflows.generate.row_template import RowTemplate
    from llmkit.workflows.tool.talk import ToolTalk

_HEADLESS = "has no head, as a model made for vectors; its embedding stands in for one"


@dataclass(frozen=True)
class Job:
    """A request to write texts, with everything known that can be known without the weights."""

    files: GenerateFiles
    config: GenerateConfig
    model: ModelConfig
    tokenizer: Tokenizer | None
    encoder: PromptEncoder | None
    sampling: SamplingConfig
    """What holds where a row says nothing else: flags, then generation_config.json, then our defaults."""
    stop_ids: frozenset[int]
    """Ids that end every text."""
    notes: tuple[str, ...]
    """What a person should know."""
    rope_scaling: Mapping[str, Any] | None = None
    """In place of the one in config.json; None: that one. `model` has it already."""
    grammars: Grammars | None = None
    """None where there is no tokenizer."""
    drafts: Drafts | None = None
    """What guesses at tokens ahead."""
    template: "RowTemplate | None" = None
    """Makes the prompt of a row."""
    adapters: AdapterSources = NO_ADAPTERS
    """What requests may name beside the base."""
    talk: "ToolTalk | None" = None
    """How the model is told of what it may call; None: it may call nothing."""

    @property
    def writes_json(self) -> bool:
        """Whether records come out, not bare text."""
        return self.config.as_json or self.files.jsonl is not None

    @cached_property
    def pooling(self) -> Pooling:
        """How vectors are made of the model's hidden states.

        Raises:
            ConfigError, DataError: see `read_pooling`.
        """
        return read_pooling(self.files.model)

    @cached_property
    def thinking(self) -> "Thinking":
        """How the model thinks; the job has a tokenizer."""
        from llmkit.server.thinking import Thinking  # chats alone wait for it

        assert self.tokenizer is not None
        return Thinking(self.tokenizer, self.model.vocab_size)

    @cached_property
    def tool_form(self) -> "ToolForm":
        """How the model calls functions; the job has a tokenizer."""
        from llmkit.tokens.tools.forms import form_of  # those alone who offer some wait for it

        assert self.tokenizer is not None and self.encoder is not None
        return form_of(self.tokenizer, turns=self.encoder.tool_turns)

    def bound(self, request: Request, rule: Rule | None) -> Request:
        """A request with what takes a tokenizer: the grammar of its rule, and the breaks of its repetitions.

        Raises:
            ConfigError, DataError, MissingError: see `Grammars.compile`.
        """
        grammar = None if rule is None or self.grammars is None else self.grammars.compile_rule(rule)
        return replace(request, grammar=grammar, breaks=breaks_of(request.sampling, self.tokenizer))


def open_job(files: GenerateFiles, config: GenerateConfig, toolbox: Toolbox | None = None) -> Job:
    """Read everything but weights and prompts.

    Args:
        files: what to read and where to write.
        config: how.
        toolbox: files.tools, opened.

    Raises:
        UsageError: options that do not go together, or an output that is there already or is an input.
        ConfigError: config.json or generation_config.json asks for something impossible.
        DataError: a damaged file, or a tokenizer that is not the model's.
        MissingError: a file is not there, or a tokenizer is needed and there is none.
    """
    _check_options(files, config)
    if toolbox is not None:
        check_tool_options(files, config)
    read = [*files.every_input, *map(adapter_path, config.adapters), *draft_paths(config)]
    for path in (files.out, files.rejects):
        check_output(path, force=files.force or files.may_be_done(config), inputs=read)
    require_inputs(files.inputs)
    check_model(files.model)
    model, scaling = read_stretched(files.model, config.rope_scaling)
    check_cache_options(files, config, model)
    tensors = read_model_tensors(files.model)  # their headers: a missing or truncated file is found now
    is_tied, model = model.tie_word_embeddings, with_head_of(model, files.model, tensors)
    check_parts(files.model, config, model, files.prompt_cache)
    generation, source = read_model_generation(files.model)
    sampling = _resolve(config.sampling, model_defaults(generation, source), source)
    needs_text = config.require is not None or sampling.rule is not None or config.extract_code
    needs_text = needs_text or toolbox is not None
    tokenizer = _open_tokenizer(files, needs_text=needs_text)
    grammars = None if tokenizer is None else Grammars(tokenizer, model.vocab_size)
    if grammars is not None:
        grammars.compile(sampling)  # a wrong schema is found now
    encoder = None if tokenizer is None else PromptEncoder(tokenizer, allow_special=config.allow_special)
    talk = None
    if toolbox is not None and files.tools is not None:
        assert tokenizer is not None and encoder is not None and grammars is not None
        from llmkit.workflows.tool.talk import ToolTalk

        talk = ToolTalk(toolbox, tokenizer, encoder, choice=files.tools.choice)
        rule = talk.rule(sampling, 0)
        if rule is not None:
            grammars.compile_rule(rule)  # the same
    context = model.max_position_embeddings
    return Job(
        files=files,
        config=config,
        model=model,
        tokenizer=tokenizer,
        encoder=encoder,
        sampling=sampling,
        stop_ids=_stop_ids(generation, model, tokenizer),
        notes=(
            *(f"{source}: {name} is not followed" for name in unfollowed(generation, context)),
            *unread(config.template_kwargs, tokenizer),
            *_without_kernels(config),
            *([] if is_tied == model.tie_word_embeddings else [f"{files.model}: {_HEADLESS}"]),
        ),
        rope_scaling=scaling,
        grammars=grammars,
        drafts=open_drafts(config, files.model, model, tokenizer),
        template=_open_template(files.template),
        adapters=open_adapters(config.adapters),
        talk=talk,
    )


def _without_kernels(config: GenerateConfig) -> tuple[str, ...]:
    """A note where torch computes on a CPU, and nobody asked for it."""
    missing = unbuilt()
    if missing is None or config.kernels != "auto" or device_named(config.device) != "cpu":
        return ()
    return (f"torch computes, several times slower than our kernels: the native library is {missing}",)


def _open_template(path: Path | None) -> "RowTemplate | None":
    if path is None:
        return None
    from llmkit.workflows.generate.row_template import RowTemplate  # jinja2, for those who ask

    return RowTemplate(path)


def _check_options(files: GenerateFiles, config: GenerateConfig) -> None:
    rows, text = files.jsonl is not None, not config.as_json and files.jsonl is None
    wrong = {
        "--json": (config.as_json and rows, "with --jsonl, whose rows are JSON already"),
        "--echo": (config.echo and not text, "in JSON, which has the prompt"),
        "--system": (
            config.system is not None and not config.chat and not rows,
            "without --chat, or --jsonl with messages",
        ),
        "--chat-template-kwargs": (
            bool(config.template_kwargs) and not config.chat and not rows,
            "without --chat, or --jsonl with messages",
        ),
        "--prefill": (
            config.prefill is not None and not config.chat and not rows,
            "without --chat, or --jsonl with messages: a prompt can end with it",
        ),
        "--suffix": (config.suffix is not None and config.chat, "in a chat, which has no gap"),
        "--template": (files.template is not None and not rows, "without --jsonl: it is given a row's keys"),
        "--skip-bad": (files.skip_bad and not rows, "without --jsonl"),
        "--unordered": (config.unordered and not rows, "without --jsonl"),
        "--rejects": (files.rejects is not None and not rows, "without --jsonl"),
        "--resume": (
            files.resume and (not rows or files.out in (None, STDIO)),
            "without --jsonl and -o FILE",
        ),
        "--logprobs": ("logprobs" in config.sampling and text, "in plain text: add --json"),
        "--mark-below": (config.mark_below is not None and not text, "in JSON, which has --logprobs"),
    }
    for flag, (is_wrong, why) in wrong.items():
        if is_wrong:
            raise UsageError(f"{flag} does nothing {why}", hint="llmkit generate --help")
    excluded = {
        ("--resume", "--require"): files.resume and config.require is not None,
        ("--resume", "--rejects"): files.resume and files.rejects is not None,
        ("--extract-code", "--echo"): config.extract_code and config.echo,
        ("--extract-code", "--mark-below"): config.extract_code and config.mark_below is not None,
    }
    for (one, other), is_wrong in excluded.items():
        if is_wrong:
            raise UsageError(f"{one} and {other} exclude each other", hint="give one of them")


def _open_tokenizer(files: GenerateFiles, *, needs_text: bool) -> Tokenizer | None:
    """The tokenizer named, or the model's own; None where rows of tokens may need none.

    Raises:
        MissingError: there is none, and a prompt is text.
        DataError: it is not the one that the model was trained with.
    """
    if files.tokenizer is None:
        if holds_tokenizer(files.model):
            return load_tokenizer(files.model)
        if files.jsonl is None or needs_text:
            raise no_tokenizer(files.model)
        return None
    tokenizer = load_tokenizer(files.tokenizer)
    trained_with = (_provenance(files.model)).get("tokenizer_sha256")
    if trained_with is not None and tokenizer.sha256 != trained_with:
        raise DataError(
            f"{files.tokenizer}: not the tokenizer that {files.model} was trained with "
            f"(found sha256 {tokenizer.sha256[:12]}, {trained_with[:12]} in its llmkit.json)",
            hint="leave -t out to use the model's own",
        )
    return tokenizer


def _provenance(model: Path) -> dict[str, Any]:
    """What llmkit.json says; a GGUF file has none."""
    return (read_provenance(model) if model.is_dir() else None) or {}


def no_tokenizer(model: Path) -> MissingError:
    """The error where a text is to be encoded or written, and there is no tokenizer."""
    return MissingError(
        f"{model}: no tokenizer in this folder, and text needs one",
        hint="name it with -t TOKENIZER, or give rows of tokens with --jsonl",
    )


def _resolve(given: Mapping[str, Any], defaults: Mapping[str, Any], source: str) -> SamplingConfig:
    try:
        SamplingConfig(**defaults)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.problem}", hint=f"mend {source}") from None
    return SamplingConfig(**{**defaults, **given})


def _stop_ids(
    generation: Mapping[str, Any], model: ModelConfig, tokenizer: Tokenizer | None
) -> frozenset[int]:
    """Every id that ends a text: by generation_config.json, by config.json, by the tokenizer."""
    listed = generation.get("eos_token_id")
    ids = [*(listed if isinstance(listed, list) else [listed]), *model.eos_token_ids]
    ids.append(None if tokenizer is None else tokenizer.eos_id)
    return frozenset(one for one in ids if isinstance(one, int) and 0 <= one < model.vocab_size)
