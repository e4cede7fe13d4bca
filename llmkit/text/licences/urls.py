"""Licences by the addresses that their stewards publish them at."""

import re

from llmkit.text.licences.table import BY_LOWER

_CREATIVE = re.compile(
    r"creativecommons\.org/licen[cs]es/(?P<parts>by-nd-nc|by(?:-nc)?(?:-nd|-sa)?|nc-sa|nc|nd|sa)"
    r"(?:/(?P<version>[1-4]\.[05])(?:/(?P<port>[a-z]{2,3}|igo)(?=[/\s\"'?#]|$))?)?",
    re.IGNORECASE,
)
_OTHERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), spdx)
    for pattern, spdx in (
        (r"creativecommons\.org/publicdomain/zero/1\.0|creativecommons\.org/(?:about/)?cc0", "CC0-1.0"),
        (
            r"creativecommons\.org/(?:publicdomain/mark|licenses/publicdomain|share-your-work/public-domain/pdm)",
            "CC-PDM-1.0",
        ),
        (r"apache\.org/licenses/LICENSE-2\.0", "Apache-2.0"),
        (r"apache\.org/licenses/LICENSE-1\.1", "Apache-1.1"),
        (r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?gpl-2\.0", "GPL-2.0-only"),
        (r"gnu\.org/(?:licenses|copyleft)/gpl(?:-3\.0)?(?:[./?#]|$)", "GPL-3.0-only"),
        (r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?lgpl-2\.1", "LGPL-2.1-only"),
        (r"gnu\.org/(?:licenses|copyleft)/lgpl(?:-3\.0)?(?:[./?#]|$)", "LGPL-3.0-only"),
        (r"gnu\.org/(?:licenses|copyleft)/agpl(?:-3\.0)?(?:[./?#]|$)", "AGPL-3.0-only"),
        (r"gnu\.org/(?:licenses|copyleft)/fdl(?:-1\.3)?(?:[./?#]|$)", "GFDL-1.3-only"),
        (r"mozilla\.org/(?:[a-z-]+/)?MPL/2\.0", "MPL-2.0"),
        (r"eclipse\.org/legal/epl-2\.0", "EPL-2.0"),
        (r"eclipse\.org/legal/epl-v10", "EPL-1.0"),
        (r"opendatacommons\.org/licenses/odbl", "ODbL-1.0"),
        (r"opendatacommons\.org/licenses/by", "ODC-By-1.0"),
        (r"opendatacommons\.org/licenses/pddl", "PDDL-1.0"),
        (r"unlicense\.org", "Unlicense"),
        (r"boost\.org/LICENSE_1_0", "BSL-1.0"),
        (r"cdla\.(?:io|dev)/permissive-2-0", "CDLA-Permissive-2.0"),
        (r"cdla\.(?:io|dev)/sharing-1-0", "CDLA-Sharing-1.0"),
        (r"nationalarchives\.gov\.uk/doc/open-government-licen[cs]e/version/3", "OGL-UK-3.0"),
        (
            r"gutenberg\.org/(?:wiki/Gutenberg:The_Project_Gutenberg_)?licen[cs]e",
            "LicenseRef-Project-Gutenberg",
        ),
        (r"wtfpl\.net", "WTFPL"),
    )
)
_LISTED = re.compile(
    r"(?:spdx\.org/licenses|opensource\.org/licen[cs]es?|choosealicense\.com/licenses)/(?P<name>[\w.+-]+?)"
    r"(?:\.html|\.php|\.txt)?(?:[/?#\s]|$)",
    re.IGNORECASE,
)
_LISTED_AS = {
    **{
        "mit-license": "MIT",
        "bsd-license": "BSD-2-Clause",
        "gpl-license": "GPL-3.0-only",
        "gpl-3.0": "GPL-3.0-only",
    },
    **{
        "gpl-2.0": "GPL-2.0-only",
        "lgpl-3.0": "LGPL-3.0-only",
        "lgpl-2.1": "LGPL-2.1-only",
        "agpl-3.0": "AGPL-3.0-only",
    },
}


def licence_of_url(url: str) -> str | None:
    """The SPDX id of the licence that an address stands for; None where it stands for none that is known.

    A Creative Commons address without a version (a button's, mostly) is that of version 4.0.
    """
    if (found := _CREATIVE.search(url)) is not None:
        parts = found["parts"].lower().replace("nd-nc", "nc-nd")
        base = f"cc-{parts}-{found['version'] or '4.0'}"
        port = (found["port"] or "").lower()
        return BY_LOWER.get(f"{base}-{port}") or BY_LOWER.get(base)
    for pattern, spdx in _OTHERS:
        if pattern.search(url):
            return spdx
    if (listed := _LISTED.search(url)) is not None:
        name = listed["name"].lower()
        return _LISTED_AS.get(name) or BY_LOWER.get(name)
    return None
