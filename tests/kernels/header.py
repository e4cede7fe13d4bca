"""What crosses the border to the library, beside what a compiler makes of its header."""

import ctypes
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from llmkit.kernels.build import COMPILERS, FOLDER


def check_fields(module: ModuleType, header: str, folder: Path) -> None:
    """Every field of every struct that a module declares stands where the header has it.

    Args:
        module: with a class NameStruct for each Name of the header.
        header: a file of the library's sources.
        folder: for what is compiled.
    """
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        pytest.skip("no C++ compiler")
    declared = [one for one in vars(module).values() if isinstance(one, type)]
    structs = {
        one.__name__.removesuffix("Struct"): one
        for one in declared
        if issubclass(one, ctypes.Structure) and one.__module__ == module.__name__
    }
    assert structs
    fields = [(name, field[0]) for name, struct in structs.items() for field in struct._fields_]
    lines = [f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));' for name, field in fields]
    lines += [f'printf("{name} %zu\\n", sizeof({name}));' for name in structs]
    source, program = folder / "offsets.cpp", folder / "offsets"
    includes = "".join(f"#include {name}\n" for name in ("<stddef.h>", "<stdio.h>", f'"{header}"'))
    source.write_text(f"{includes}int main() {{{' '.join(lines)}}}\n", encoding="utf-8")
    line = [compiler, "-std=c++17", f"-I{FOLDER / 'native'}", str(source), "-o", str(program)]
    subprocess.run(line, check=True)
    printed = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    ours = [f"{name}.{field} {getattr(structs[name], field).offset}" for name, field in fields]
    ours += [f"{name} {ctypes.sizeof(struct)}" for name, struct in structs.items()]
    assert printed.splitlines() == ours
