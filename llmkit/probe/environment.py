"""What a measurement was taken on: processor, cores, versions, and how busy the machine was."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmkit.machine import cores
from llmkit.version import __version__

QUIET_LOAD_PER_CORE = 0.5
QUIET_SPREAD = 0.05


@dataclass(frozen=True)
class Environment:
    """A machine and its software, as a measurement's reader needs them. No names, no paths."""

    cpu: str
    cores: int
    python: str
    versions: dict[str, str]
    load_average: float
    """Of the minute before: processes that wanted to run."""

    @property
    def quiet(self) -> bool:
        """Whether little else was running."""
        return self.load_average <= QUIET_LOAD_PER_CORE * self.cores


def read_environment(*packages: str) -> Environment:
    """This machine now, with the versions of `packages` beside llmkit's."""
    versions = {"llmkit": __version__}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Environment(
        cpu=_cpu_name(),
        cores=cores(),
        python=platform.python_version(),
        versions=versions,
        load_average=os.getloadavg()[0],
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
