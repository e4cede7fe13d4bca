"""Check the machine, or artefacts: each by itself, and whether they belong together."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from llmkit.errors import DataError, LlmkitError
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import (
    CONFIG,
    TensorInfo,
    read_config,
    read_header,
)
from llmkit.formats.provenance import FILE_NAME, read_provenance
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.store import GgufStore
from llmkit.model.pooling import read_pooling
from llmkit.model.relevance import read_relevance
from llmkit.model.source import read_model_generation, read_model_tensors
from llmkit.progress import SILENT, Progress
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.adapter_base import named_base
from llmkit.workflows.artefact import MODELS, Artefact, holds_tokenizer, recognise
from llmkit.workflows.dedup.index import read_note
from llmkit.workflows.doctor.adapter import check_adapter, check_fits, check_gguf_adapter
from llmkit.workflows.doctor.data import check_records, check_text
from llmkit.workflows.doctor.findings import Finding, as_finding, finding, worst
from llmkit.workflows.doctor.imatrix import check_imatrix
from llmkit.workflows.doctor.machine import Machine, check_machine, read_machine
from llmkit.workflows.doctor.run import check_checkpoint, check_metrics, check_run
from llmkit.workflows.doctor.shards import check_shards
from llmkit.workflows.doctor.together import Identity, check_together
from llmkit.workflows.doctor.tokens import check_special_tokens, check_tokenizer, check_vocabulary, stop_ids
from llmkit.workflows.doctor.weights import check_finite, check_weights
from llmkit.workflows.show.metrics import read_metrics
from llmkit.workflows.show.model import embedding_rows
from llmkit.workflows.show.retrieve_index import show_retrieve_index


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """An artefact that was looked at; `kind` is "unknown" where nothing is recognised."""

    kind: str
    path: str


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at and what was found."""

    schema: str = "llmkit.doctor/1"
    machine: Machine | None = None
    """Given when no path was."""
    checked: list[Checked] = []
    findings: list[Finding] = []

    @property
    def passed(self) -> bool:
        """Whether there is no error and no warning."""
        return worst(self.findings) in (None, "info")


def diagnose(paths: Sequence[Path], *, progress: Progress = SILENT) -> DoctorReport:
    """Check the machine when no path is given, else each artefact and whether all belong together.

    Raises:
        MissingError: a path does not exist.
    """
    if not paths:
        machine = read_machine()
        return DoctorReport(machine=machine, findings=check_machine(machine))
    examination = _Examination(progress)
    patients = [examination.recognise(path) for path in paths]
    examination.remember_models(patients)
    for patient in patients:
        if patient is not None:
            examination.check(patient)
    return DoctorReport(
        checked=[
            Checked(kind="unknown" if patient is None else patient.kind, path=str(path))
            for path, patient in zip(paths, patients, strict=True)
        ],
        findings=examination.findings + check_together(examination.identities),
    )


