"""SQL that reads, beside sqlite3 itself; and SQL that would do anything else."""

import json
import sqlite3
from pathlib import Path

import pytest

from llmkit.retrieve.tools.config import ToolError, ToolLimits
from llmkit.retrieve.tools.sql import SqlTool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "towns.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE town (name TEXT, people INTEGER, seal BLOB)")
    database.executemany("INSERT INTO town VALUES (?, ?, ?)", [("Oslo", 7, b"\x01"), ("Rome", 28, None)])
    database.commit()
    database.close()
    return path


def tool(path: Path, *, mode: str = "ro", limits: ToolLimits | None = None) -> SqlTool:
    database = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True)
    return SqlTool(database, limits or ToolLimits())


@pytest.mark.parametrize(
    "query",
    [
        "SELECT name, people FROM town ORDER BY people DESC",
        "SELECT sum(people) AS total, upper(max(name)) FROM town WHERE name LIKE '%o%'",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5) SELECT x FROM n",
        "SELECT name FROM town WHERE people > 100",
    ],
)
def test_what_is_read_is_what_sqlite_reads(path: Path, query: str) -> None:
    database = sqlite3.connect(path)
    cursor = database.execute(query)
    expected = {"columns": [one[0] for one in cursor.description], "rows": [list(row) for row in cursor]}
    assert json.loads(tool(path).call({"query": query})) == expected


def test_the_model_is_told_of_the_tables_and_bytes_come_as_hexadecimal(path: Path) -> None:
    sql = tool(path)
    assert "CREATE TABLE town (name TEXT, people INTEGER, seal BLOB)" in sql.spec.description
    assert json.loads(sql.call({"query": "SELECT seal FROM town"}))["rows"] == [["01"], [None]]


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM town",
        "DROP TABLE town",
        "INSERT INTO town VALUES ('x', 1, NULL)",
        "CREATE TEMP TABLE x (a)",
        "ATTACH DATABASE '/tmp/other.sqlite' AS other",
        "PRAGMA writable_schema = 1",
        "PRAGMA database_list",
        "VACUUM INTO '/tmp/copy.sqlite'",
        "SELECT load_extension('/tmp/x.so')",
        "BEGIN",
        "SELECT 1; DROP TABLE town",
        "SELECT name FROM nowhere",
        "hello",
        "",
    ],
)
def test_nothing_but_one_query_is_done_even_where_the_database_could_be_written(
    path: Path, query: str
) -> None:
    before = path.read_bytes()
    for mode in ("ro", "rw"):
        with pytest.raises(ToolError):
            tool(path, mode=mode).call({"query": query})
    assert path.read_bytes() == before


def test_a_query_without_end_stops_in_its_time_and_a_long_result_is_an_error(path: Path) -> None:
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT"
    with pytest.raises(ToolError, match=r"no result within 0\.2 seconds"):
        tool(path, limits=ToolLimits(seconds=0.2)).call({"query": f"{numbers} count(*) FROM n"})
    with pytest.raises(ToolError, match="only 1000 rows fit"):
        tool(path).call({"query": f"{numbers} x FROM n"})
    with pytest.raises(ToolError, match="only 0 rows fit"):
        tool(path).call({"query": "SELECT hex(zeroblob(100000))"})
    with pytest.raises(ToolError, match="too big"):
        tool(path).call({"query": "SELECT zeroblob(1000000000)"})
    again = tool(path, limits=ToolLimits(seconds=20))
    assert json.loads(again.call({"query": "SELECT 1 AS one"})) == {"columns": ["one"], "rows": [[1]]}
