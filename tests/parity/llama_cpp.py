"""llama.cpp's own logits, through the C functions of the xllamacpp wheel, in a process of its own.

Run as a script: FILE.gguf, and those of adapters, in argv; ids and the adapters' scales as JSON on stdin,
rows of logits as JSON on stdout.
"""

import ctypes
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_F16, _F32 = 1, 0


def llama_cpp_logits(
    file: Path, ids: list[int], *adapters: Path, scales: Sequence[float] = (1.0,)
) -> list[list[float]]:
    """T rows of V: what llama.cpp scores after each of the ids, read one by one through its float32 cache.

    Args:
        file: of the model.
        ids: to read.
        adapters: beside it.
        scales: of each.

    Skips the test where xllamacpp is not installed.
    """
    import pytest  # not in the process that runs llama.cpp

    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("no llama.cpp here: pip install --no-deps xllamacpp")
    done = subprocess.run(
        [sys.executable, __file__, *map(str, [file, *adapters])],
        input=json.dumps([ids, scales[: len(adapters)]]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return rows


class _Parameters(ctypes.Structure):
    """Passed by value; larger than any version's, all of them beginning alike."""

    _fields_ = [("words", ctypes.c_int32 * 128)]


class _Batch(ctypes.Structure):
    _fields_ = [("words", ctypes.c_int64 * 7)]


def _main() -> None:
    spec = importlib.util.find_spec("xllamacpp")
    assert spec is not None and spec.origin is not None
    (library,) = Path(spec.origin).parent.glob("xllamacpp*.so")
    llama = ctypes.CDLL(str(library))
    for name, result in (
        *(("llama_model_default_params", _Parameters), ("llama_context_default_params", _Parameters)),
        *(("llama_batch_get_one", _Batch), ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float))),
        *((name, ctypes.c_void_p) for name in ("llama_model_load_from_file", "llama_init_from_model")),
        *((name, ctypes.c_void_p) for name in ("llama_model_get_vocab", "llama_adapter_lora_init")),
    ):
        getattr(llama, name).restype = result
    model = llama.llama_model_load_from_file(sys.argv[1].encode(), llama.llama_model_default_params())
    if not model:
        sys.exit("llama.cpp does not load it")
    parameters = llama.llama_context_default_params()
    _cache_in_float32(parameters.words)
    context = ctypes.c_void_p(llama.llama_init_from_model(ctypes.c_void_p(model), parameters))
    if not context:
        sys.exit("llama.cpp does not start it")
    llama.llama_set_n_threads(context, 1, 1)  # its four wait for each other in loops: half of the time
    ids, scales = json.load(sys.stdin)
    adapters = [llama.llama_adapter_lora_init(ctypes.c_void_p(model), path.encode()) for path in sys.argv[2:]]
    if not all(adapters):
        sys.exit("llama.cpp does not load an adapter")
    number = len(adapters)
    if number and llama.llama_set_adapters_lora(
        context,
        (ctypes.c_void_p * number)(*adapters),
        ctypes.c_size_t(number),
        (ctypes.c_float * number)(*scales),
    ):
        sys.exit("llama.cpp does not take the adapters")
    vocab = llama.llama_vocab_n_tokens(ctypes.c_void_p(llama.llama_model_get_vocab(ctypes.c_void_p(model))))
    rows = []
    for one in ids:
        token = (ctypes.c_int32 * 1)(one)
        if llama.llama_decode(context, llama.llama_batch_get_one(token, 1)):
            sys.exit("llama.cpp does not read it")
        rows.append(llama.llama_get_logits_ith(context, -1)[:vocab])
    print(json.dumps(rows))


def _cache_in_float32(words: "ctypes.Array[ctypes.c_int32]") -> None:
    """Change type_k and type_v, the first two words of F16 side by side after the floats of rotary positions.

    Flash attention, which rounds to float16, is the fourth of the four words that are -1 for `by itself`.
    """
    at = next(at for at in range(16, 40) if words[at] == words[at + 1] == _F16)
    words[at] = words[at + 1] = _F32
    unset = next(at for at in range(16) if list(words[at : at + 4]) == [-1] * 4)
    words[unset + 3] = 0


if __name__ == "__main__":
    _main()
