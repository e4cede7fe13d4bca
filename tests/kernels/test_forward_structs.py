"""What crosses the border, beside what a compiler makes of the header."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from llmkit.kernels import forward_structs
from llmkit.kernels.build import COMPILERS, FOLDER
from llmkit.kernels.forward_structs import (
    ExpertsStruct,
    LatentStruct,
    LayerStruct,
    LowRankStruct,
    ModelStruct,
    NormStruct,
    OwnInputsStruct,
    OwnInputStruct,
    PassStruct,
    StateStruct,
)

STRUCTS = {
    **{"Norm": NormStruct, "Experts": ExpertsStruct, "Layer": LayerStruct, "Model": ModelStruct},
    **{"Pass": PassStruct, "LowRank": LowRankStruct, "State": StateStruct, "Latent": LatentStruct},
    **{"OwnInput": OwnInputStruct, "OwnInputs": OwnInputsStruct},
}


def test_every_field_stands_where_the_header_has_it(tmp_path: Path) -> None:
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        pytest.skip("no C++ compiler")
    fields = [(name, field[0]) for name, struct in STRUCTS.items() for field in struct._fields_]
    lines = [f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));' for name, field in fields]
    lines += [f'printf("{name} %zu\\n", sizeof({name}));' for name in STRUCTS]
    source = tmp_path / "offsets.cpp"
    source.write_text(
        '#include <stdio.h>\n#include "forward.h"\nint main() {' + "\n".join(lines) + "}\n", encoding="utf-8"
    )
    program = tmp_path / "offsets"
    subprocess.run(
        [compiler, "-std=c++17", f"-I{FOLDER / 'native'}", str(source), "-o", str(program)], check=True
    )
    printed = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    ours = [f"{name}.{field} {getattr(STRUCTS[name], field).offset}" for name, field in fields]
    ours += [f"{name} {ctypes.sizeof(struct)}" for name, struct in STRUCTS.items()]
    assert printed.splitlines() == ours


def test_every_struct_is_compared() -> None:
    declared = {one for one in vars(forward_structs).values() if isinstance(one, type)}
    own = {one for one in declared if one.__module__ == forward_structs.__name__}
    assert own == set(STRUCTS.values())
