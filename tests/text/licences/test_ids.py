"""Names of licences, and gates."""

import pytest

from llmkit.errors import UsageError
from llmkit.text.licences.ids import LicenceGate, alternatives, name_key, normalise_licence
from llmkit.text.licences.table import SPDX_IDS

NAMES = {
    "Apache License, Version 2.0": "Apache-2.0",
    "apache2": "Apache-2.0",
    "The MIT License (MIT)": "MIT",
    "mit": "MIT",
    "New BSD License": "BSD-3-Clause",
    'BSD 2-Clause "Simplified" License': "BSD-2-Clause",
    "3-clause BSD": "BSD-3-Clause",
    "GPLv2": "GPL-2.0-only",
    "GPL-2.0": "GPL-2.0-only",
    "GPL v3+": "GPL-3.0-or-later",
    "GNU General Public License v3.0": "GPL-3.0-only",
    "GNU GPL version 2 or later": "GPL-2.0-or-later",
    "GNU Lesser General Public License v2.1": "LGPL-2.1-only",
    "LGPLv3+": "LGPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "CC BY-SA 4.0": "CC-BY-SA-4.0",
    "Creative Commons Attribution-ShareAlike 3.0 Unported": "CC-BY-SA-3.0",
    "Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 International License": "CC-BY-NC-ND-4.0",
    "CC BY-NC-ND": "CC-BY-NC-ND-4.0",
    "CC BY 3.0 US": "CC-BY-3.0-US",
    "CC0": "CC0-1.0",
    "public domain": "LicenseRef-Public-Domain",
    "Mozilla Public License 2.0": "MPL-2.0",
    "Boost Software License 1.0": "BSL-1.0",
    "ODC-BY": "ODC-By-1.0",
    "https://opensource.org/licenses/MIT": "MIT",
    "mit OR apache-2.0": "MIT OR Apache-2.0",
    "MIT/Apache-2.0": "MIT OR Apache-2.0",
    "(mit and bsd-3-clause) or gpl-2.0": "(MIT AND BSD-3-Clause) OR GPL-2.0-only",
    "GPL-2.0-only WITH Classpath-exception-2.0": "GPL-2.0-only WITH Classpath-exception-2.0",
    "LicenseRef-My-Terms": "LicenseRef-My-Terms",
}


@pytest.mark.parametrize(("name", "licence"), NAMES.items())
def test_what_people_write_has_its_spdx_name(name: str, licence: str) -> None:
    assert normalise_licence(name) == licence
    assert normalise_licence(licence) == licence


@pytest.mark.parametrize(
    "name",
    ["", "unknown", "other", "see the website", "all rights reserved", "BSD", "MIT OR", "OR MIT", "(MIT",
     "MIT)", "MIT AND nonsense", "GPL-9.0", "CC BY-XX 4.0", "by", "version 2.0", "MIT " * 200],
)  # fmt: skip
def test_what_is_no_licence_is_unknown(name: str) -> None:
    assert normalise_licence(name) is None


def test_every_id_is_its_own_name_in_any_case() -> None:
    assert [one for one in SPDX_IDS if normalise_licence(one.upper()) != one] == []
    spdx = pytest.importorskip("packaging.licenses")
    for expression in ("mit or apache-2.0", "(mit and isc) or bsd-3-clause", "gpl-3.0-or-later"):
        assert normalise_licence(expression) == spdx.canonicalize_license_expression(expression)


def test_the_ways_of_an_expression_are_its_choices() -> None:
    ways = alternatives("(MIT OR ISC) AND (Apache-2.0 WITH LLVM-exception OR MPL-2.0)")
    assert {frozenset(way) for way in ways} == {
        frozenset(pair)
        for pair in (("MIT", "Apache-2.0"), ("MIT", "MPL-2.0"), ("ISC", "Apache-2.0"), ("ISC", "MPL-2.0"))
    }


@pytest.mark.parametrize(
    ("allow", "deny", "require", "passes", "drops"),
    [
        ([], [], False, ["MIT", None, "see the website"], []),
        ([], [], True, ["MIT", "cc by 4.0"], [None, "see the website", ""]),
        (
            ["permissive"],
            [],
            False,
            ["MIT", "MIT OR GPL-3.0-only", "CC-BY-4.0"],
            [None, "GPL-3.0-only", "MIT AND GPL-3.0-only"],
        ),
        (["permissive", "unknown"], [], False, ["MIT", None, "what?"], ["GPL-2.0-only"]),
        (
            [],
            ["noncommercial", "noderivatives"],
            False,
            ["CC-BY-4.0", None],
            ["CC-BY-NC-4.0", "cc by-nd 3.0"],
        ),
        (["creative-commons"], ["CC-BY-NC*"], False, ["CC0", "CC BY-SA 4.0"], ["CC-BY-NC-SA-4.0", "MIT"]),
        (["GPL-3.0"], [], False, ["GPL-3.0-only", "GPL-3.0-or-later"], ["GPL-2.0-only"]),
        (["GPL-3.0-only"], [], False, ["GPLv3"], ["GPL-3.0-or-later"]),
        ([], ["unknown"], False, ["MIT"], [None]),
    ],
)
def test_a_gate_lets_through_what_it_says(
    allow: list[str], deny: list[str], require: bool, passes: list[str | None], drops: list[str | None]
) -> None:
    gate = LicenceGate(allow, deny, require)
    assert [one for one in passes if gate.judge(one) is not None] == []
    assert [one for one in drops if gate.judge(one) is None] == []


def test_a_verdict_says_what_was_found_and_what_was_asked() -> None:
    verdict = LicenceGate(["permissive"], ["MIT-0"], True).judge("GPLv2")
    assert verdict is not None
    assert (verdict.rule, verdict.value) == ("licence", "GPL-2.0-only")
    assert verdict.threshold == "allow permissive; deny MIT-0; require"
    missing = LicenceGate(require=True).judge(None)
    assert missing is not None and (missing.value, missing.threshold) == ("unknown", "require")


def test_a_name_in_a_gate_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="permisive: no licence that is known") as caught:
        LicenceGate(["permisive"])
    assert caught.value.hint == "did you mean permissive?"
    with pytest.raises(UsageError):
        LicenceGate(deny=["XYZ-*"])


def test_a_key_is_a_name_without_what_spellings_differ_in() -> None:
    assert name_key("The Apache License, Version 2.0") == "apache 2 0"
