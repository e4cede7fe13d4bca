"""Rules of `clean` beside datatrove's filters: do they keep the same documents, and how fast is each?

    pip install --no-deps datatrove; pip install spacy nltk loguru huggingface_hub humanize dill multiprocess
    python tests/bench/clean_peers.py shared/data [--documents 1500] [--rounds 3] [--show 5]

Documents are the text sets and the crawled pages, cut at blank lines to paragraphs and to pages. Each filter
sees every document by itself; then the chain of FineWeb runs over all. Seconds are processor seconds of one
core: the best of the rounds for llmkit (the first, which fills its table of words, is told apart), one round
for datatrove.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard

from llmkit.text.c4 import C4
from llmkit.text.choose_words import word_table
from llmkit.text.fineweb import FinewebQuality
from llmkit.text.gopher_quality import GopherQuality
from llmkit.text.gopher_repetition import GopherRepetition
from llmkit.text.paragraphs import C4Paragraphs
from llmkit.text.presets import preset
from llmkit.text.rule import Rule, apply_rules


def pairs() -> tuple[tuple[str, Any, Rule], ...]:
    """A name, datatrove's filter, and ours; datatrove is imported here, so that --help needs none."""
    from datatrove.pipeline.filters import (
        C4ParagraphFilter,
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    return (
        ("gopher-repetition", GopherRepetitionFilter(), GopherRepetition()),
        ("gopher-quality", GopherQualityFilter(), GopherQuality()),
        ("c4", C4QualityFilter(), C4()),
        ("c4, no end marks", C4QualityFilter(filter_no_terminal_punct=False), C4(end_marks=False)),
        ("c4-paragraphs", C4ParagraphFilter(), C4Paragraphs()),
        ("fineweb-quality", FineWebQualityFilter(), FinewebQuality()),
    )


def read(path: Path) -> str:
    """A compressed text."""
    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read().decode()


def pieces(text: str, least: int) -> Iterator[str]:
    """Parts of a text that end at blank lines and have at least so many characters."""
    held: list[str] = []
    for part in text.split("\n\n"):
        held.append(part)
        if sum(map(len, held)) >= least:
            yield "\n\n".join(held)
            held = []
    if held:
        yield "\n\n".join(held)


def records(path: Path) -> Iterator[str]:
    """Texts of a jsonl file."""
    yield from (json.loads(line)["text"] for line in read(path).split("\n") if line)


def documents(folder: Path, wanted: int) -> dict[str, list[str]]:
    """Prose and mixed text, about `wanted` documents of each, evenly taken."""
    prose = [
        piece
        for path in sorted((folder / "text/gutenberg").glob("*.zst"))
        for least in (300, 6000)
        for piece in pieces(read(path), least)
    ]
    prose += records(folder / "text/state-of-the-union.jsonl.zst")
    mixed = [line for line in read(folder / "text/c4-sample.txt.zst").split("\n") if line]
    mixed += records(folder / "dirty/web/common-crawl-697.jsonl.zst")
    mixed += records(folder / "text/tinystories-1000.jsonl.zst")
    wiki = read(folder / "text/wikipedia-sample.txt.zst")
    mixed += [piece for least in (300, 4000) for piece in pieces(wiki, least)]
    return {
        name: found[:: max(len(found) // wanted, 1)][:wanted]
        for name, found in (("prose", prose), ("mixed", mixed))
    }


def peer_keeps(filters: Sequence[Any], text: str) -> tuple[bool, str]:
    """What datatrove decides; it raises where it divides by no words, which is no decision to keep."""
    from datatrove.data import Document

    document = Document(text=text, id="0")
    for one in filters:
        try:
            result = one.filter(document)
        except ZeroDivisionError:
            return False, "error: no words"
        if result is not True and (result is False or result[0] is False):
            return False, result[1] if isinstance(result, tuple) else ""
    return True, ""


def seconds(call: Callable[[str], object], texts: Sequence[str], rounds: int) -> list[float]:
    """Processor seconds over all texts, for each round of blocks of texts: the sum of block times by rank."""
    totals = [0.0] * rounds
    for start in range(0, len(texts), 32):
        block, times = texts[start : start + 32], []
        for _ in range(rounds):
            began = time.process_time()
            for text in block:
                call(text)
            times.append(time.process_time() - began)
        for rank, spent in enumerate([times[0], *sorted(times[1:])]):
            totals[rank] += spent
    return totals


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--show", type=int, default=5, help="disagreements to show of each filter")
    options = parser.parse_args()
    from datatrove.utils.text import split_into_parts

    compared = pairs()
    peers = [compared[place][1] for place in (0, 1, 3, 5)]  # FineWeb's chain
    if options.rounds < 2:
        parser.error("--rounds is 2 or more: the first one fills the table of words")
    for name, texts in documents(options.folder, options.documents).items():
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        print(f"{name}: {len(texts)} documents, {megabytes:.2f} MB")
        for kind, peer, rule in compared:
            differ: Counter[tuple[str, str]] = Counter()
            peer_drops = 0
            for text in texts:
                kept, reason = peer_keeps([peer], text)
                verdict = apply_rules((rule,), text).verdict
                peer_drops += not kept
                if kept != (verdict is None):
                    differ[reason or "kept", f"{verdict.rule}={verdict.value}" if verdict else "kept"] += 1
            agreed = 1 - sum(differ.values()) / len(texts)
            print(f"  {kind:20} agree {agreed:8.3%}   datatrove drops {peer_drops}")
            for pair, count in differ.most_common(options.show):
                print(f"      {count} x datatrove: {pair[0]}, llmkit: {pair[1]}")
        chain = preset("fineweb")
        word_table.cache_clear()  # a first pass knows no word
        first, *rest = seconds(lambda text, chain=chain: apply_rules(chain, text), texts, options.rounds)
        tagged = seconds(lambda text, chain=chain: apply_rules(chain, text, every_score=True), texts, 3)[1]
        sample = texts[:: max(len(texts) // 200, 1)]
        sample_megabytes = sum(len(text.encode()) for text in sample) / 1e6
        split_into_parts.cache_clear()
        peer_seconds = seconds(lambda text: peer_keeps(peers, text), sample, 1)[0]
        print(
            f"  FineWeb chain: llmkit {megabytes / rest[0]:.2f} MB/s (first pass {megabytes / first:.2f}, "
            f"every score {megabytes / tagged:.2f}), datatrove {sample_megabytes / peer_seconds:.2f} MB/s"
        )


if __name__ == "__main__":
    main()
