"""Rounded matrices kept as they are done, so that a run that was stopped goes on where it was.

`.OUT.partial/` holds one safetensors file for each layer, the embedding and the head, and the key of the job.
A job with the same key finds them; another job starts afresh.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from llmkit.formats.atomic import write_atomic
from llmkit.formats.digest import digest_bytes
from llmkit.formats.resumable import partial_path
from llmkit.model.fingerprint import model_fingerprint
from llmkit.quant.grid import Fitted, Grid
from llmkit.quant.lattice import Lattice
from llmkit.quant.rounding import RoundedMatrix
from llmkit.version import __version__
from llmkit.workflows.quantize_job import QuantizeJob

_KEY = "key"
_NOISE, _OUTPUT_NOISE = "noise", "output_noise"


class KeptParts:
    """The parts of one job, in a folder beside its output."""

    def __init__(self, job: QuantizeJob, out: Path) -> None:
        """
        Args:
            job: with its plan as it is carried out.
            out: where it is to be written.
        """
        self._grids = job.plan.grids
        self.folder = partial_path(out)
        key = job_key(job)
        if not (self.folder / _KEY).exists() or (self.folder / _KEY).read_text() != key:
            self.forget()
            self.folder.mkdir(parents=True)
            write_atomic(self.folder / _KEY, key.encode())

    def find(self, part: str) -> dict[str, RoundedMatrix] | None:
        """The matrices of a part; None where they are still to be rounded."""
        path = self.folder / f"{part}.safetensors"
        if not path.exists():
            return None
        with safe_open(path, framework="pt") as file:
            noises = msgspec.json.decode(file.metadata()["noises"], type=dict[str, dict[str, float | None]])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
        return {
            name: _matrix(name, self._grids[name.partition("[")[0]], tensors, noise)
            for name, noise in noises.items()
        }

    def keep(self, part: str, matrices: Mapping[str, RoundedMatrix]) -> None:
        """Write a part, whole or not at all."""
        tensors: dict[str, Tensor] = {}
        noises: dict[str, dict[str, float | None]] = {}
        for name, one in matrices.items():
            lattice = one.fitted.lattice
            own = {"codes": one.codes, "step": lattice.step, "table": lattice.table}
            if lattice.base is not None:
                own["base"] = lattice.base
            own |= {f"stored.{key}": value for key, value in one.fitted.stored.items()}
            tensors |= {f"{name}|{key}": value.clone().contiguous() for key, value in own.items()}
            noises[name] = {_NOISE: one.noise, _OUTPUT_NOISE: one.output_noise, "group": lattice.group}
        content = save(tensors, metadata={"noises": msgspec.json.encode(noises).decode()})
        write_atomic(self.folder / f"{part}.safetensors", content)

    def forget(self) -> None:
        """Remove them: the output is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)


def job_key(job: QuantizeJob) -> str:
    """What decides every rounded matrix."""
    told = {
        "llmkit": __version__,
        "model": model_fingerprint(job.source.path, job.source.config),
        "grids": {name: grid.name for name, grid in job.plan.grids.items()},
        "container": job.container,
        "method": job.config.method,
        "calibration": None if job.calibration is None else digest_bytes(job.calibration.numpy().tobytes()),
    }
    return digest_bytes(msgspec.json.encode(told, order="sorted"))


def _matrix(
    name: str, grid: Grid, tensors: Mapping[str, Tensor], noise: Mapping[str, float | None]
) -> RoundedMatrix:
    begin = f"{name}|"
    own = {key.removeprefix(begin): value for key, value in tensors.items() if key.startswith(begin)}
    stored = {key.removeprefix("stored."): value for key, value in own.items() if key.startswith("stored.")}
    lattice = Lattice(own["step"], own["table"], own.get("base"), int(noise["group"] or 0))
    return RoundedMatrix(
        grid, Fitted(lattice, stored), own["codes"], float(noise[_NOISE] or 0), noise[_OUTPUT_NOISE]
    )
