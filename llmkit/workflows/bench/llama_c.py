"""llama.cpp through its C functions, in a process of its own: what `llama.py` starts and talks to.

    python llama_c.py LIBRARY FILE.gguf      requests on stdin, answers on stdout, a line of JSON each

    {"do": "context", "held": [[ids], …], "positions": 80, "threads": 2}     {"context": 0}
    {"do": "prefill", "context": 0, "ids": [ids]}                            {"seconds": …, "best": [id], …}
    {"do": "decode", "context": 0, "ids": [[ids of a step], …]}              the same, "best" of every text

Each call begins where `held` ends, one list a text, and times what llama-bench and llama-batched-bench do:
given ids go in, every text's scores come out, nothing is drawn from them. Settings are llama.cpp's own:
float16 cache, flash attention where it likes, weights laid out anew where it has a faster layout.

Structures are those of include/llama.h. Of the settings, passed by value, only the first four words are
written; all behind them is what llama.cpp's own defaults put there, and what comes of it is asked back.
Needs nothing but Python.
"""

import ctypes
import json
import sys
import time
from collections.abc import Sequence
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_uint32, c_void_p
from typing import Any

_BATCH_TOKENS = 2048
"""llama.cpp's own default: most tokens of a call."""
_CELLS = 256
"""A text's part of the cache is a multiple of this."""


class _Settings(ctypes.Structure):
    """llama_model_params or llama_context_params: larger than any version's."""

    _fields_ = [("words", c_uint32 * 128)]


class _Batch(ctypes.Structure):
    """llama_batch: tokens of one call."""

    _fields_ = [
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", c_void_p),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
    ]


