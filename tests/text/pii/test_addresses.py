"""E-mail and IP addresses, and what only looks like them."""

import ipaddress
import random

import pytest

from llmkit.text.pii.addresses import find_emails, find_ips


def emails(text: str) -> list[str]:
    return [text[start:end] for start, end in find_emails(text)]


def ips(text: str) -> list[str]:
    return [text[start:end] for start, end in find_ips(text)]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("write to Jane.Doe+news@mail.example.co.uk.", "Jane.Doe+news@mail.example.co.uk"),
        ("<a_b%c@xn--bcher-kva.example.org>", "a_b%c@xn--bcher-kva.example.org"),
        ("mail:müller@bücher.de,", "müller@bücher.de"),
        ('<a href="mailto:bob@example.com?subject=hi">', "bob@example.com"),
        ("contact:bob@example.com", "bob@example.com"),
        ("//contact: bob@example.com", "bob@example.com"),
        ("https://lists.example.org/unsubscribe/bob@example.com", "bob@example.com"),
        ("mail/in/bob@example.com/", "bob@example.com"),
        ("mail müller@bücher.de,", "müller@bücher.de"),
        ("(me@site.io)", "me@site.io"),
        ("[x@y.museum]", "x@y.museum"),
    ],
)
def test_an_address_is_found_whole(text: str, address: str) -> None:
    assert emails(text) == ([address] if address else [])


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:user/repo.git", "https://user:pw@host.org/x", "logo@2x.png", "react@18.2.0",
        "@app.route",
        "W@x.mean(0)", "a@b.T", "y = A @ b.com", "user@localhost", "me@site", "q@k.transpose", "jane@",
        "weights@init.py",
        "mailto.com", "pkg@latest.js", "a..b@example.org",
        "ftp://bob@example.com/x", "ssh://git@github.com/a/b", "//user:pw@example.com/x",
        "postgres://app:s3cret@db.example.com/main", "redis://:pw@example.com", "db://app:p@ss:w@example.com",
        "amqp://a:b:c@example.com/",
        "git+https://user-x:pw.y@example.com/r.git", f"http://{'u' * 90}:pw@example.com/",
    ],
)  # fmt: skip
def test_code_and_paths_are_no_addresses(text: str) -> None:
    assert emails(text) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("blocked 195.234.74.142 yesterday", "195.234.74.142"),
        ("http://93.184.216.34:8080/x", "93.184.216.34"),
        ("DNS server 8.8.8.8", "8.8.8.8"),
        ("ip address: 1.1.1.1.", "1.1.1.1"),
        ("net 193.0.0.0/21", "193.0.0.0"),
        ("over 2606:2800:220:1:248:1893:25c8:1946 today", "2606:2800:220:1:248:1893:25c8:1946"),
        ("[2a00:1450:4001:81b::200e]:443", "2a00:1450:4001:81b::200e"),
    ],
)
def test_a_public_address_is_found(text: str, address: str) -> None:
    assert ips(text) == [address]


@pytest.mark.parametrize(
    "text",
    [
        "192.168.0.1", "10.0.0.1", "127.0.0.1", "172.16.5.4", "169.254.1.1", "0.0.0.0", "255.255.255.255",
        "192.0.2.7",
        "224.0.0.251", "100.64.0.1", "fe80::1", "::1", "2001:db8::1", "fd00::12:34",
        "version 4.2.8.1", "v193.0.6.139", "Chrome/120.0.60.109", "foo==193.0.6.139", ">= 21.4.3.2",
        "1.2.3.4", "section 24.3.2.1",
        "01.02.2003.04", "193.0.6.139.5", "193.0.6", "999.1.1.1", "193.0.06.139", "openssl-193.0.6.139",
        "12:34:56", "aa:bb:cc:dd:ee:ff", "std::vec::Vec", "a::b::c", "00:1A:2B:3C:4D:5E:6F:70", "dead::beef",
    ],
)  # fmt: skip
def test_private_addresses_versions_times_and_code_are_left(text: str) -> None:
    assert ips(text) == []


def test_addresses_are_found_if_and_only_if_the_world_can_reach_them() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        address = ipaddress.IPv4Address(rng.getrandbits(32))
        public = address.is_global and not address.is_multicast
        assert (ips(f"host {address} answered") == [str(address)]) == public, address
