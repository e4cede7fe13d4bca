"""What an evaluation was of: the texts and settings that two figures must have in common to be compared.

A report keeps it as `work`, as those of `llmkit bench` do: a digest of the inputs' content, which knows no
file names, and how they were put to the model. The model and how it runs are what is compared, and not in it;
one that all are compared with is.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.documents import Document
from llmkit.workflows.tokenize.input import MESSAGES, is_chat

Work = dict[str, Any]
INPUTS = "inputs_sha256"
REFERENCE = "reference_sha256"
"""What a model was compared with, by its `model_fingerprint`."""
TOKENS = "scored_tokens"
_DIGESTS = {INPUTS: "of other inputs", REFERENCE: "beside another reference"}
"""Things too large to be shown, and what is said of others."""
_HINTS = {
    INPUTS: "give both the same inputs",
    REFERENCE: "give both the same --reference",
    TOKENS: "where tokenizers differ, compare bits per byte: llmkit eval diff A B --max-increase bpb=2%",
}


def digest_document(document: Document, field: str) -> str:
    """Of a document as it was written: a chat's messages, whatever a model's template makes of them."""
    written = bytes(document.record[MESSAGES]) if is_chat(document, field) else document.text.encode()
    return digest_bytes(written)


def digest_all(parts: Iterable[str]) -> str:
    """Of several things in their order, each by what tells it from others."""
    return digest_bytes("\n".join(parts).encode())


def check_same(work: Work, report: Mapping[str, Any], name: str, other: str) -> None:
    """Refuse to compare a figure with that of a report which is of something else.

    Args:
        work: behind the figure.
        report: the other, whole; where it has no `work` yet, what it tells at its top is compared.
        name: of the other.
        other: what the figure is of, as messages call it.

    Raises:
        DataError: they do not belong together; the message names the first thing that differs.
    """
    told = report.get("work", report)
    for key, now in msgspec.json.decode(msgspec.json.encode(work)).items():
        if key not in told or told[key] == now:
            continue
        if key in _DIGESTS:
            problem = f"{name}: {_DIGESTS[key]} than {other}"
        else:
            problem = f"{name}: {key} is {_shown(told[key])} there, and {_shown(now)} in {other}"
        raise DataError(problem, hint=_HINTS.get(key, "give both the same options"))


def _shown(value: Any) -> str:
    return "not given" if value is None else msgspec.json.encode(value).decode()
