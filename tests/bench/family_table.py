"""Every family beside transformers: the largest difference of logits, and 64 greedy tokens.

    python tests/bench/family_table.py [FAMILY ...] > docs table in Markdown

Small float32 models, every number at random, made and saved by transformers
(tests/parity/family_models.py).
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "parity"))
from family_models import CASES, greedy_texts, logit_gap, make_pair


def main(only: list[str]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    gaps: dict[str, list[float]] = defaultdict(list)
    same: dict[str, int] = defaultdict(int)
    for family, changes in CASES:
        if only and family not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            pair = make_pair(family, changes, Path(folder))
        gaps[family].append(logit_gap(pair))
        ours, theirs = greedy_texts(pair)
        same[family] += ours == theirs
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, float32\n")
    print("| family | models | largest difference of logits | same 64 greedy tokens |\n|---|---|---|---|")
    for family, found in gaps.items():
        print(f"| {family} | {len(found)} | {max(found):.1e} | {same[family]} of {len(found)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    main(parser.parse_args().families)
