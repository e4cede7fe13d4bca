"""Near-deduplication beside its peers, on one core: python tests/bench/dedup_peers.py [--million]

signatures   processor time from text to the numbers of the bands, 14 bands of 8 hashes of 5-word shingles:
             ours, datasketch's MinHash (its update_batch on the same words), datatrove's signature stage
             (its own words and hashes); MB of UTF-8 a second, and how many times the slower of the two
labelled     the planted copies of real articles: precision and recall of pairs; editions of books by group
--million    memory of all of dedup over a generated million of short documents, a fifth of them copies:
             private memory above that of Python with numpy, which mapped files do not count in

Peers are measured where they are installed; nothing of this is run by pytest.
"""

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from llmkit.formats.digest import content_id
from llmkit.formats.provenance import Invocation
from llmkit.formats.streams import open_input
from llmkit.progress import SILENT
from llmkit.text.minhash import band_keys, signatures
from llmkit.text.shingles import batches, shingle
from llmkit.workflows.dedup.dedup import dedup_files
from llmkit.workflows.dedup.options import DedupConfig, DedupSources

ROUNDS = 5
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def read_texts(path: Path) -> list[str]:
    """The texts of a jsonl file."""
    with open_input(path) as stream:
        return [json.loads(line)["text"] for line in stream]


def ours(texts: list[str]) -> None:
    """Our signatures."""
    for part in batches([len(text) for text in texts]):
        band_keys(signatures(shingle(texts[part]), 112), 14, 8)


def of_datasketch(texts: list[str]) -> None:
    """datasketch's, of words split at white space."""
    from datasketch import MinHash

    for text in texts:
        words = text.lower().split()
        grams = [" ".join(words[at : at + 5]).encode() for at in range(len(words) - 4)]
        MinHash(num_perm=112).update_batch(grams)


def of_datatrove() -> Callable[[list[str]], None]:
    """datatrove's, as its first stage makes them."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature

    with tempfile.TemporaryDirectory() as folder:
        stage = MinhashDedupSignature(output_folder=folder, config=MinhashConfig())

    def run(texts: list[str]) -> None:
        for text in texts:
            grams = stage.get_shingles(text)
            if grams.size:
                stage.get_signature(grams)

    return run


def time_signatures(texts: list[str]) -> None:
    """Print the speed of each, measured in turns so that a busy machine slows all alike."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    runs: dict[str, tuple[Callable[[list[str]], None], list[str]]] = {"llmkit": (ours, texts)}
    if find_spec("datasketch"):
        runs["datasketch"] = (of_datasketch, texts)
    if find_spec("datatrove"):
        runs["datatrove"] = (of_datatrove(), texts[:100])  # two seconds a megabyte
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for name, (run, own) in runs.items():
        run(own[:2])  # tables, models
        assert name in seconds
    for _ in range(ROUNDS):
        for name, (run, own) in runs.items():
            begin = time.process_time()
            run(own)
            share = sum(len(text.encode()) for text in own) / 1e6 / size
            seconds[name].append((time.process_time() - begin) / share)
    best = statistics.median(seconds["llmkit"])
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"signatures  {name:<11} {size / middle:7.2f} MB/s   {middle / best:6.1f} times our time")


def score_labelled(data: Path) -> None:
    """Print how many of the pairs that are known were found, and how many found are known."""
    for name in ("articles-100", "articles-1000"):
        lines = (data / "dedup" / f"{name}.truth.txt").read_text().splitlines()
        truth = {frozenset(line.split()) for line in lines}
        found = {frozenset(pair) for pair in _dropped(data / "dedup" / f"{name}.jsonl.zst")}
        print(
            f"labelled    {name:<14} precision {len(found & truth) / max(1, len(found)):.3f}"
            f"  recall {len(found & truth) / len(truth):.3f}  ({len(truth)} pairs)"
        )
    path = data / "dedup" / "gutenberg-editions.jsonl.zst"
    with open_input(path) as stream:
        group = {content_id(row["text"]): row["group"] for row in map(json.loads, stream)}
    for similarity in (0.75, 0.5):
        pairs = _dropped(path, similarity=similarity, bands=37, rows=3)
        right = sum(group[own] == group[kept] for own, kept in pairs)
        most = len(group) - len(set(group.values()))
        same = f"{right} for one of the same book"
        print(f"labelled    editions at {similarity:<4} {len(pairs)} of {most} dropped, {same}")


def measure_million(count: int) -> None:
    """Print the private memory and the processor time of a run over many short documents."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        _write_many(path, count)
        base, peak = _private_bytes(), [0]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.02):
                peak[0] = max(peak[0], _private_bytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        begin = time.process_time()
        sources = DedupSources(inputs=[path], out=Path(folder) / "out.jsonl")
        report = dedup_files(sources, DedupConfig(), invocation=Invocation("dedup"), progress=SILENT)
        seconds = time.process_time() - begin
        stop.set()
        watcher.join()
    speed = report.input_bytes / 1e6 / seconds
    print(
        f"memory      {count:,} documents of {report.input_bytes // count} bytes: "
        f"{(peak[0] - base) / 2**20:.0f} MiB, {seconds:.0f} s of processor time, "
        f"{speed:.1f} MB/s from file to file, {report.removed_documents:,} dropped"
    )


def _dropped(path: Path, **settings: float) -> list[tuple[str, str]]:
    """What is dropped, and for what."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        sources = DedupSources(inputs=[path], out=out / "out.jsonl", rejects=out / "rejects.jsonl")
        config = DedupConfig(**settings)  # type: ignore[arg-type]
        dedup_files(sources, config, invocation=Invocation("dedup"), progress=SILENT)
        rows = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    return [(row.get("id") or content_id(row["text"]), row["_reject"]["dup_of"]) for row in rows]


def _write_many(path: Path, count: int) -> None:
    rng = random.Random(0)
    words = [f"w{number}" for number in range(20_000)]
    last: list[str] = []
    with path.open("w", encoding="utf-8") as out:
        for number in range(count):
            if last and rng.random() < 0.2:
                own = list(last)
                own[rng.randrange(len(own))] = f"z{number}"
            else:
                own = last = rng.choices(words, k=30)
            out.write(json.dumps({"id": str(number), "text": " ".join(own), "source": "web"}) + "\n")


def _private_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("no RssAnon in /proc/self/status: this needs Linux")


def main() -> None:
    """Read the flags, and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real data")
    parser.add_argument("--million", action="store_true", help="also the memory of a million documents")
    flags = parser.parse_args()
    time_signatures(read_texts(flags.data / "dedup" / "articles-1000.jsonl.zst"))
    score_labelled(flags.data)
    if flags.million:
        measure_million(1_000_000)


if __name__ == "__main__":
    main()
