"""Look at a model's attention over one text: open, read, go through the layers, write what was asked for."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from llmkit.errors import DataError, UsageError
from llmkit.formats.atomic import refuse_existing, write_atomic
from llmkit.formats.documents import names_file
from llmkit.formats.json_text import printable
from llmkit.formats.streams import STDIO, open_output
from llmkit.model.source import check_model, is_adapter, model_files
from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.region import RegionMap, region_of
from llmkit.progress import SILENT, Progress
from llmkit.workflows.artefact import holds_tokenizer
from llmkit.workflows.inspect_attention.answer import answer_id, see_ablation, see_attribution, see_lens
from llmkit.workflows.inspect_attention.config import InspectFiles, InspectText, InspectViews, check_views
from llmkit.workflows.inspect_attention.expect import check_expected, parse_expected, thresholds
from llmkit.workflows.inspect_attention.files import save_maps, write_edges
from llmkit.workflows.inspect_attention.heads import Wanted, chosen_heads, look
from llmkit.workflows.inspect_attention.html import html_page, page_cells
from llmkit.workflows.inspect_attention.open import Inspected, InspectOptions, open_inspected
from llmkit.workflows.inspect_attention.picture import PNG_CELLS, SVG_CELLS, png_picture, svg_picture
from llmkit.workflows.inspect_attention.report import (
    DifferencePart,
    InspectReport,
    MapPart,
    TokenRow,
)
from llmkit.workflows.inspect_attention.text import Reading, read_text

MOST_MAPS = 12
"""Heads whose maps are drawn at once."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that was asked for."""

    options: InspectOptions
    text: InspectText
    views: InspectViews
    files: InspectFiles
    map_cells: tuple[int, int]
    """Most rows and columns of a map in the report."""


def inspect_attention(asked: Inspection, progress: Progress = SILENT) -> InspectReport:
    """Everything, as a report; files are written on the way.

    Raises:
        UsageError: flags that do not go together, heads or positions that are not there, an output that is
            there already or is an input.
        MissingError, ConfigError, DataError: see `open_inspected` and `read_text`; another model that
            does not belong beside the first.
    """
    _check(asked)
    opened = open_inspected(asked.options)
    config = opened.job.model
    views, files = asked.views, asked.files
    heads = chosen_heads(
        views, config.num_hidden_layers, config.num_attention_heads, config.layers_without_keys
    )
    count = sum(map(len, heads.values()))
    if views.map and count > MOST_MAPS:
        raise UsageError(
            f"--map would draw {count} heads", hint=f"--heads names up to {MOST_MAPS}; --png has all"
        )
    reading = read_text(opened, asked.text)
    query = find_query(reading.tokens, views.query)
    answer = answer_id(opened, views.answer)
    other = None if views.diff is None else _open_other(asked.options, views.diff, opened, reading)
    region = region_of(len(reading.ids), views.rows or (None, None), views.cols or (None, None))
    wanted = Wanted(
        heads=heads,
        views=views,
        query=query,
        statistics=views.only_table or bool(views.expect) or files.html is not None,
        pictures=_pictures(views, files, asked.map_cells, count),
        region=region,
    )
    with ExitStack() as stack:
        edges = None
        if files.edges is not None:
            edges = stack.enter_context(open_output(files.edges, force=files.force))

        def each(layer: Captured, of_layer: Sequence[int]) -> None:
            if edges is not None:
                write_edges(edges, layer, of_layer, region, reading.tokens, files.top_k)

        seen = look(opened, reading, wanted, other=other, each=each, progress=progress)
    report = InspectReport(
        model=str(asked.options.model),
        adapter=asked.options.adapter,
        source=reading.source,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        dtype=str(next(opened.model.parameters()).dtype).removeprefix("torch."),
        tokens=reading.tokens,
        thresholds=thresholds(),
        before_softmax=views.before_softmax,
        heads=seen.heads if wanted.statistics else None,
        maps=[_map_part(one) for one in seen.pictures["map"]] if views.map else None,
        query=seen.query if views.shows_query else None,
        worked=seen.worked,
        lens=see_lens(opened, reading, query, answer) if views.lens else None,
        ablation=None
        if views.ablate is None
        else see_ablation(opened, reading, query, answer, views, progress),
        attribution=see_attribution(opened, reading, query, answer) if views.attribute else None,
        difference=None
        if views.diff is None
        else DifferencePart(other=str(views.diff), heads=seen.differences),
        expected=check_expected(seen.heads, views.expect, len(reading.ids)) if views.expect else None,
        files=[str(path) for path in files.named],
    )
    _write_pictures(report, seen.pictures, files)
    if files.save is not None:
        save_maps(files.save, opened, reading, heads, region, report, progress)
    return report


