"""Rounded matrices kept as they are done, so that a run that was stopped goes on where it was.

`.OUT.partial/` holds one safetensors file for each layer, the embedding and the head, and the key of the job.
A job with the same key finds them; another job starts afresh.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from llmkit.formats.atomic import write_atomic
from llmkit.formats.digest import digest_bytes
from llmkit.formats.resumable import kept_parts
from llmkit.model.fingerprint import model_fingerprint
from llmkit.quant.grid import Fitted, Grid
from llmkit.quant.lattice import Lattice
from llmkit.quant.model import Rounded
from llmkit.quant.rounding import RoundedMatrix
from llmkit.version import __version__
from llmkit.workflows.quantize.job import QuantizeJob

_NOISE, _OUTPUT_NOISE = "noise", "output_noise"
_PLAIN = "plain|"


class KeptParts:
    """The parts of one job, in a folder beside its output."""

    def __init__(self, folder: Path, grids: Mapping[str, Grid]) -> None:
        """
        Args:
            folder: of `kept_parts`, under the job's key.
            grids: of the job's plan.
        """
        self._folder = folder
        self._grids = grids

    def find(self, part: str) -> Rounded | None:
        """What has become of a part; None where it is still to be rounded."""
        path = self._folder / f"{part}.safetensors"
        if not path.exists():
            return None
        with safe_open(path, framework="pt") as file:
            told = file.metadata()
            noises = msgspec.json.decode(told["noises"], type=dict[str, dict[str, float | None]])
            alphas = msgspec.json.decode(told["alphas"], type=dict[str, float])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
        matrices = {
            name: _matrix(name, self._grids[name.partition("[")[0]], tensors, noise)
            for name, noise in noises.items()
        }
        plain = {key.removeprefix(_PLAIN): value for key, value in tensors.items() if key.startswith(_PLAIN)}
        layer = part.removeprefix("layer-")
        return Rounded(int(layer) if layer != part else None, matrices, plain, alphas)

    def keep(self, part: Rounded) -> None:
        """Write a part that is not there yet, whole or not at all."""
        path = self._folder / f"{part.part}.safetensors"
        if path.exists():
            return
        tensors: dict[str, Tensor] = {_PLAIN + name: value for name, value in part.plain.items()}
        noises: dict[str, dict[str, float | None]] = {}
        for name, one in part.matrices.items():
            lattice = one.fitted.lattice
            own = {"codes": one.codes, "step": lattice.step, "table": lattice.table}
            if lattice.base is not None:
                own["base"] = lattice.base
            if one.order is not None:
                own["order"] = one.order
            own |= {f"stored.{key}": value for key, value in one.fitted.stored.items()}
            tensors |= {f"{name}|{key}": value.clone().contiguous() for key, value in own.items()}
            noises[name] = {_NOISE: one.noise, _OUTPUT_NOISE: one.output_noise, "group": lattice.group}
        told = {"noises": noises, "alphas": part.alphas}
        content = save(tensors, {key: msgspec.json.encode(value).decode() for key, value in told.items()})
        write_atomic(path, content)


@contextmanager
def parts_of(job: QuantizeJob) -> Iterator[KeptParts | None]:
    """The parts that a job keeps; None where it is not to be gone on with.

    Raises:
        UsageError: another process is at work on it.
    """
    if not job.config.resume or job.out is None:
        yield None
        return
    with kept_parts(job.out, job_key(job)) as folder:
        yield KeptParts(folder, job.plan.grids)


def job_key(job: QuantizeJob) -> str:
    """What decides every rounded matrix."""
    told = {
        "llmkit": __version__,
        "model": model_fingerprint(job.source.path, job.source.config),
        "stored": {name: unit.stored_as for unit in job.plan.units for name in unit.names},
        "container": job.container,
        "method": job.config.method,
        "scale": job.config.scale,
        "calibration": None if job.calibration is None else digest_bytes(job.calibration.numpy().tobytes()),
        "imatrix": {name: digest_bytes(one.squares.numpy().tobytes()) for name, one in job.given.items()},
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
        grid,
        Fitted(lattice, stored),
        own["codes"],
        float(noise[_NOISE] or 0),
        noise[_OUTPUT_NOISE],
        own.get("order"),
    )
