"""Compile the native library: `native/*.cpp` into `_native.so` beside this file, with the system's compiler.

hatch_build.py loads this file by its path while pip installs, when llmkit and its dependencies are not there
yet: so it imports the standard library only. Beside the library stands `_native.json`, a note of what was
compiled, or of why nothing was; an unchanged note makes the next build a look at the sources.
"""

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).resolve().parent
LIBRARY = FOLDER / "_native.so"
NOTE = FOLDER / "_native.json"
COMPILERS = ("g++", "clang++", "c++")
FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-pthread", "-fvisibility=hidden", "-fvisibility-inlines-hidden"),
    *("-fno-exceptions", "-fno-rtti", "-fno-math-errno"),
    "-ffp-contract=off",  # a sum must not depend on where the compiler saw a multiply-add
)
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = (
    *AVX2,
    *(f"-mavx512{part}" for part in ("f", "bw", "vl", "dq", "vnni")),
    "-mprefer-vector-width=512",
)
LEVELS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {"avx2": AVX2, "avx512": AVX512, "avx512bf16": (*AVX512, "-mavx512bf16")},
    "aarch64": {"neon": ("-march=armv8.2-a+dotprod",)},
}
"""Instruction-set levels by machine, and their flags; the portable level is always there."""


@dataclass(frozen=True)
class Built:
    """What a build left behind: `reason` is None when the library stands at LIBRARY, else why it does not."""

    reason: str | None
    levels: tuple[str, ...] = ()


def build(compiler: str | None = None, *, folder: Path = FOLDER) -> Built:
    """Compile the library of `folder`, unless what stands there came from the same sources and compiler.

    Args:
        compiler: the C++ compiler's name or path, flags may follow or `ccache` go before, as make has $CXX;
            None looks for COMPILERS in that order.
        folder: where `native/` is and the library goes.

    A missing or failing compiler is no error: the note says what happened, and llmkit does without.
    """
    target, note = folder / LIBRARY.name, folder / NOTE.name
    found = next((words for name in _candidates(compiler) if (words := _command(name))), None)
    if found is None:
        return _finish(target, note, Built(f"no C++ compiler ({', '.join(_candidates(compiler))})"), "")
    digest = _digest(folder / "native", found)
    known = read_note(note)
    if known.get("digest") == digest and (target.is_file() or known.get("reason")):
        return Built(known.get("reason"), tuple(known.get("levels", ())))
    with TemporaryDirectory(prefix="llmkit-kernels-") as objects:
        built = _compile(found, folder / "native", Path(objects), target)
    return _finish(target, note, built, digest)


def read_note(path: Path = NOTE) -> dict[str, Any]:
    """The note of the last build, empty where there is none."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _candidates(compiler: str | None) -> Sequence[str]:
    return (compiler,) if compiler else COMPILERS


def _command(compiler: str) -> Sequence[str]:
    """The words that start a compiler, its path first; none where it is not here."""
    first, *others = shlex.split(compiler) or [""]
    path = shutil.which(first)
    return [path, *others] if path else ()


def _digest(sources: Path, compiler: Sequence[str]) -> str:
    """Of everything that the library is made from."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, check=False).stdout
    hashed = hashlib.sha256(
        version + repr((shlex.join(compiler), FLAGS, LEVELS, platform.machine())).encode()
    )
    for path in sorted(sources.iterdir()):
        hashed.update(path.name.encode() + path.read_bytes())
    return hashed.hexdigest()


def _finish(target: Path, note: Path, built: Built, digest: str) -> Built:
    if built.reason is not None:
        target.unlink(missing_ok=True)
    content = {"digest": digest, "reason": built.reason, "levels": built.levels}
    note.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return built


def _compile(compiler: Sequence[str], sources: Path, objects: Path, target: Path) -> Built:
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    levels = {
        name: flags
        for name, flags in LEVELS.get(machine, {}).items()
        if _accepts(compiler, flags, objects / "probe.o")
    }
    defines = [f"-DLLMKIT_LEVEL_{name.upper()}" for name in levels]
    jobs: dict[str, Sequence[str]] = {f"level_{name}": flags for name, flags in levels.items()}
    jobs = {"level_portable": (), **jobs}  # what takes longest comes first, and two cores end together
    jobs |= {"dispatch": defines} | dict.fromkeys(("pool", "api", "forward", "quantise", "split", "text"), ())

    def compile_one(name: str) -> str:
        line = [*compiler, *FLAGS, *jobs[name], "-c", f"{sources / name}.cpp", "-o", f"{objects / name}.o"]
        return _run(line)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        errors = [error for error in pool.map(compile_one, jobs) if error]
    if not errors:
        fresh = target.with_suffix(".new")
        line = [*compiler, "-shared", "-pthread", *(f"{objects / name}.o" for name in jobs), "-o", str(fresh)]
        errors = [error for error in [_run(line)] if error]
        if not errors:
            fresh.replace(target)  # a running llmkit keeps the library that it loaded
    reason = f"{shlex.join(compiler)} failed: {errors[0]}" if errors else None
    return Built(reason, () if errors else ("portable", *levels))


def _accepts(compiler: Sequence[str], flags: Sequence[str], output: Path) -> bool:
    return not _run([*compiler, *flags, "-x", "c++", "-c", os.devnull, "-o", str(output)])


def _run(line: Sequence[str]) -> str:
    """Nothing, or the first error that the compiler printed."""
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    printed = done.stderr.splitlines()
    return next(
        (one for one in printed if "error" in one), printed[0] if printed else f"status {done.returncode}"
    )
