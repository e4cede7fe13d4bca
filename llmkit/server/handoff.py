"""What a router and its workers tell each other, over sockets that nobody else can open. No torch.

For whom a request is goes where a key would: `authorization: Bearer …`. What an answer took comes back in a
header, or in comments of the stream, which the router takes out:

    x-llmkit-slot: 12 0 5 0.031 stop 0 -
    : llmkit-slot 12 0 5 0.031 stop 0 -
"""

import base64
import binascii
import hmac

import msgspec

from llmkit.server.errors import ApiError
from llmkit.server.gate import Caller, OpenGate, Slot

SLOT_HEADER = "x-llmkit-slot"
SLOT_COMMENT = b": llmkit-slot "
_FIELDS = 7


def slot_headers(slot: Slot, *, behind_router: bool) -> dict[str, str] | None:
    """What an answer in one piece tells a router that asks; None: nobody does."""
    return {SLOT_HEADER: slot_line(slot)} if behind_router else None


class WorkerGate(OpenGate):
    """Lets in whom the router sends: the keys, the limits and the queue are there."""

    def __init__(self, secret: str = "") -> None:
        """
        Args:
            secret: that router and worker share, where others can open the socket too.
        """
        self._secret = secret

    def identify(self, key: str | None) -> Caller:
        """For whom the router asks.

        Raises:
            ApiError: 401: this is no router.
        """
        secret, _, told = (key or "").rpartition(".")
        if not hmac.compare_digest(secret.encode(), self._secret.encode()):
            raise _no_router()
        return unpack_caller(told)


def pack_caller(caller: Caller, secret: str = "") -> str:
    """A caller as what stands where a key would: whose caches, and how urgent. Names stay with the router.

    Args:
        caller: for whom the router asks.
        secret: that the worker asks for.
    """
    told = {"tenant": caller.tenant, "priority": caller.lowest_priority}
    packed = base64.urlsafe_b64encode(msgspec.json.encode(told)).decode()
    return f"{secret}.{packed}" if secret else packed


def unpack_caller(told: str) -> Caller:
    """The caller again.

    Raises:
        ApiError: 401: something else stands there.
    """
    try:
        content = msgspec.json.decode(base64.urlsafe_b64decode(told.encode()), type=_Told)
    except (binascii.Error, msgspec.DecodeError, UnicodeError):
        raise _no_router() from None
    return Caller(tenant=content.tenant, lowest_priority=content.priority)


def _no_router() -> ApiError:
    return ApiError(401, "this worker answers its router only", code="invalid_api_key")


def slot_line(slot: Slot) -> str:
    """Tokens read, found in the cache, written; seconds to the first; how it ended; calls of tools; error."""
    usage = slot.usage
    first = "-" if slot.first_token_seconds is None else f"{slot.first_token_seconds:.6f}"
    tokens = f"{usage.prompt_tokens} {usage.cached_tokens} {usage.completion_tokens}"
    return f"{tokens} {first} {slot.finished or '-'} {slot.tool_calls} {slot.error or '-'}"


def slot_comment(slot: Slot) -> bytes:
    """The same as a comment of a stream."""
    return SLOT_COMMENT + slot_line(slot).encode() + b"\n\n"


def read_slot(line: str, slot: Slot) -> None:
    """Write what `slot_line` has told into a slot.

    Raises:
        ValueError: it is no such line.
    """
    fields = line.split()
    if len(fields) != _FIELDS:
        raise ValueError(line)
    usage = slot.usage
    usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens = (int(one) for one in fields[:3])
    slot.first_token_seconds = None if fields[3] == "-" else float(fields[3])
    slot.finished = None if fields[4] == "-" else fields[4]
    slot.tool_calls = int(fields[5])
    slot.error = None if fields[6] == "-" else fields[6]


class _Told(msgspec.Struct):
    tenant: str
    priority: int
