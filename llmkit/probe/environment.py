"""What a measurement was taken on: processor, cores, versions, and how busy the machine was."""

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmkit.machine import cores, total_memory_bytes
from llmkit.version import __version__

QUIET_LOAD_PER_CORE = 0.5
QUIET_SPREAD = 0.05
FEATURES = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("avx_vnni", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2"),
)
"""Instruction sets that matrix products are written for, as Linux names them."""


@dataclass(frozen=True)
class Environment:
    """A machine and its software, as a measurement's reader needs them. No names, no paths."""

    cpu: str
    cores: int
    python: str
    versions: dict[str, str]
    load_average: float
    """Of the minute before: processes that wanted to run."""
    features: list[str] = field(default_factory=list)
    """Those of `FEATURES` that the processor has; empty where the system does not tell."""
    platform: str = ""
    """System and instruction set: `Linux x86_64`."""
    memory_bytes: int | None = None
    """Of the machine, or what a container grants; None where the system does not tell."""

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
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return Environment(
        cpu=_cpuinfo("model name") or platform.processor() or platform.machine(),
        cores=cores(),
        python=platform.python_version(),
        versions=versions,
        load_average=os.getloadavg()[0],
        features=[feature for feature in FEATURES if feature in flags],
        platform=f"{platform.system()} {platform.machine()}",
        memory_bytes=total_memory_bytes(),
    )


def _cpuinfo(key: str) -> str:
    """What Linux says of the first core; empty where it says nothing."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    except OSError:
        pass
    return ""