def find_query(tokens: list[TokenRow], name: str | None) -> int:
    """The position that --query names: a number, or the last token of that text; without it, the last one.

    Raises:
        UsageError: no such position or token.
    """
    if name is None:
        return len(tokens) - 1
    if name.lstrip("-").isdecimal():
        number = int(name)
        if not -len(tokens) <= number < len(tokens):
            raise UsageError(
                f"--query {name}: no such position", hint=f"0 to {len(tokens) - 1}; -1 is the last"
            )
        return number % len(tokens)
    for token in reversed(tokens):
        if name in (token.text, token.text.strip()):
            return token.position
    raise UsageError(
        f"--query {name!r}: no token of the text is that",
        hint="name one as llmkit tokenize --pieces shows it",
    )


def _check(asked: Inspection) -> None:
    """What can be known before the weights are read."""
    check_views(asked.views, asked.text, asked.files)
    for text in asked.views.expect:
        parse_expected(text)
    check_model(asked.options.model)
    inputs = [] if asked.options.model == STDIO else model_files(asked.options.model)
    inputs += asked.options.paths
    if asked.views.diff is not None:
        inputs.append(asked.views.diff)
    if names_file(asked.text.given, is_words=asked.text.is_words):
        inputs.append(Path(asked.text.given or ""))
    for path in asked.files.named:
        if path != STDIO or path != asked.files.edges:
            refuse_existing(path, force=asked.files.force, inputs=inputs, is_file=True)


def _open_other(options: InspectOptions, path: Path, opened: Inspected, reading: Reading) -> Inspected:
    """The model of --diff: another folder or file, or an adapter beside the same base."""
    if is_adapter(path):
        other = open_inspected(replace(options, adapter=str(path)))
    else:
        check_model(path)
        words = None if holds_tokenizer(path) else options.tokenizer or options.model
        other = open_inspected(replace(options, model=path, adapter=None, tokenizer=words))
    mine, theirs = opened.job.model, other.job.model
    ours, its = (f"{one.num_hidden_layers} layers of {one.num_attention_heads}" for one in (mine, theirs))
    if ours != its:
        raise DataError(
            f"{path}: {its} heads, against {ours}",
            hint="compare two models of one shape",
        )
    for token in reading.tokens:
        if other.tokenizer.token_text(token.id) != opened.tokenizer.token_text(token.id):
            raise DataError(
                f"{path}: its token {token.id} is {other.tokenizer.token_text(token.id)!r}, "
                f"not {opened.tokenizer.token_text(token.id)!r}",
                hint="compare two models of one tokenizer",
            )
    return other


def _pictures(
    views: InspectViews, files: InspectFiles, map_cells: tuple[int, int], heads: int
) -> dict[str, tuple[int, int]]:
    """Sizes of the maps for each purpose."""
    page = page_cells(heads)
    found = {
        "map": map_cells if views.map else None,
        "page": (page, page) if files.html is not None else None,
        "png": (PNG_CELLS, PNG_CELLS) if files.png is not None else None,
        "svg": (SVG_CELLS, SVG_CELLS) if files.svg is not None else None,
    }
    return {name: size for name, size in found.items() if size is not None}


def _write_pictures(report: InspectReport, maps: dict[str, list[RegionMap]], files: InspectFiles) -> None:
    scores = report.before_softmax
    if files.html is not None:
        write_atomic(files.html, printable(html_page(report, maps["page"])).encode())
    if files.png is not None:
        write_atomic(files.png, png_picture(maps["png"], scores=scores))
    if files.svg is not None:
        write_atomic(files.svg, svg_picture(maps["svg"], report.tokens, scores=scores).encode())


def _map_part(one: RegionMap) -> MapPart:
    cells = one.values.masked_fill(one.values.isneginf(), torch.nan).tolist()
    values = [[None if value != value else value for value in row] for row in cells]
    return MapPart(layer=one.layer, head=one.head, rows=one.rows, cols=one.cols, values=values)
