"""Which web pages may have a server without keys work: its own, and those of `--cors`.

A browser posts what a page of any site tells it to, to its own machine too, and asks nobody first where the
body looks like a form or a text: CORS only keeps the answer from the page. Whose page it is stands in
`Origin`, which no page can change. A site that turns its name to 127.0.0.1 (DNS rebinding) has pages of the
same origin as a server there; but `Host` has that name. Programs send no Origin, and the Host that they were
told.

A proxy may put its own `Host` in the place of what the page asked, and that into `X-Forwarded-Host`. It is
believed of whose page it is, and no more: a page of another origin that would set it must ask first (a CORS
preflight), and is told no.

Where a key is asked for, none of this is: pages of others have none.

Sources: WHATWG, Fetch, "`Origin` header", "CORS-safelisted request-header"; W3C, "Fetch Metadata
Request Headers"; Go's net/http.CrossOriginProtection; Ollama, server/routes.go, allowedHostsMiddleware.
"""

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence

from llmkit.server.errors import MOST_PARAM, ApiError, shortened

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s\[\]:/@?#]+)(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>.*)")
_PORTS = {"http": "80", "https": "443"}


class OwnOrigin:
    """What tells requests of a server's own pages from those of others."""

    def __init__(self, origins: Sequence[str] = (), host: str | None = None) -> None:
        """
        Args:
            origins: whose pages may ask too, as `--cors` names them; `*`: all.
            host: where it listens; None: on a Unix socket, which no page reaches, or behind a router.
        """
        self._origins = frozenset(origins)
        self._host = host
        self._names: frozenset[str] | None = None  # beside those of every machine for itself; None: any
        if host is not None and "*" not in self._origins and _is_loopback(host):
            told = [_ORIGIN.fullmatch(one.lower()) for one in origins]
            found = [_parts(one["host"]) for one in told if one is not None]
            self._names = frozenset({host.lower(), *(one[0] for one in found if one is not None)})

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuse what a page of another origin wants done, and pages that have taken our address.

        Args:
            method: of the request.
            headers: of the request; names in lower case.

        Raises:
            ApiError: 403.
        """
        host = headers.get("host", "").lower()
        if self._names is not None and host:  # HTTP/1.0 may lack it, which no browser speaks
            found = _parts(host)
            if found is None or not (found[0] in self._names or _is_own_name(found[0])):
                raise _refused_host(host if found is None else found[0], str(self._host))
        origin = headers.get("origin")
        if origin is None or method in ("GET", "HEAD") or self._origins & {origin, "*"}:
            return
        # a proxy may have put another Host: of what the page sees, the browser tells, or the proxy
        told_hosts = (host, headers.get("x-forwarded-host", "").partition(",")[0].strip().lower())
        own = headers.get("sec-fetch-site") == "same-origin"
        if not own and not any(_is_same(origin.lower(), one) for one in told_hosts):
            told = shortened(origin, MOST_PARAM)
            what = f"pages of {told} may not ask here (--cors {told} lets them)"
            raise ApiError(403, what, code="origin_not_allowed")


def as_browsers_write(origin: str) -> str | None:
    """What stands in `Origin` for pages of an origin; None: it is none. `*` and `null` are as they are.

    Args:
        origin: as somebody wrote it: with capitals, a scheme's own port, or a slash at the end.
    """
    if origin in ("*", "null"):
        return origin
    found = _ORIGIN.fullmatch(origin.lower().removesuffix("/"))
    parts = None if found is None else _parts(found["host"])
    if found is None or parts is None or "*" in parts[0]:
        return None
    name, port = parts
    needs_none = port in ("", _PORTS.get(found["scheme"]))
    return f"{found['scheme']}://{name}" + ("" if needs_none else f":{port}")


def _refused_host(name: str, listens: str) -> ApiError:
    told = shortened(name, MOST_PARAM)
    what = (
        f"host: {told} is no name of {listens}, where this server listens (--cors http://{told} makes it one)"
    )
    return ApiError(403, what, code="host_not_allowed")


def _is_same(origin: str, host: str) -> bool:
    """Whether a page came from the host that it asks. By what scheme, a proxy that ends TLS does not tell."""
    told = _ORIGIN.fullmatch(origin)
    if told is None or not host:
        return False
    port = _PORTS.get(told["scheme"], "")
    return _parts(told["host"], port) == _parts(host, port) is not None


def _parts(host: str, port: str = "") -> tuple[str, str] | None:
    """Name and port, which may be left out; None where it is neither."""
    found = _HOST.fullmatch(host)
    return None if found is None else (found["name"].removesuffix("."), found["port"] or port)


def _is_own_name(name: str) -> bool:
    """Whether every machine calls itself so, or this one; or containers call the machine that they are on.

    Nobody can register a name under .internal (ICANN, 2024): host.docker.internal, host.containers.internal.
    """
    if name in ("localhost", socket.gethostname().lower()) or name.endswith((".localhost", ".internal")):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(host, None, family)
    except (OSError, UnicodeError):  # nothing can listen there
        return False
    return ipaddress.ip_address(found[0][4][0]).is_loopback
