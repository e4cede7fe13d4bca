"""Keys with their issuers' prefixes; every one here is made up."""

import random
import string

import pytest

from llmkit.text.pii.secrets import find_secrets

RANDOM = random.Random(7)


def letters(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(RANDOM.choices(alphabet, k=count))


KEYS = [
    "AKIA" + letters(16, string.ascii_uppercase + "234567"),
    "ghp_" + letters(36),
    "github_pat_" + letters(22) + "_" + letters(59),
    "glpat-" + letters(20),
    "xoxb-" + letters(12, string.digits) + "-" + letters(24),
    "sk_live_" + letters(24),
    "AIza" + letters(35),
    "sk-ant-api03-" + letters(95),
    "sk-proj-" + letters(48),
    "sk-" + letters(20) + "T3BlbkFJ" + letters(20),
    "hf_" + letters(34, string.ascii_letters),
    "npm_" + letters(36),
    "pypi-AgEIcHlwaS5vcmc" + letters(80),
    "SG." + letters(22) + "." + letters(43),
    "dop_v1_" + letters(64, "0123456789abcdef"),
    "shpat_" + letters(32, "0123456789abcdef"),
    letters(9, "123456789") + ":AA" + letters(33),
    "eyJ" + letters(30) + ".eyJ" + letters(60) + "." + letters(43),
    "https://hooks.slack.com/services/T0123/B0123/" + letters(24),
    "-----BEGIN RSA PRIVATE KEY-----\n" + letters(400) + "\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:12].strip("-"))
def test_a_key_is_found_whole_in_its_line(key: str) -> None:
    text = f'export TOKEN="{key}"  # keep this safe'
    found = [text[start:end] for start, end in find_secrets(text)]
    assert found == [key.removeprefix("https://")]


@pytest.mark.parametrize(
    "text",
    [
        "AKIA is a prefix", "sk-learn and sk-ant are words", "ghp_short",
        "hf_hub_download(repo_id, filename)",
        "npm_config_registry=https://example.org", "SG.exe", "eyJ",
        "-----BEGIN PUBLIC KEY-----abc-----END PUBLIC KEY-----",
        "commit 0123456789abcdef0123456789abcdef01234567", "d41d8cd98f00b204e9800998ecf8427e",
        "AKIAIOSFODNN7EXAMPLE1234567890123",
    ],
)  # fmt: skip
def test_what_only_looks_alike_is_left(text: str) -> None:
    assert list(find_secrets(text)) == []
