"""Keys are kept as digests, found among all, and their entries checked to the last word."""

import hashlib
from pathlib import Path

import pytest

from llmkit.errors import ConfigError, DataError, LlmkitError, MissingError
from llmkit.server.keys import digest_of, entry_of, new_key, read_keys


def test_a_new_key_is_found_by_the_entry_that_was_printed_for_it(tmp_path: Path) -> None:
    key, other = new_key(), new_key()
    path = tmp_path / "keys.toml"
    path.write_text(entry_of("alice", key) + 'priority = -1\nmodels = ["m"]\n' + entry_of("bob", other))
    keys = read_keys(path)
    assert keys.find(key) == "alice" and keys.find(other) == "bob"
    assert keys.find(None) is keys.find("") is keys.find(key[:-1]) is None
    caller = keys.caller("alice")
    assert (caller.tenant, caller.models, caller.lowest_priority) == ("alice", frozenset({"m"}), -1)
    assert key not in path.read_text() and hashlib.sha256(key.encode()).hexdigest() in path.read_text()


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        ("x", DataError, "neither TOML .* nor keys of 8 letters"),
        ("long-enough\nshort", DataError, "neither TOML"),
        ("two words-of-it", DataError, "neither TOML"),
        ("", ConfigError, "found nothing"),
        ("a = 1", ConfigError, r"no table \[keys.NAME\]"),
        ('[keys.a]\nkey = "lk-1"', ConfigError, "the key itself"),
        ('[keys.a]\nsha256 = "12"', ConfigError, "64 hexadecimal digits"),
        (f'[keys.a]\nsha256 = "{digest_of("k")}"\nconcurent = 1', ConfigError, "concurent"),
        (f'[keys.a]\nsha256 = "{digest_of("k")}"\nconcurrent = 0', ConfigError, "above 0"),
        (f'[keys.a]\nsha256 = "{digest_of("k")}"\nadmin = "yes"', ConfigError, "bool"),
    ],
)
def test_a_wrong_file_is_refused(content: str, kind: type[LlmkitError], says: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(content)
    with pytest.raises(kind, match=says):
        read_keys(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        read_keys(tmp_path / "none.toml")


def test_a_file_of_bare_keys_names_each_by_its_line_and_sets_no_limit(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# ours\nfirst-key-of-all\n\n  c2Vjb25kIGtleQ==\n")
    keys = read_keys(path)
    assert keys.find("first-key-of-all") == "key-2" and keys.find("c2Vjb25kIGtleQ==") == "key-4"
    assert keys.find("# ours") is keys.find("") is None
    assert keys.rules["key-2"].tokens_per_day is None and not keys.caller("key-2").is_admin
