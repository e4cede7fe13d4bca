"""The native library, loaded once: whether it is there, what it runs on, and its functions with their types.

The library itself picks the best instruction-set level that the processor has. For tests only, the
environment variable LLMKIT_KERNELS names one (portable, avx2, avx512, avx512bf16, neon, or off); the library
reads it once.
"""

from ctypes import (
    CDLL,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_int32,
    c_int64,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache

from llmkit.errors import MissingError
from llmkit.kernels.build import LIBRARY, read_note

ABI_VERSION = 20
HINT = (
    "install a C++ compiler (g++ or clang++); then, in the folder of llmkit's source: "
    "pip install --force-reinstall --no-deps ."
)


class WeightStruct(Structure):
    """Weight of native/abi.h."""

    _fields_ = [
        ("format", c_int32),
        ("group", c_int32),
        ("rows", c_int64),
        ("cols", c_int64),
        ("data", c_void_p),
        ("span", c_int32),
        ("wide", c_int32),
        ("kind", c_int32),
    ]


class CodedRowsStruct(Structure):
    """CodedRows of native/abi.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("codes", "scales", "bases", "factors", "base_factors")),
        *((name, c_int64) for name in ("first", "rows")),
        ("head", c_void_p),
    ]


_i32, _i64, _at = c_int32, c_int64, c_void_p
_SIGNATURES = {
    "llmkit_abi_version": (_i32, ()),
    "llmkit_level": (c_char_p, ()),
    "llmkit_set_threads": (None, (_i32,)),
    "llmkit_threads": (_i32, ()),
    "llmkit_packed_bytes": (_i64, (POINTER(WeightStruct),)),
    "llmkit_pack_coded": (c_bool, (POINTER(CodedRowsStruct), POINTER(WeightStruct))),
    "llmkit_pack": (c_bool, (_i32, _at, _i64, _at, _i64, POINTER(WeightStruct))),
    "llmkit_learn_attention": (c_bool, (_at,)),
    "llmkit_learn_attention_bytes": (_i64, (_at,)),
    "llmkit_cross_entropy": (c_bool, (_at,)),
    "llmkit_learn_gate": (c_bool, (_at,)),
    "llmkit_learn_rotation": (c_bool, (_at,)),
    "llmkit_forward": (c_bool, (_at, _at, _i32, _at)),
    "llmkit_search": (c_bool, (_at,)),
    "llmkit_neighbours": (c_bool, (_at,)),
    "llmkit_blocks": (c_bool, (_at,)),
    "llmkit_nearest_codes": (c_bool, (_at,)),
    "llmkit_code_values": (c_bool, (_at,)),
    "llmkit_feedback": (c_bool, (_at,)),
    "llmkit_read_memory": (c_uint32, (_at, _i64)),
    "llmkit_text_hash": (c_uint64, (c_char_p, _i64)),
    "llmkit_text_chunks": (_i64, (_at, c_char_p, _i64, _at, _at, _at)),
    "llmkit_text_elements": (_i64, (c_char_p, _i64, c_bool, _at, _at)),
    "llmkit_text_split": (c_bool, (_at, _i64, c_char_p, _i64)),
    "llmkit_text_words": (_i64, (_at, _at, _i64, _i64, _at, _at, _at)),
    "llmkit_text_commonest": (c_bool, (_at, _i64, _i64, _at, _at)),
    "llmkit_text_repeated": (c_bool, (_at, _at, _i64, _i64, _at, _at)),
}


@cache
def _loaded() -> CDLL | str:
    """The library, or why there is none."""
    if (missing := unbuilt()) is not None:
        return missing
    try:
        library = CDLL(str(LIBRARY))
    except OSError as error:
        return f"cannot be loaded: {error}"
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name, None)
        if function is None:
            return f"is of another version: it lacks {name}"
        function.restype, function.argtypes = result, arguments
    version = library.llmkit_abi_version()
    if version != ABI_VERSION:
        return f"is of another version ({version}, not {ABI_VERSION})"
    if library.llmkit_level() is None:
        return "is switched off by LLMKIT_KERNELS, or lacks the level it names"
    return library


def unbuilt() -> str | None:
    """Why there is no library, to follow "the native library is"; None where there is one, of use or not."""
    if LIBRARY.is_file():
        return None
    reason = read_note().get("reason")
    return f"not built: {reason}" if reason else "not built"


def available() -> bool:
    """Whether the native kernels can be used here."""
    return isinstance(_loaded(), CDLL)


def why_not() -> str | None:
    """Why the native kernels cannot be used, to follow "the native library"; None where they can."""
    loaded = _loaded()
    return loaded if isinstance(loaded, str) else None


def library() -> CDLL:
    """The library's functions.

    Raises:
        MissingError: there is none that runs here.
    """
    loaded = _loaded()
    if isinstance(loaded, str):
        raise MissingError(f"the native library {loaded}", hint=HINT)
    return loaded


def level() -> str:
    """The instruction-set level in use: portable, avx2, avx512, avx512bf16 or neon."""
    name: bytes = library().llmkit_level()
    return name.decode()


def threads() -> int:
    """How many threads the kernels run on: every processor this process may use, unless set."""
    return int(library().llmkit_threads())


def set_threads(count: int) -> None:
    """Run the kernels on `count` threads from the next call on; 0 is every processor. Changes no result."""
    library().llmkit_set_threads(count)


def finished(done: bool) -> None:
    """Raise MemoryError where a kernel could not get its memory or its threads."""
    if not done:
        raise MemoryError("a native kernel could not get memory or threads")
