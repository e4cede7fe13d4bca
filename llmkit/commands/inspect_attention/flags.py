"""The flags of `llmkit inspect-attention`: which text, which views and files, and how a model is opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from llmkit.commands.optional_value import OptionalValue
from llmkit.commands.shared import Seed, given_once, inputs_or_stdin
from llmkit.commands.values import MOST_AT_ONCE, parse_count
from llmkit.engine.config import Dtype, GenerateConfig
from llmkit.errors import UsageError
from llmkit.probe.attention.config import AblateBy
from llmkit.workflows.inspect_attention.config import (
    InspectFiles,
    InspectText,
    InspectViews,
    Probe,
    parse_heads,
    parse_ids,
    parse_layers,
    parse_range,
)

USAGE = "llmkit inspect-attention run 'def main'"
HEADS = OptionalValue("all", lambda word: word[:1].isdecimal() and set(word) <= set("0123456789.,"))
Jsonl = Annotated[bool, Option("--jsonl", help="The table as lines: layer, head, class, score, figures.")]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which model, and which text: as two words, or by their options."""

    first: Annotated[str | None, Argument(metavar="MODEL", help="Model folder or GGUF file.")] = None
    second: Annotated[
        str | None, Argument(metavar="TEXT|FILE", help="A text, a file (text or jsonl), or - for stdin.")
    ] = None
    model: Annotated[Path | None, Option("--model", "-m", metavar="PATH", help="MODEL, as an option.")] = None
    prompt: Annotated[
        str | None, Option("--prompt", "-p", metavar="TEXT", help="A text, as an option: never a file.")
    ] = None

    def model_and_text(self) -> tuple[Path, str | None]:
        """What is asked for; the first word is the text where --model has the model.

        Raises:
            UsageError: no model, or one of them twice.
        """
        words = [word for word in (self.first, self.second) if word is not None]
        if self.model is None and not (words and words[0]):
            raise UsageError("inspect-attention: no model", hint=USAGE)
        model = Path(words.pop(0)) if self.model is None else self.model
        if len(words) > 1:
            raise UsageError(f"{words[0]} and --model are two models", hint="give one of them")
        text = given_once({"TEXT": words[0] if words else None, "--prompt": self.prompt})
        return model, text


