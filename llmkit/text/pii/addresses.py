"""Addresses of the net that lead to a person or a machine: e-mail, and IP addresses of the public net."""

import ipaddress
import re
from collections.abc import Iterator

_EMAIL = re.compile(
    r"(?<![\w.+%@-])[\w.+%-]{1,64}+@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}"
    r"(?P<top>[A-Za-z]{2,18}|xn--[\w-]{2,58})"
    r"(?![\w(\[@=-]|:[\w/~]|\.\w)"
)
_USER_INFO = re.compile(r"//[^\s/?#]*\Z")  # of a URL, up to where a match begins
_MOST_USER_INFO = 256
_FILE_SUFFIXES = frozenset(("py", "rs", "md", "sh", "js", "ts", "go"))
"""Countries' top-level domains that a name of a file ends in more often, behind an @ at least."""
_TOP_DOMAINS = frozenset(
    name
    for names in (
        "com org net edu gov mil int info biz name pro museum coop aero jobs mobi travel tel cat asia",
        "arpa app dev cloud online site tech store shop blog xyz club live life world today news media",
        "agency studio digital email network systems solutions services software company business",
        "consulting group team work academy school university college institute foundation church",
        "community support center centre clinic health care hospital dental law legal attorney finance",
        "bank capital money insurance energy green earth london paris berlin wien hamburg koeln tokyo nyc",
        "vegas sydney amsterdam barcelona madrid brussels swiss bayern wales scot quebec africa eus gal",
        "bzh frl photo photos photography gallery design graphics art music band film video games game",
        "sport fitness yoga run bike golf football house homes property rent villas hotel holiday",
        "vacations tours restaurant cafe coffee pizza bar pub wine beer kitchen farm garden flowers",
        "fashion shoes clothing jewelry boutique style beauty hair salon spa kids toys baby family",
        "wedding dating social chat expert guru ninja rocks wiki zone land city town village country",
        "directory guide tips review reviews training education courses science engineering technology",
        "computer codes host hosting website webcam space top win vip fun icu loan download click link",
        "page press ink",
    )
    for name in names.split()
)
_IPV4 = re.compile(r"(?<![\w.,=^~<>v§-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\w|,\d)")
_VERSION_BEFORE = re.compile(
    r"(?:\b(?:v|ver|version|versions|release|rev|revision|build|firmware|driver|update|upgrade|patch|section|sec"
    r"|chapter|figure|fig|table|clause|article|step|exercise|theorem|part|appendix|python|java|node|chrome"
    r"|windows)\W{0,3}|[=<>~^]\s?|[A-Za-z]/)\Z",
    re.IGNORECASE,
)
_QUAD = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d")  # starts with a literal: found at the speed of a search
_COLONS = re.compile(r":[0-9A-Fa-f]{1,4}::?[0-9A-Fa-f]{0,4}")
_NET_BEFORE = re.compile(
    r"\b(?:ips?|ipv4|addr(?:ess)?|hosts?|server|dns|ping|gateway|from|client)\b[^\n]{0,16}\Z|//\Z", re.I
)
_NET_AFTER = re.compile(r":\d{1,5}\b|/\d{1,2}\b(?!\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:{1,2}){2,7}[0-9A-Fa-f]{0,4}(?![\w:]|\.\d)")
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
_SMALL = 20  # four numbers below this are the number of a section or a version more often than an address


def find_emails(text: str) -> Iterator[tuple[int, int]]:
    """E-mail addresses; not the user of a URL, of an ssh path (git@host:path) or a file's name."""
    if "@" not in text:
        return
    for found in _EMAIL.finditer(text):
        top = found.group("top").lower()
        local = found.group().partition("@")[0]
        known = len(top) == 2 or top in _TOP_DOMAINS or top.startswith("xn--")
        if not known or top in _FILE_SUFFIXES or local.endswith(".") or ".." in local:
            continue
        start = found.start()
        if text[start - 1 : start] in ("/", ":") and _is_user_info(text, start):
            continue
        yield start + (len(local) - len(local.lstrip("."))), found.end()


def _is_user_info(text: str, start: int) -> bool:
    """Whether what begins here is behind the // of a URL, the password of a user too."""
    return _USER_INFO.search(text, max(0, start - _MOST_USER_INFO), start) is not None


def find_ips(text: str) -> Iterator[tuple[int, int]]:
    """IP addresses of the public net: not private, reserved or of documentation, and no version's number."""
    for found in _IPV4.finditer(text) if _QUAD.search(text) else ():
        if _is_public_ipv4(found.group()) and _reads_as_address(text, *found.span(), found.group()):
            yield found.span()
    for found in _IPV6.finditer(text) if _COLONS.search(text) else ():
        if _is_public_ipv6(found.group()):
            yield found.span()


def _is_public_ipv4(text: str) -> bool:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:  # a part above 255, or with a zero before it as in a date
        return False
    return address.is_global and not address.is_multicast


def _is_public_ipv6(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return address in _GLOBAL_IPV6 and address.is_global and len(text) > 8


def _reads_as_address(text: str, start: int, end: int, found: str) -> bool:
    before = text[max(0, start - 32) : start]
    announced = _NET_BEFORE.search(before) is not None or _NET_AFTER.match(text, end) is not None
    if _VERSION_BEFORE.search(before) is not None:
        return before.endswith("//")
    return announced or any(int(part) >= _SMALL for part in found.split("."))
