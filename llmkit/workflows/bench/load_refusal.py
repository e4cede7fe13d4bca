"""What a server says where it does not take the load: its own words, and what may help."""

from llmkit.errors import RemoteError

_HINTS = {
    401: "--api-key-file FILE, or OPENAI_API_KEY",
    403: "--api-key-file FILE, with a key that may do this",
    404: "--model NAME, one of those that the server lists; --url is its root, with or without /v1",
    429: "again later, or with a key that may ask for more",
    503: "again when the server is ready: curl URL/ready",
}


def load_refusal(url: str, status: str | int, said: str | None) -> RemoteError:
    """The error for an answer that is none.

    Args:
        url: of the server.
        status: of the answer, or a word for what went wrong.
        said: the server's own message; None: it said nothing that we can read.
    """
    told = f"{url}: the server does not take the load ({status}" + (f": {said})" if said else ")")
    if str(status) == "400" and said is not None and "ignore_eos" in said:
        return RemoteError(told, hint="--no-ignore-eos, for a server that does not know the word")
    if not str(status).isdigit():
        return RemoteError(told, hint="is the server up? llmkit serve MODEL --log FILE")
    return RemoteError(
        told, hint=_HINTS.get(int(status), "the server's log says why: llmkit serve --log FILE")
    )