class _Examination:
    """The findings so far, and what each artefact says about its tokenizer."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.findings: list[Finding] = []
        self.identities: list[Identity] = []
        self._bases: list[tuple[Path, Mapping[str, TensorInfo]]] = []

    def recognise(self, path: Path) -> Artefact | None:
        """What a path holds; None, with a finding, where it is nothing that llmkit knows."""
        try:
            return recognise(path)
        except DataError as error:
            what = error.problem.removeprefix(f"{path}: ")
            self.findings.append(finding("error", "artefact.known", path, what, error.hint))
            return None

    def remember_models(self, patients: Sequence[Artefact | None]) -> None:
        """The tensors of all models, for adapters that stand before them."""
        for patient in patients:
            if patient is not None and patient.kind in MODELS and (tensors := _tensors(patient.path)):
                self._bases.append((patient.path, tensors))

    def check(self, patient: Artefact) -> None:
        """One artefact by itself."""
        path = patient.path
        checks: dict[str, Callable[[Path], None]] = {
            **{
                "model": self._model,
                "run": self._run,
                "checkpoint": self._checkpoint,
                "config": self._config,
                "gguf": self._gguf,
            },
            **{"safetensors": self._safetensors, "adapter": self._adapter, "tokenizer": self._tokenizer},
            **{"shards": self._shards, "shard": self._shards, "metrics": self._metrics},
            "imatrix": lambda one: self.findings.extend(check_imatrix(one)),
            **{"dedup-index": self._dedup_index, "retrieve-index": self._retrieve_index},
            "report": lambda _: None,  # was read to know it, and nothing else is made of it
            **{"records": self._records, "text": lambda one: self.findings.extend(check_text(one))},
        }
        checks[patient.kind](path)

    def _run(self, folder: Path) -> None:
        self.findings += check_run(folder, progress=self._progress)
        if (folder / CONFIG).is_file():
            self._model(folder)

    def _checkpoint(self, folder: Path) -> None:
        self.findings += check_checkpoint(folder, progress=self._progress)
        self._vocabulary(folder)

    def _model(self, folder: Path) -> None:
        self.findings += check_weights(folder, progress=self._progress)
        self._vocabulary(folder)

    def _gguf(self, path: Path) -> None:
        """One file that is a model and its tokenizer."""
        with as_finding(self.findings, "weights.layout", path):
            GgufStore(path)  # has what its keys speak of
        tensors = _tensors(path)
        if tensors is None:
            return
        self.findings += check_finite(tensors, progress=self._progress)
        tokenizer = None
        if holds_tokenizer(path):
            with as_finding(self.findings, "tokenizer.opens", path):
                tokenizer = load_tokenizer(path)
                stops = read_model_generation(path)[0].get("eos_token_id", [])
                stops = stops if isinstance(stops, list) else [stops]
                self.findings += check_tokenizer(path, tokenizer, stops)
        else:
            hint = "convert the model again from a folder with its tokenizer, or give -t TOKENIZER"
            self.findings.append(finding("info", "tokenizer.opens", path, "no tokenizer in the file", hint))
        rows = embedding_rows(tensors)
        self._claims(path, "model", tokenizer, rows)
        if tokenizer is not None and rows is not None:
            self.findings += check_vocabulary(path, tokenizer, rows, rows)

    def _vocabulary(self, folder: Path) -> None:
        """The tokenizer in a model folder, the model's own special tokens, and llmkit.json."""
        tokenizer = None
        if holds_tokenizer(folder):
            with as_finding(self.findings, "tokenizer.opens", folder):
                tokenizer = load_tokenizer(folder)
        else:
            hint = "copy tokenizer.json and tokenizer_config.json into it, or give -t TOKENIZER"
            self.findings.append(
                finding("info", "tokenizer.opens", folder, "no tokenizer in the folder", hint)
            )
        tensors = _tensors(folder)
        rows = embedding_rows(tensors) if tensors else None
        self._claims(folder, "model", tokenizer, rows)
        if tokenizer is None:
            return
        self.findings += check_tokenizer(
            folder, tokenizer, stop_ids(folder, tokenizer), chats=not self._judges(folder)
        )
        self.findings += check_special_tokens(folder, tokenizer)
        config = _config(folder / CONFIG)
        if config is not None:
            self.findings += check_vocabulary(folder, tokenizer, config.vocab_size, rows)

    def _judges(self, folder: Path) -> bool:
        """Whether a model's template is for pairs of texts, which it judges; what is done with it is read."""
        with as_finding(self.findings, "steps.supported", folder):
            read_pooling(folder)
            return read_relevance(folder) is not None
        return False

    def _claims(self, folder: Path, kind: str, tokenizer: Tokenizer | None, rows: int | None) -> None:
        """What a folder holds, and what its llmkit.json says it was made with."""
        own = None if tokenizer is None else tokenizer.sha256
        made_with = None
        with as_finding(self.findings, "provenance.readable", folder / FILE_NAME):
            provenance = read_provenance(folder) if folder.is_dir() else None
            made_with = (provenance or {}).get("tokenizer_sha256")
        if own is not None and made_with is not None and own != made_with:
            what = f"was made with the tokenizer {made_with[:12]}, but {own[:12]} is in the folder"
            hint = "put the tokenizer back that it was trained with"
            self.findings.append(finding("error", "together.tokenizer", folder, what, hint))
        ids = None if tokenizer is None or rows is not None else tokenizer.vocab_size
        self.identities.append(Identity(str(folder), kind, own or made_with, ids=ids, rows=rows))

    def _tokenizer(self, path: Path) -> None:
        with as_finding(self.findings, "tokenizer.opens", path):
            tokenizer = load_tokenizer(path)
            self.findings += check_tokenizer(path, tokenizer)
            self._claims(path if path.is_dir() else path.parent, "tokenizer", tokenizer, None)

    def _config(self, path: Path) -> None:
        with as_finding(self.findings, "config.supported", path):
            ModelConfig.from_hf(read_config(path), source=str(path))

    def _safetensors(self, path: Path) -> None:
        with as_finding(self.findings, "weights.header", path):
            self.findings += check_finite(read_header(path).tensors, progress=self._progress)

    def _adapter(self, path: Path) -> None:
        base = self._bases[0] if self._bases else None
        with as_finding(self.findings, "adapter.files", path):
            named = named_base(path) if base is None else None
            for place in () if named is None else (Path(named), path.parent / named):
                if base is None and (tensors := _tensors(place)):
                    base = place, tensors
        if is_gguf(path):
            self.findings += check_gguf_adapter(path)
        else:
            self.findings += check_adapter(path, None if base is None or is_gguf(base[0]) else base[1])
        if base is not None and (is_gguf(path) or is_gguf(base[0])):  # tensors of two ways to name them
            self.findings += check_fits(path, base[0])

    def _shards(self, path: Path) -> None:
        findings, identity = check_shards(path)
        self.findings += findings
        if identity is not None:
            self.identities.append(identity)

    def _dedup_index(self, path: Path) -> None:
        with as_finding(self.findings, "dedup-index.opens", path):
            read_note(path)

    def _retrieve_index(self, path: Path) -> None:
        with as_finding(self.findings, "retrieve-index.opens", path):
            show_retrieve_index(path)

    def _metrics(self, path: Path) -> None:
        with as_finding(self.findings, "run.metrics", path):
            self.findings += check_metrics(path, read_metrics(path))

    def _records(self, path: Path) -> None:
        findings, highest = check_records(path)
        self.findings += findings
        if highest is not None:
            self.identities.append(Identity(str(path), "tokens", ids=highest + 1))


def _tensors(folder: Path) -> dict[str, TensorInfo] | None:
    """The tensors of a folder; None where there are none to read, which the weights' checks tell."""
    try:
        return read_model_tensors(folder)
    except LlmkitError:
        return None


def _config(path: Path) -> ModelConfig | None:
    try:
        return ModelConfig.from_hf(read_config(path), source=str(path))
    except LlmkitError:
        return None
