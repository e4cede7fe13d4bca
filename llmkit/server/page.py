"""`/`: a page for people, sent as one file with nothing from outside. It asks for the key: anybody gets it.

Its policy names the script and the style that are in it by their digests, and lets it ask nobody but this
server: what a model writes cannot run, even if the page would let it in.

The lexer of marked (`page/marked.js` is its marked.umd.js as published, without the name of a map; MIT,
`page/marked.LICENSE`) reads replies; the page makes the elements itself (`page/markdown.js`).

Source: W3C, "Content Security Policy Level 3"; "Trusted Types".
"""

import base64
import hashlib
import re
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

_SCRIPT = re.compile(rb'<script src="(?P<name>\w+\.js)"></script>')
_INLINE = re.compile(rb"<(?P<kind>script|style)>(?P<content>.*?)</(?P=kind)>", re.DOTALL)


def content_policy(page: bytes) -> str:
    """The policy under which a page's own script and style work, and nothing else does.

    Args:
        page: HTML; its `<script>` and `<style>` have no attributes.
    """
    allowed: dict[str, list[str]] = {"script": [], "style": []}
    for found in _INLINE.finditer(page):
        digest = base64.b64encode(hashlib.sha256(found["content"]).digest()).decode()
        allowed[found["kind"].decode()].append(f"'sha256-{digest}'")
    return "; ".join(
        (
            "default-src 'none'",
            *(f"{kind}-src {' '.join(digests)}" for kind, digests in allowed.items()),
            "connect-src 'self'",
            "img-src data:",  # the empty icon, so that browsers ask for none
            *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
            *("require-trusted-types-for 'script'", "trusted-types 'none'"),
        )
    )


def whole_page() -> bytes:
    """index.html with the scripts that it names in it."""
    folder = files("llmkit.server").joinpath("page")

    def inline(found: re.Match[bytes]) -> bytes:
        return b"<script>" + folder.joinpath(found["name"].decode()).read_bytes() + b"</script>"

    return _SCRIPT.sub(inline, folder.joinpath("index.html").read_bytes())


PAGE = whole_page()
HEADERS = {
    "content-security-policy": content_policy(PAGE),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


async def show_page(request: Request) -> Response:
    """GET /."""
    return Response(PAGE, media_type="text/html; charset=utf-8", headers=HEADERS)