@dataclass(frozen=True, kw_only=True)
class Text:
    """Which text is looked at."""

    tokens: Annotated[str | None, Option(metavar="IDS", help="Ids in place of a text: 1,17,4.")] = None
    record: Annotated[
        str | None, Option(metavar="N", help="Of jsonl: a number from 1, or an id; default the first.")
    ] = None
    field: Annotated[str, Option(metavar="KEY", help="Of jsonl: the text's key.")] = InspectText.field
    max_tokens: Annotated[
        int | None, Option(min=1, parser=parse_count, metavar="N", help="Cut the text.")
    ] = None
    probe: Annotated[Probe | None, Option(help="A text of random tokens, and the same again.")] = (
        InspectText.probe
    )
    probe_tokens: Annotated[
        int | None,
        Option(min=2, parser=parse_count, metavar="N", help="How many come twice.", show_default="50"),
    ] = InspectText.probe_tokens
    seed: Seed = InspectText.seed

    def config(self, text: str | None, *, is_words: bool) -> InspectText:
        """The text as the workflow takes it: stdin where none is given.

        Args:
            text: that is named.
            is_words: whether it is the text itself, whatever files there are.

        Raises:
            UsageError: there is none, and stdin is a terminal; or --tokens is no list of ids.
        """
        if text is None and self.tokens is None and self.probe is None:
            (stdin,) = inputs_or_stdin(None, USAGE)
            text = str(stdin)
        return InspectText(
            given=text,
            is_words=is_words,
            tokens=None if self.tokens is None else parse_ids(self.tokens),
            record=self.record,
            field=self.field,
            max_tokens=self.max_tokens,
            probe=self.probe,
            probe_tokens=self.probe_tokens,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class Views:
    """What is looked at, and how."""

    layers: Annotated[str | None, Option(metavar="LIST", help="Only these, from 0: 0,2-4.")] = None
    heads: Annotated[
        str | None,
        Option(metavar="[LIST]", parser=HEADS, help="Only these: 1.0,3.7 (LAYER.HEAD); alone: all."),
    ] = None
    query: Annotated[
        str | None, Option(metavar="N", help="What one token looks at: its place, -1 the last, or its text.")
    ] = None
    show_map: Annotated[bool, Option("--map", help="Draw each head's matrix.")] = InspectViews.map
    rows: Annotated[str | None, Option(metavar="A:B", help="Queries of maps and files.")] = None
    cols: Annotated[str | None, Option(metavar="A:B", help="Keys of them.")] = None
    before_softmax: Annotated[bool, Option("--before-softmax", help="Scores in place of weights.")] = (
        InspectViews.before_softmax
    )
    worked: Annotated[bool, Option("--worked", help="One head's arithmetic for --query, step by step.")] = (
        InspectViews.worked
    )
    lens: Annotated[bool, Option("--lens", help="What the model would say after each layer.")] = (
        InspectViews.lens
    )
    ablate: Annotated[
        str | None, Option(metavar="LIST", help="Take heads out, one at a time: 1.0,3.7, or all.")
    ] = None
    ablate_by: Annotated[
        AblateBy, Option(help="What stands in a head's place: zero, or its mean over the text.")
    ] = InspectViews.ablate_by
    attribute: Annotated[
        bool, Option("--attribute", help="A logit in parts: what each head puts in directly.")
    ] = InspectViews.attribute
    answer: Annotated[
        str | None,
        Option(metavar="TOKEN", help="That these three follow; id:N too.", show_default="the model's"),
    ] = InspectViews.answer
    diff: Annotated[
        Path | None, Option(metavar="OTHER", help="Another model, or an adapter: which heads moved.")
    ] = InspectViews.diff
    expect: Annotated[
        list[str] | None,
        Option(metavar="CLASS[:X]", help="Exit 1 where no head is one: induction:0.5. Repeatable."),
    ] = None

    def config(self) -> InspectViews:
        """The views as the workflow takes them.

        Raises:
            UsageError: a list of layers or heads, or a range, that is none.
        """
        taken_out = None if self.ablate in (None, "all") else parse_heads(self.ablate, "--ablate")
        return InspectViews(
            layers=None if self.layers is None else parse_layers(self.layers),
            heads=None if self.heads in (None, HEADS.left_out) else parse_heads(self.heads),
            query=self.query,
            rows=None if self.rows is None else parse_range(self.rows, "--rows"),
            cols=None if self.cols is None else parse_range(self.cols, "--cols"),
            before_softmax=self.before_softmax,
            map=self.show_map,
            worked=self.worked,
            lens=self.lens,
            answer=self.answer,
            ablate="all" if self.ablate == "all" else taken_out,
            ablate_by=self.ablate_by,
            attribute=self.attribute,
            diff=self.diff,
            expect=tuple(self.expect or ()),
        )


@dataclass(frozen=True, kw_only=True)
class Files:
    """What is written beside the report."""

    edges: Annotated[
        Path | None, Option(metavar="FILE", help="Strongest keys of each query, as jsonl; - is stdout.")
    ] = InspectFiles.edges
    top_k: Annotated[int, Option(min=1, metavar="N", help="Of each query, in --edges.")] = InspectFiles.top_k
    save: Annotated[
        Path | None, Option("--save", "-o", metavar="FILE", help="Whole matrices, as safetensors.")
    ] = InspectFiles.save
    html: Annotated[
        Path | None, Option(metavar="FILE", help="A page to look around in; it needs no network.")
    ] = InspectFiles.html
    svg: Annotated[Path | None, Option(metavar="FILE", help="The maps as a drawing.")] = InspectFiles.svg
    png: Annotated[Path | None, Option(metavar="FILE", help="The maps as a picture.")] = InspectFiles.png


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How the model is opened, and where it runs."""

    adapter: Annotated[
        str | None, Option(metavar="PATH", help="An adapter in the model: PATH or PATH:STRENGTH.")
    ] = None
    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="In place of the model's own.")
    ] = None
    dtype: Annotated[Dtype, Option(help="Of the arithmetic; auto: as stored.")] = GenerateConfig.dtype
    rope_scaling: Annotated[
        str | None, Option(metavar="KIND:X", help="For texts beyond the model's context: yarn:2.")
    ] = None
    allow_special: Annotated[
        bool, Option("--allow-special", help="Text that looks like a special token is one.")
    ] = False
    device: Annotated[str, Option(metavar="NAME", help="auto, cpu, cuda, cuda:N.")] = "auto"
    threads: Annotated[int | None, Option(min=1, max=MOST_AT_ONCE, metavar="N", help="CPU threads.")] = None
