"""llmkit retrieve eval: how good rankings are, beside what is known to be relevant."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import msgspec

from llmkit.errors import DataError
from llmkit.formats.jsonl import MALFORMED, Record, encode_line, raw
from llmkit.formats.streams import open_output
from llmkit.retrieve.relevance import Relevance, judge, mean_of
from llmkit.workflows.retrieve.query import Query, read_queries

Grades = dict[str, float]


class RetrievalReport(msgspec.Struct, frozen=True, kw_only=True):
    """Means over the queries that have something relevant."""

    schema: str = "llmkit.retrieve.eval/1"
    queries: int
    k: int
    """Places that were looked at."""
    recall: float
    mrr: float
    ndcg: float
    nothing_found: int
    """Queries without a single hit."""


class _Hit(msgspec.Struct):
    document: str


def evaluate(
    answers: Iterable[tuple[Query, list[str]]],
    k: int,
    key: str,
    per_record: Path | None,
    *,
    force: bool,
    inputs: Iterable[Path] = (),
) -> RetrievalReport:
    """Judge rankings.

    Args:
        answers: each query, and the documents that were found, the best first.
        k: places that count.
        key: of a query's record, where its relevant documents are: ids, or grades by id.
        per_record: each query's figures go here too.
        force: replace that file.
        inputs: what the answers are read from, which it may not be.

    Raises:
        UsageError: see `open_output`.
        DataError: a query without relevant documents, or no query at all.
    """
    rows: list[Relevance] = []
    empty = 0
    kept = nullcontext() if per_record is None else open_output(per_record, force=force, inputs=inputs)
    with kept as stream:
        for query, ranking in answers:
            rows.append(judge(ranking, _relevant(query, key), k))
            empty += not ranking
            if stream is not None:
                told = {name: value for name, value in query.record.items() if name != "hits"}
                figures = {name: raw(value) for name, value in rows[-1]._asdict().items()}
                stream.write(encode_line({**told, **figures}))
    if not rows:
        raise DataError("no queries", hint=f'a line each: {{"query": "...", "{key}": ["an id"]}}')
    mean = mean_of(rows)
    return RetrievalReport(
        queries=len(rows), k=k, recall=mean.recall, mrr=mean.mrr, ndcg=mean.ndcg, nothing_found=empty
    )


def read_answers(paths: Iterable[Path], field: str | None) -> Iterator[tuple[Query, list[str]]]:
    """Queries with their hits, as `retrieve query` wrote them.

    Raises:
        DataError: a line without `hits`.
    """
    for path in paths:
        for query in read_queries(path, field):
            yield query, _documents(query)


def _documents(query: Query) -> list[str]:
    try:
        return [hit.document for hit in msgspec.json.decode(query.record["hits"], type=list[_Hit])]
    except (KeyError, *MALFORMED):
        raise DataError(
            f'{query.where}: no "hits" (found: {", ".join(query.record)})',
            hint="llmkit retrieve query INDEX --jsonl FILE",
        ) from None


def _relevant(query: Query, key: str) -> Grades:
    record: Record = query.record
    try:
        given = msgspec.json.decode(record[key], type=list[str] | Grades)
    except (KeyError, *MALFORMED):
        given = []
    grades = dict.fromkeys(given, 1.0) if isinstance(given, list) else given
    grades = {name: grade for name, grade in grades.items() if grade > 0}
    if not grades:
        raise DataError(
            f'{query.where}: no ids of relevant documents in "{key}" (found: {", ".join(record)})',
            hint=f'give each query "{key}": ["id"], or {{"id": grade}}',
        )
    return grades
