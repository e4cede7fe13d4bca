"""What ggml itself makes of stored blocks, through the C functions of the xllamacpp wheel.

It is loaded into a process of its own.

Run as a script: the type's number and how many values in argv, blocks on stdin, float32 on stdout.
"""

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np


def ggml_values(number: int, raw: np.ndarray, count: int) -> np.ndarray:
    """Values of blocks, float32.

    Skips the test where xllamacpp is not installed.
    """
    import pytest  # not in the process that loads ggml

    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("no llama.cpp here: pip install --no-deps xllamacpp")
    done = subprocess.run(
        [sys.executable, __file__, str(number), str(count)],
        input=raw.tobytes(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return np.frombuffer(done.stdout, np.float32)


class _Traits(ctypes.Structure):
    """ggml_type_traits of ggml.h."""

    _fields_ = [
        *(("name", ctypes.c_char_p), ("values", ctypes.c_int64), ("interleaved", ctypes.c_int64)),
        *(("nbytes", ctypes.c_size_t), ("is_quantized", ctypes.c_bool), ("to_float", ctypes.c_void_p)),
    ]


def _main() -> None:
    spec = importlib.util.find_spec("xllamacpp")
    assert spec is not None and spec.origin is not None
    (library,) = Path(spec.origin).parent.glob("xllamacpp*.so")
    find = ctypes.CDLL(str(library)).ggml_get_type_traits
    find.restype = ctypes.POINTER(_Traits)
    traits, count = find(int(sys.argv[1]))[0], int(sys.argv[2])
    raw, values = np.frombuffer(sys.stdin.buffer.read(), np.uint8), np.empty(count, np.float32)
    assert raw.size * traits.values == count * traits.nbytes
    read = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(traits.to_float)
    read(raw.ctypes.data, values.ctypes.data, count)
    sys.stdout.buffer.write(values.tobytes())


if __name__ == "__main__":
    _main()
