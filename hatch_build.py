"""Build hook: compile llmkit's native kernels where there is a C++ compiler, else go on without them.

The compiler is $CXX, else g++, clang++ or c++. A wheel with the library is for one platform and any Python
(nothing in it knows Python); a wheel without is pure. An editable install compiles into the source tree.
"""

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeKernels(BuildHookInterface[Any]):
    """Puts `llmkit/kernels/_native.so` into wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; `version` is "standard" or "editable"."""
        if self.target_name != "wheel":
            return
        build = _load(Path(self.root) / "llmkit" / "kernels" / "build.py")
        built = build.build(os.environ.get("CXX") or None)
        if built.reason is not None:
            self.app.display_warning(f"llmkit without native kernels: {built.reason}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"
        build_data["artifacts"].append("llmkit/kernels/_native.*")


def _load(path: Path) -> ModuleType:
    """A module by its path: the package itself cannot be imported while it is being installed."""
    spec = importlib.util.spec_from_file_location("llmkit_kernels_build", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _platform() -> str:
    """This platform as a wheel's name has it; on macOS for the system and processor the compiler is told."""
    name = sysconfig.get_platform()
    if name.startswith("macosx-"):
        _, system, processor = name.split("-", 2)
        system = os.environ.get("MACOSX_DEPLOYMENT_TARGET", system)
        processor = os.environ.get("ARCHFLAGS", "").removeprefix("-arch ").strip() or processor
        name = f"macosx-{system}-{processor}"
    return name.replace("-", "_").replace(".", "_")
