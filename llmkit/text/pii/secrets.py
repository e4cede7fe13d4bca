"""Keys and tokens that give access, known by the prefixes that their issuers gave them for this purpose.

A key without a prefix (an AWS secret, a password) looks like any other random text and is not found here.
"""

import re
from collections.abc import Iterator

_PREFIXED: tuple[tuple[str, str], ...] = (
    # a literal that has to be there, and the whole token; lengths as the issuers document them
    ("AKIA", r"(?<![A-Za-z0-9])AKIA[A-Z2-7]{16}(?![A-Za-z0-9])"),  # AWS access key id
    ("ASIA", r"(?<![A-Za-z0-9])ASIA[A-Z2-7]{16}(?![A-Za-z0-9])"),  # the same, temporary
    ("gh", r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,251}(?![A-Za-z0-9])"),  # GitHub
    ("github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}(?!\w)"),
    ("glpat-", r"(?<!\w)glpat-[\w-]{20,}"),  # GitLab
    ("xox", r"(?<!\w)xox[abeprs]-[A-Za-z0-9-]{10,}"),  # Slack
    ("hooks.slack.com/services/", r"hooks\.slack\.com/services/T\w+/B\w+/\w{20,}"),
    ("k_live_", r"(?<!\w)[srp]k_live_[A-Za-z0-9]{16,}"),  # Stripe
    ("AIza", r"(?<!\w)AIza[\w-]{35}(?![\w-])"),  # Google
    ("ya29.", r"(?<!\w)ya29\.[\w-]{30,}"),
    ("sk-", r"(?<![\w-])sk-(?:ant-|proj-|svcacct-|or-)[\w-]{20,}"),  # Anthropic, OpenAI, OpenRouter
    ("T3BlbkFJ", r"(?<![\w-])sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}(?!\w)"),  # OpenAI, older
    ("hf_", r"(?<!\w)hf_[A-Za-z]{34}(?!\w)"),  # Hugging Face
    ("npm_", r"(?<!\w)npm_[A-Za-z0-9]{36}(?!\w)"),
    ("pypi-AgEIcHlwaS5vcmc", r"pypi-AgEIcHlwaS5vcmc[\w-]{50,}"),
    ("SG.", r"(?<!\w)SG\.[\w-]{22}\.[\w-]{43}(?![\w-])"),  # SendGrid
    ("dop_v1_", r"(?<!\w)dop_v1_[a-f0-9]{64}(?!\w)"),  # DigitalOcean
    ("shp", r"(?<!\w)shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}(?!\w)"),  # Shopify
    (":AA", r"(?<!\w)\d{8,10}:AA[\w-]{33}(?![\w-])"),  # Telegram
    ("eyJ", r"(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{16,}"),  # a signed JSON web token
    (
        "PRIVATE KEY",
        r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----[^-]{40,}?"
        r"-----END (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----",
    ),
)
_TOKENS = tuple((literal, re.compile(pattern)) for literal, pattern in _PREFIXED)


def find_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each token, in no order."""
    for literal, pattern in _TOKENS:
        if literal in text:
            yield from (found.span() for found in pattern.finditer(text))
