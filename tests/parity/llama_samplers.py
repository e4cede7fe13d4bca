"""llama.cpp's own samplers, through the C functions of the xllamacpp wheel, in a process of its own.

Run as a script: what is asked as JSON on stdin, rows of scores as JSON on stdout.
"""

import ctypes
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from ctypes import byref, c_bool, c_char_p, c_float, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

_EVERYTHING = 1 << 16
"""As many tokens as -1 means; llama.cpp has no such number since its pull request 26524."""


def llama_dry(
    scores: Sequence[float], tokens: Sequence[int], start: int, *, file: Path | None = None, **settings: Any
) -> list[list[float]]:
    """What DRY makes of the same scores (V,) after `start` of the tokens, and after each one more.

    Args:
        scores: of every token.
        tokens: what has been read, and what is drawn.
        start: how many have been read.
        file: a GGUF file with the vocabulary that breaks are looked for in; None: there are no breaks.
        settings: multiplier, base, allowed_length, penalty_last_n, sequence_breakers.
    """
    asked = {"scores": [*scores], "tokens": [*tokens], "start": start, "file": file and str(file)}
    return _asked({"dry": settings, **asked})["rows"]


def llama_penalties(
    scores: Sequence[float], tokens: Sequence[int], start: int, *, last: int, penalties: Sequence[float]
) -> list[list[float]]:
    """The same of its penalties: repetition, frequency, presence, of the `last` tokens."""
    asked = {"scores": [*scores], "tokens": [*tokens], "start": start}
    return _asked({"penalties": [last if last >= 0 else _EVERYTHING, *penalties], **asked})["rows"]


def llama_adaptive(rows: Sequence[Sequence[float]], target: float, decay: float, seed: int) -> dict[str, Any]:
    """What adaptive-p makes of one row of scores after the other: `rows`, and the tokens drawn: `drawn`."""
    return _asked({"adaptive": [target, decay, seed], "scores": [[*row] for row in rows]})


def llama_mirostat(
    rows: Sequence[Sequence[float]], version: int, tau: float, eta: float, seed: int
) -> dict[str, Any]:
    """What mirostat leaves of one row of scores after the other: `kept`, and the tokens drawn: `drawn`."""
    return _asked({"mirostat": [version, tau, eta, seed], "scores": [[*row] for row in rows]})


def _asked(what: dict[str, Any]) -> dict[str, Any]:
    """Skips the test where xllamacpp is not installed."""
    import pytest  # not in the process that runs llama.cpp

    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("no llama.cpp here: pip install --no-deps xllamacpp")
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(what), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class _Parameters(ctypes.Structure):
    """Passed by value; larger than any version's."""

    _fields_ = [("words", c_int32 * 128)]


class _Token(ctypes.Structure):
    _fields_ = [("id", c_int32), ("logit", c_float), ("p", c_float)]


class _Tokens(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.POINTER(_Token)),
        ("size", c_size_t),
        ("selected", c_int64),
        ("sorted", c_bool),
    ]


def _main() -> None:
    spec = importlib.util.find_spec("xllamacpp")
    assert spec is not None and spec.origin is not None
    (library,) = Path(spec.origin).parent.glob("xllamacpp*.so")
    llama = ctypes.CDLL(str(library))
    for name, result, arguments in (
        ("llama_model_default_params", _Parameters, ()),
        ("llama_model_load_from_file", c_void_p, (c_char_p, _Parameters)),
        ("llama_model_get_vocab", c_void_p, (c_void_p,)),
        (
            "llama_sampler_init_dry",
            c_void_p,
            (c_void_p, c_float, c_float, c_int32, c_int32, ctypes.POINTER(c_char_p), c_size_t),
        ),
        ("llama_sampler_init_penalties", c_void_p, (c_int32, c_int32, c_float, c_float, c_float)),
        ("llama_sampler_init_adaptive_p", c_void_p, (c_float, c_float, c_uint32)),
        ("llama_sampler_init_mirostat", c_void_p, (c_int32, c_uint32, c_float, c_float, c_int32)),
        ("llama_sampler_init_mirostat_v2", c_void_p, (c_uint32, c_float, c_float)),
        ("llama_sampler_accept", None, (c_void_p, c_int32)),
        ("llama_sampler_apply", None, (c_void_p, ctypes.POINTER(_Tokens))),
    ):
        function = getattr(llama, name)
        function.restype, function.argtypes = result, arguments
    asked = json.load(sys.stdin)
    kinds = {"dry": _dry, "penalties": _penalties, "adaptive": _adaptive, "mirostat": _mirostat}
    print(json.dumps(next(answer for kind, answer in kinds.items() if kind in asked)(llama, asked)))