_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_print_system_info": (c_char_p, ()),
    "llama_model_default_params": (_Settings, ()),
    "llama_context_default_params": (_Settings, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, _Settings)),
    "llama_init_from_model": (c_void_p, (c_void_p, _Settings)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_n_ctx": (c_uint32, (c_void_p,)),
    "llama_n_batch": (c_uint32, (c_void_p,)),
    "llama_n_seq_max": (c_uint32, (c_void_p,)),
    "llama_set_n_threads": (None, (c_void_p, c_int32, c_int32)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_seq_rm": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "llama_decode": (c_int32, (c_void_p, _Batch)),
    "llama_synchronize": (None, (c_void_p,)),
    "llama_get_logits_ith": (POINTER(c_float), (c_void_p, c_int32)),
}


class LlamaCpp:
    """A model that llama.cpp has loaded."""

    def __init__(self, library: str, file: str) -> None:
        """Raises ValueError where the library lacks a function or does not load the file."""
        self._c = ctypes.CDLL(library)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._c, name, None)
            if function is None:
                raise ValueError(f"the library has no function {name}: another version of llama.cpp")
            function.restype, function.argtypes = result, arguments
        self._c.llama_backend_init()
        self._model = self._c.llama_model_load_from_file(file.encode(), self._c.llama_model_default_params())
        if not self._model:
            raise ValueError("llama.cpp does not load the model")
        self._vocabulary = self._c.llama_vocab_n_tokens(self._c.llama_model_get_vocab(self._model))
        self._contexts: list[tuple[int, list[list[int]]]] = []

    @property
    def system(self) -> str:
        """What its kernels were built for: `AVX2 = 1 | F16C = 1 | …`."""
        return str(self._c.llama_print_system_info().decode())

    def context(self, held: Sequence[Sequence[int]], positions: int, threads: int) -> int:
        """Start as many texts as `held` lists, with those ids read. Returns the number that names them."""
        texts = len(held)
        cells = -(-positions // _CELLS) * _CELLS
        settings = self._c.llama_context_default_params()
        wanted = (cells * texts, min(cells * texts, max(_BATCH_TOKENS, positions)), texts)
        settings.words[0], settings.words[1], settings.words[3] = wanted
        context = self._c.llama_init_from_model(self._model, settings)
        if not context:
            raise ValueError("llama.cpp has no memory for the texts")
        got = (self._c.llama_n_ctx(context), self._c.llama_n_batch(context), self._c.llama_n_seq_max(context))
        if got != wanted:
            raise ValueError(f"llama.cpp took {got} for {wanted}: its settings are of another layout")
        self._c.llama_set_n_threads(context, threads, threads)
        self._contexts.append((context, [list(ids) for ids in held]))
        for text, ids in enumerate(held):
            self._read(context, text, ids)
        return len(self._contexts) - 1

    def _read(self, context: int, text: int, ids: Sequence[int]) -> None:
        if ids:
            self._decode(context, _batch(ids, range(len(ids)), [text] * len(ids)))

    def prefill(self, number: int, ids: Sequence[int]) -> dict[str, Any]:
        """Read ids as the first text goes on, in one call; the last one is scored."""
        context, held = self._rewound(number)
        batch = _batch(ids, range(held[0], held[0] + len(ids)), [0] * len(ids))
        return self._timed(context, [batch], [-1])

    def decode(self, number: int, ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Read one id of every text a call; each is scored."""
        context, held = self._rewound(number)
        texts = list(range(len(held)))
        batches = [
            _batch(step, [at + more for at in held], texts, every=True) for more, step in enumerate(ids)
        ]
        return self._timed(context, batches, texts)

    def _rewound(self, number: int) -> tuple[int, list[int]]:
        """A context and its texts' lengths, with nothing in memory after them. A state goes back to nothing
        alone: what came before is read again."""
        context, held = self._contexts[number]
        memory = self._c.llama_get_memory(context)
        for text, ids in enumerate(held):
            if not self._c.llama_memory_seq_rm(memory, text, len(ids), -1):
                self._c.llama_memory_seq_rm(memory, text, 0, -1)
                self._read(context, text, ids)
        return context, [len(ids) for ids in held]

    def _timed(self, context: int, batches: Sequence[_Batch], rows: Sequence[int]) -> dict[str, Any]:
        wall, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            self._decode(context, batch)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        scores = (self._c.llama_get_logits_ith(context, row)[: self._vocabulary] for row in rows)
        return {
            "seconds": wall,
            "cpu_seconds": cpu,
            "best": [max(enumerate(one), key=_score)[0] for one in scores],
        }

    def _decode(self, context: int, batch: _Batch) -> None:
        status = self._c.llama_decode(context, batch)
        self._c.llama_synchronize(context)
        if status:
            raise ValueError(f"llama.cpp does not read the ids (status {status})")


def _score(one: tuple[int, float]) -> float:
    return one[1]


def _batch(
    ids: Sequence[int], positions: Sequence[int], texts: Sequence[int], *, every: bool = False
) -> _Batch:
    """Tokens of one call, each of one text; the last or every one is scored. The arrays live with it."""
    count = len(ids)
    numbers = c_int32 * count
    owners = [ctypes.pointer(c_int32(text)) for text in texts]
    wanted = (c_int8 * count)(*([1] * count if every else [0] * (count - 1) + [1]))
    batch = _Batch(
        count,
        numbers(*ids),
        None,
        numbers(*positions),
        numbers(*([1] * count)),
        (POINTER(c_int32) * count)(*owners),
        wanted,
    )
    batch.owners = owners  # ctypes keeps the arrays that it was given, but not what pointers in them point to
    return batch


def main(arguments: Sequence[str]) -> None:
    """Answer requests until there is none; an error ends it, in words on stderr."""
    library, file = arguments
    try:
        llama = LlamaCpp(library, file)
        _answer({"system": llama.system})
        for line in sys.stdin:
            request = json.loads(line)
            do = request.pop("do")
            if do == "context":
                _answer({"context": llama.context(**request)})
            else:
                call = llama.prefill if do == "prefill" else llama.decode
                _answer({**call(request["context"], request["ids"]), "memory_bytes": _peak_bytes()})
    except (ValueError, OSError) as error:
        sys.exit(f"llama.cpp: {error}")


def _answer(content: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(content)}\n")
    sys.stdout.flush()


def _peak_bytes() -> int:
    """The most memory of this process so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
