"""The table of ids against the copy of SPDX's list in the `packaging` project."""

from fnmatch import fnmatchcase

import pytest

from llmkit.text.licences.ids import name_key
from llmkit.text.licences.table import ALIASES, FAMILIES, SPDX_IDS


def test_the_ids_are_spdxs_own() -> None:
    spdx = pytest.importorskip("packaging.licenses._spdx")
    theirs = {entry["id"] for entry in spdx.LICENSES.values() if not entry["deprecated"]}
    ours = {one for one in SPDX_IDS if not one.startswith("LicenseRef-")}
    deprecated = {entry["id"] for entry in spdx.LICENSES.values() if entry["deprecated"]}
    assert theirs - ours == set()
    assert len(ours - theirs - deprecated) < 60  # of a newer list than that copy's


def test_an_alias_is_written_as_names_are_looked_up_and_means_an_id() -> None:
    assert {name: licence for name, licence in ALIASES.items() if licence not in SPDX_IDS} == {}
    assert [name for name in ALIASES if name_key(name) != name] == []


def test_every_pattern_of_a_family_has_a_licence() -> None:
    empty = [
        (family, pattern)
        for family, patterns in FAMILIES.items()
        for pattern in patterns
        if not any(fnmatchcase(one, pattern) for one in SPDX_IDS)
    ]
    assert empty == []
