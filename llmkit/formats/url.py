"""URLs of servers, as people give them."""

from urllib.parse import SplitResult, urlsplit


def split_url(url: str) -> SplitResult | None:
    """A URL of HTTP in its parts; None: no request can be sent there, whatever answers."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:  # an open bracket, an empty part of a name, a port that is no number
        return None
    is_one = parts.scheme in ("http", "https") and host and b" " not in host and url.isprintable()
    return parts if is_one else None
