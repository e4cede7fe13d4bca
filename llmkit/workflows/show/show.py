"""Any artefact, told by its content: one report for each kind."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.jsonl import BadLine, Line, decode_all, parse_records, read_records
from llmkit.formats.model_folder import TensorInfo, read_header
from llmkit.formats.provenance import read_provenance
from llmkit.formats.streams import input_name, is_stream, open_input
from llmkit.model.source import read_model_tensors
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.artefact import Artefact, corpus_parts, is_metrics, recognise
from llmkit.workflows.show.adapter import AdapterReport, adapter_tensors, show_adapter
from llmkit.workflows.show.dedup_index import DedupIndexReport, show_dedup_index
from llmkit.workflows.show.imatrix import ImatrixReport, show_imatrix
from llmkit.workflows.show.metrics import read_metrics
from llmkit.workflows.show.model import (
    ModelReport,
    Tensor,
    list_tensors,
    show_config,
    show_model,
    show_safetensors,
)
from llmkit.workflows.show.piped import piped_object
from llmkit.workflows.show.records import RecordsReport, show_records, show_text
from llmkit.workflows.show.retrieve_index import RetrieveIndexReport, show_retrieve_index
from llmkit.workflows.show.run import RunReport, show_metrics, show_run
from llmkit.workflows.show.saved_report import SavedReport, show_saved_report
from llmkit.workflows.show.shards import ShardsReport, show_shards
from llmkit.workflows.show.tokenizer import (
    Piece,
    TemplatesReport,
    TokenizerReport,
    list_pieces,
    show_tokenizer,
)

Report = (
    ModelReport
    | AdapterReport
    | ImatrixReport
    | TokenizerReport
    | RunReport
    | RecordsReport
    | ShardsReport
    | DedupIndexReport
    | RetrieveIndexReport
    | SavedReport
)


def show_artefact(path: Path) -> Report:
    """What a path, or for `-` JSON lines or a JSON object on stdin, hold.

    Raises:
        MissingError: nothing is there.
        DataError: it is damaged, or nothing that llmkit knows.
        UsageError: a pipe has a file that speaks for its folder.
    """
    artefact = recognise(path)
    return _show_piped(path) if artefact.kind == "records" and is_stream(path) else _show(artefact)


def _show(artefact: Artefact) -> Report:
    match artefact.kind:
        case "model" | "checkpoint" | "gguf":
            return show_model(artefact.path, kind=artefact.kind)
        case "config":
            return show_config(artefact.path)
        case "safetensors":
            return show_safetensors(artefact.path)
        case "adapter":
            return show_adapter(artefact.path)
        case "imatrix":
            return show_imatrix(artefact.path)
        case "tokenizer":
            return show_tokenizer(artefact.path)
        case "run":
            return show_run(artefact.path)
        case "metrics":
            return show_metrics(artefact.path, read_metrics(artefact.path))
        case "shards" | "shard":
            return show_shards(artefact.path)
        case "dedup-index":
            return show_dedup_index(artefact.path)
        case "retrieve-index":
            return show_retrieve_index(artefact.path)
        case "report":
            return show_saved_report(artefact.path)
        case "text":
            return show_text(artefact.path)
        case "records":
            return _show_lines(artefact.path)


def tensors_of(path: Path) -> Iterator[Tensor]:
    """Every tensor of a model, an adapter or a safetensors file.

    Raises:
        UsageError: the artefact has no tensors.
    """
    artefact = recognise(path)
    return list_tensors(_tensors(artefact).values())


def pieces_of(path: Path) -> Iterator[Piece]:
    """The vocabulary of a tokenizer, or of the one in a model folder, in the order of ids.

    Raises:
        UsageError: the artefact has no vocabulary.
    """
    return list_pieces(_tokenizer(recognise(path), "vocabulary"))


def show_templates(path: Path) -> TemplatesReport:
    """The chat templates of a tokenizer, or of the one in a model.

    Raises:
        UsageError: the artefact has no tokenizer.
        MissingError: its tokenizer has no template.
    """
    templates = _tokenizer(recognise(path), "chat template").templates
    if not templates:
        raise MissingError(
            f"{path}: no chat template", hint="put the model's chat_template.jinja beside tokenizer.json"
        )
    return TemplatesReport(path=str(path), templates=templates)


def _tokenizer(artefact: Artefact, what: str) -> Tokenizer:
    if artefact.kind not in ("tokenizer", "model", "gguf", "run", "checkpoint"):
        raise _no_such(artefact, what, "a tokenizer or a model folder")
    return load_tokenizer(artefact.path)


def _tensors(artefact: Artefact) -> dict[str, TensorInfo]:
    match artefact.kind:
        case "model" | "checkpoint" | "run" | "gguf" | "imatrix":
            return read_model_tensors(artefact.path)
        case "safetensors":
            return read_header(artefact.path).tensors
        case "adapter":
            return adapter_tensors(artefact.path)
    raise _no_such(artefact, "tensors", "a model, an adapter or a safetensors file")


def _no_such(artefact: Artefact, what: str, which: str) -> UsageError:
    return UsageError(f"{artefact.path}: no {what} (found: {artefact.kind})", hint=f"give {which}")


def _show_piped(path: Path) -> Report:
    """What can be read only once, and is known by its first lines."""
    name = input_name(path)
    with open_input(path) as opened, piped_object(opened, name) as (artefact, stream):
        if artefact is not None:
            return msgspec.structs.replace(_show(artefact), path=name)
        lines = parse_records(stream, name, on_bad=_refuse)
        first = next(lines, None)
        if first is None:
            return show_records(Path(name), lines)
        every = chain([first], lines)
        if is_metrics(decode_all(first)):
            return show_metrics(Path(name), every)
        return show_records(Path(name), every)


def _show_lines(path: Path) -> RecordsReport:
    """JSON lines, or a folder of their parts."""
    if parts := corpus_parts(path):
        provenance = read_provenance(path) or {}
        found = show_records(path, chain.from_iterable(map(_records, parts)))
        return msgspec.structs.replace(found, made_by=provenance.get("command_line"))
    return show_records(path, _records(path))


def _records(path: Path) -> Iterator[Line]:
    """The records of a file, all of them."""
    return read_records(path, on_bad=_refuse)


def _refuse(bad: BadLine) -> None:
    """Nothing is passed over here."""
    raise DataError(f"{bad.file}:{bad.number}: {bad.problem}", hint="mend the line, or remove it")