def _dry(llama: ctypes.CDLL, asked: dict[str, Any]) -> dict[str, Any]:
    vocab, told = None, asked["dry"]
    if asked["file"] is not None:
        settings = llama.llama_model_default_params()
        vocab = llama.llama_model_get_vocab(
            llama.llama_model_load_from_file(asked["file"].encode(), settings)
        )
    texts = [one.encode() for one in told["sequence_breakers"]]
    last = _EVERYTHING if told["penalty_last_n"] < 0 else told["penalty_last_n"]
    sampler = llama.llama_sampler_init_dry(
        *(vocab, told["multiplier"], told["base"], told["allowed_length"], last),
        *((c_char_p * len(texts))(*texts), len(texts)),
    )
    return _rows(llama, sampler, asked)


def _penalties(llama: ctypes.CDLL, asked: dict[str, Any]) -> dict[str, Any]:
    return _rows(llama, llama.llama_sampler_init_penalties(len(asked["scores"]), *asked["penalties"]), asked)


def _rows(llama: ctypes.CDLL, sampler: int, asked: dict[str, Any]) -> dict[str, Any]:
    """What it makes of the scores after the first tokens, and after each one more."""
    rows, tokens, start = [], asked["tokens"], asked["start"]
    for token in tokens[:start]:
        llama.llama_sampler_accept(sampler, token)
    for token in (*tokens[start:], None):
        left, _ = _applied(llama, sampler, asked["scores"])
        rows.append([left[one] for one in range(len(left))])
        if token is not None:
            llama.llama_sampler_accept(sampler, token)
    return {"rows": rows}


def _adaptive(llama: ctypes.CDLL, asked: dict[str, Any]) -> dict[str, Any]:
    sampler = llama.llama_sampler_init_adaptive_p(*asked["adaptive"])
    rows, drawn = [], []
    for scores in asked["scores"]:
        left, selected = _applied(llama, sampler, scores)
        rows.append([left[one] for one in range(len(left))])
        drawn.append(selected)
        llama.llama_sampler_accept(sampler, selected)
    return {"rows": rows, "drawn": drawn}


def _mirostat(llama: ctypes.CDLL, asked: dict[str, Any]) -> dict[str, Any]:
    version, tau, eta, seed = asked["mirostat"]
    if version == 1:  # the paper's 100 tokens tell the slope
        sampler = llama.llama_sampler_init_mirostat(len(asked["scores"][0]), seed, tau, eta, 100)
    else:
        sampler = llama.llama_sampler_init_mirostat_v2(seed, tau, eta)
    found = [_applied(llama, sampler, scores) for scores in asked["scores"]]
    return {"kept": [sorted(left) for left, _ in found], "drawn": [token for _, token in found]}


def _applied(llama: ctypes.CDLL, sampler: int, scores: list[float]) -> tuple[dict[int, float], int]:
    """The scores that the sampler leaves, by token, and the token that it draws, where it does."""
    tokens = (_Token * len(scores))(*((token, score, 0.0) for token, score in enumerate(scores)))
    array = _Tokens(tokens, len(scores), -1, False)
    llama.llama_sampler_apply(sampler, byref(array))
    selected = array.data[array.selected].id if array.selected >= 0 else -1
    return {one.id: one.logit for one in array.data[: array.size]}, selected


if __name__ == "__main__":
    _main()
