"""Run tests on a copy of the package whose native library has two sanitizers compiled in: `make sanitize`.

AddressSanitizer sees what is read and written outside of its memory, UndefinedBehaviorSanitizer what C++
leaves undefined. The library takes some minutes to compile, and the tests twice their time.

    python tests/kernels/sanitize.py [PYTEST ARGUMENTS]        (default: what calls the kernels)
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from llmkit.kernels.build import build

ROOT = Path(__file__).resolve().parents[2]
TESTS = (
    *("tests/kernels", "tests/model/learnt", "tests/engine/native", "tests/engine/test_text.py"),
    *("tests/parity/test_kernels_against_modules.py", "--deselect", "tests/kernels/test_build.py"),
)
FLAGS = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined"
SETTINGS = {
    # PyTorch and Python keep memory to the end, and both look at faults of their own
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_segv=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def main() -> int:
    """Build, test, and return pytest's exit status."""
    with TemporaryDirectory(prefix="llmkit-sanitize-") as folder:
        copy, compiler = Path(folder, "tree"), Path(folder, "g++")
        ignored = shutil.ignore_patterns("__pycache__", "_native.*")
        for name in ("llmkit", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", copy)
        compiler.write_text(f'#!/bin/sh\nexec g++ "$@" {FLAGS}\n')
        compiler.chmod(0o755)
        built = build(str(compiler), folder=copy / "llmkit" / "kernels")
        if built.reason is not None:
            sys.exit(f"the library was not built: {built.reason}")
        loaded = " ".join(_library(name) for name in ("libasan.so", "libubsan.so"))
        environment = {**os.environ, **SETTINGS, "LD_PRELOAD": loaded, "PYTHONPATH": str(copy)}
        # what a sanitizer says before it ends the process is not to be captured
        pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--capture=no"]
        line = [*pytest, *(sys.argv[1:] or TESTS)]
        return subprocess.run(line, cwd=copy, env=environment, check=False).returncode


def _library(name: str) -> str:
    """Where the compiler has it: it must be the first that a process loads."""
    return subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip()


if __name__ == "__main__":
    sys.exit(main())
