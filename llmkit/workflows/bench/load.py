"""llmkit bench load: from a model's folder to its first token, its files in the system's memory already."""

from pathlib import Path

import torch

from llmkit.errors import UsageError
from llmkit.estimate.file_weights import file_weights
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import DTYPES
from llmkit.model.load import load_model
from llmkit.model.source import read_model_tensors
from llmkit.probe.bench import OURS
from llmkit.probe.work import Work, prefill_work
from llmkit.workflows.bench.case import BenchCase, Point
from llmkit.workflows.bench.peer import TRANSFORMERS, open_transformers
from llmkit.workflows.bench.source import BenchSource

_ID = 0
"""The token that is read; any of the vocabulary does as well."""


def check(source: BenchSource) -> Path:
    """The folder to open.

    Raises:
        UsageError: the model is a shape without files.
    """
    if source.folder is None:
        raise UsageError(
            f"{source.name} is a shape, and there are no files of it to load",
            hint="name a model folder: llmkit bench load run",
        )
    return source.folder


def build(source: BenchSource, has_peer: bool, point: Point) -> list[BenchCase]:
    """llmkit's case in a dtype, and the peer's where there is one.

    A mapped file costs nothing until it is looked at, so each run goes as far as a first token.
    """
    folder, dtype = check(source), DTYPES[str(point["dtype"])]
    work = load_work(source.config, folder)
    cases = [BenchCase(OURS, point, work, lambda: first_token(folder, dtype))]
    if has_peer:
        cases.append(BenchCase(TRANSFORMERS, point, work, lambda: first_token_of_peer(folder, dtype)))
    return cases


def load_work(config: ModelConfig, folder: Path) -> Work:
    """A token read, and every byte of the files."""
    one = prefill_work(config, prompt=1, depth=0)
    return Work(one.tokens, one.flops, file_weights(read_model_tensors(folder).values()).nbytes)


def first_token(folder: Path, dtype: torch.dtype) -> int:
    """Open a folder with llmkit, and draw the best token after one."""
    model = load_model(folder, dtype=dtype)
    with torch.inference_mode():
        return int(model(torch.tensor([[_ID]]))[0, -1].argmax())


def first_token_of_peer(folder: Path, dtype: torch.dtype) -> int:
    """The same with transformers."""
    model = open_transformers(folder, dtype)
    with torch.inference_mode():
        return int(model(torch.tensor([[_ID]])).logits[0, -1].argmax())
