"""Addresses of licences."""

import pytest

from llmkit.text.licences.urls import licence_of_url


@pytest.mark.parametrize(
    ("url", "licence"),
    [
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("//creativecommons.org/licenses/by-sa/3.0/de/deed.de", "CC-BY-SA-3.0-DE"),
        (
            "http://creativecommons.org/licenses/by-nc-sa/2.5/ca/",
            "CC-BY-NC-SA-2.5",
        ),  # SPDX has no Canadian port
        ("http://creativecommons.org/licenses/by-nc-nd/4.0/legalcode", "CC-BY-NC-ND-4.0"),
        ("http://creativecommons.org/licenses/by-nd-nc/1.0", "CC-BY-NC-ND-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/deed.en", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("https://www.apache.org/licenses/LICENSE-2.0.html", "Apache-2.0"),
        ("http://www.gnu.org/licenses/old-licenses/gpl-2.0.html", "GPL-2.0-only"),
        ("https://www.gnu.org/licenses/gpl.html", "GPL-3.0-only"),
        ("https://opensource.org/licenses/MIT", "MIT"),
        ("https://opensource.org/license/bsd-3-clause/", "BSD-3-Clause"),
        ("http://www.opensource.org/licenses/mit-license.php", "MIT"),
        ("https://spdx.org/licenses/EUPL-1.2.html", "EUPL-1.2"),
        ("https://www.mozilla.org/en-US/MPL/2.0/", "MPL-2.0"),
        ("http://www.gutenberg.org/license", "LicenseRef-Project-Gutenberg"),
    ],
)
def test_a_licences_address_is_the_licence(url: str, licence: str) -> None:
    assert licence_of_url(url) == licence


@pytest.mark.parametrize(
    "url",
    [
        "https://creativecommons.org/", "https://creativecommons.org/licenses/", "https://example.org/license",
        "https://www.gnu.org/software/gpl-checker", "https://opensource.org/licenses/nothing-here",
        "https://creativecommons.org/licensesby/4.0",
    ],
)  # fmt: skip
def test_other_addresses_are_not(url: str) -> None:
    assert licence_of_url(url) is None
