"""Does a passage that is looked up raise the probability of the right answer?

    python tests/bench/retrieve_grounding.py

A model is trained here, some minutes on one core, on texts that say who keeps a town and what its river is
called, and then ask: pairs drawn anew for each text, so that weights know none and reading is all that helps.
Then 300 towns that no text had are documents, an index is made of them, and each question is asked alone,
behind the passage that it finds, and behind the passage of another town.

p          of the whole answer, the mean of its log: exp(mean log p)
right      each of its tokens is the likeliest
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from llmkit.engine.config import SamplingConfig
from llmkit.retrieve.config import Bm25Config, IndexConfig
from llmkit.retrieve.search import WordSearch
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_file import open_index

WORDS = """\
Amber Birch Cedar Dusty Eagle Frost Green Hazel Ivory Jade Kings Lower Maple North Old Pine Quiet Red Silver
Bay Bridge Castle Corner Falls Field Ford Gate Grove Hill Hollow Lake Mills Moor Park Ridge Well Wood
Ada Ben Cora Dan Eve Finn Gus Hal Ida Jon Kit Leo Mia Ned Ona Pam Ray Sue Tom Una Vic Wes Yan
Arn Bora Cass Dove Elm Foss Gila Hume Inn Jura Kama Loire Main Nene Oder Prut Rede Saar Tyne
"""
FIRST, SECOND, PEOPLE, RIVERS = (line.split() for line in WORDS.splitlines())
STEPS, ASKED = 900, 300
BEST = SamplingConfig(logprobs=1, max_tokens=1)


def passage(town: str, person: str, river: str, draw: random.Random) -> str:
    """What a document says."""
    facts = [f"The keeper of {town} is {person}.", f"The river of {town} is {river}."]
    draw.shuffle(facts)
    return " ".join(facts)


def question(town: str, person: str, river: str, draw: random.Random) -> tuple[str, str]:
    """A question, and its answer."""
    word, answer = draw.choice((("keeper", person), ("river", river)))
    return f"Question: what is the {word} of {town}? Answer:", f" {answer}"


def town_facts(towns: list[str], draw: random.Random) -> tuple[str, str, str]:
    """A town of these, and what is true of it this time."""
    return draw.choice(towns), draw.choice(PEOPLE), draw.choice(RIVERS)


def lesson(towns: list[str], draw: random.Random) -> str:
    """A text to learn from: passages, each with questions behind it."""
    said = []
    for _ in range(3):
        facts = town_facts(towns, draw)
        said.append(passage(*facts, draw))
        said += ["".join(question(*facts, draw)) + "." for _ in range(draw.randint(1, 3))]
    return " ".join(said)


def train(folder: Path, towns: list[str], draw: random.Random) -> Path:
    """A model that reads."""
    texts = [json.dumps({"text": lesson(towns, draw)}) for _ in range(12 * STEPS)]
    (folder / "lessons.jsonl").write_text("\n".join(texts))
    shape = ["--max-position-embeddings", "192", "--hidden-size", "96", "--num-hidden-layers", "2"]
    rows = ["--data", "lessons.jsonl", "-t", "tok", "--seq-len", "96", "--batch-rows", "10"]
    how = ["--optimizer", "muon", "--lr", "0.005", "--steps", str(STEPS), "--threads", "1"]
    words = [
        ["train-tokenizer", "lessons.jsonl", "--vocab-size", "512", "--max-bytes", "500k", "-o", "tok"],
        ["pretrain", *rows, *shape, *how, "-o", "reader"],
    ]
    for line in words:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "llmkit", *line, "-q"], cwd=folder, check=True, env=environment)
    return folder / "reader"


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    draw = random.Random(0)
    towns = [f"{first} {second}" for first in FIRST for second in SECOND]
    draw.shuffle(towns)
    held_out, learnt = towns[:ASKED], towns[ASKED:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = train(folder, learnt, draw)
        facts = [(town, draw.choice(PEOPLE), draw.choice(RIVERS)) for town in held_out]
        rows = [json.dumps({"id": one[0], "text": passage(*one, draw)}) for one in facts]
        (folder / "towns.jsonl").write_text("\n".join(rows))
        index_documents([folder / "towns.jsonl"], folder / "towns", IndexConfig())
        asked = [question(*one, draw) for one in facts]
        scorer = open_scorer(ModelOptions(model=model, threads=1))
        scores: dict[str, list[float]] = {"alone": [], "found": [], "another": []}
        best = dict.fromkeys(scores, 0)
        hits = 0
        with open_index(folder / "towns") as store:
            search = WordSearch(store, Bm25Config())
            found = [store.passages_of([search.search(one, 1)[0].passage])[0] for one, _ in asked]
        for place, (one, answer) in enumerate(asked):
            hits += found[place].document == held_out[place]
            another = found[place - 1] if found[place - 1] != found[place] else found[place - 2]
            ways = {"alone": "", "found": found[place].text, "another": another.text}
            pairs = [scorer.pair(f"{text} {one}".strip(), answer) for text in ways.values()]
            told = scorer.run(
                replace(scorer.request(ids, BEST), scores_prompt="only", scores_from=begin)
                for ids, begin in pairs
            )
            for way, drawn in zip(ways, told, strict=True):
                tokens = [(one.score, one.top[0]) for one in drawn if one.score]
                scores[way].append(sum(score.logprob for score, _ in tokens))
                best[way] += all(score.id == top.id for score, top in tokens)
    print(f"the passage is of the town: {hits} of {ASKED}")
    for way, logs in scores.items():
        print(f"{way:8} p {math.exp(statistics.mean(logs)):.4f}  right {best[way]} of {ASKED}")


if __name__ == "__main__":
    main()
