"""A model of a few kilobytes that has a tokenizer, for what reads texts; and a head's figures to show."""

import shutil
from pathlib import Path
from typing import Any

from llmkit.workflows.inspect_attention.report import HeadRow, InspectReport, TokenRow

VOCAB = 600
"""Of the tokenizer that tests/conftest.py makes."""
FIGURES: dict[str, Any] = {
    **{"entropy_nats": 1.0, "normalised_entropy": 0.5, "effective_span_tokens": 2.0},
    **{"mean_distance_tokens": 3.0, "max_weight": 0.5, "sink": 0.1, "current_token": 0.12},
    **{"previous_token": 0.13, "duplicate": 0.14, "induction": 0.15, "induction_stripe": None},
    **{"local_mass": 0.9, "null_mass": 0.0, "score_min": 0.0, "score_max": 1.0, "score_kurtosis": None},
    **{"weighted_sink": None, "weighted_distance_tokens": None, "classes": [], "class_scores": {}},
}


def with_words(folder: Path, tokenizer: Path) -> Path:
    """The model's folder, with the tokenizer's files in it."""
    for file in tokenizer.iterdir():
        shutil.copy(file, folder / file.name)
    return folder


def head_row(layer: int = 0, head: int = 0, **changes: Any) -> HeadRow:
    """A head's figures."""
    return HeadRow(layer=layer, head=head, **FIGURES | changes)


def report_of(words: list[str], **parts: Any) -> InspectReport:
    """A report over tokens of these texts."""
    tokens = [TokenRow(position=place, id=5 + place, text=text) for place, text in enumerate(words)]
    whole = {
        **{"model": "m", "adapter": None, "source": "text", "num_hidden_layers": 2, "dtype": "float32"},
        **{"num_attention_heads": 2, "tokens": tokens, "thresholds": {}, "before_softmax": False},
    }
    return InspectReport(**whole | parts)
