"""SQL over one SQLite database as a tool: it can be read, and nothing else can be done with it.

The connection is read-only, an authorizer lets nothing through but reading, and time, rows and the length of
a value are bounded. Source: SQLite's documentation, "Defense Against The Dark Arts".
"""

import json
import sqlite3
import time
from typing import Any

from llmkit.retrieve.tools.alone import Alone
from llmkit.retrieve.tools.config import ToolError, ToolLimits, ToolSpec, one_text
from llmkit.retrieve.tools.leave import check_awaited, is_over

_READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_STEPS = 1_000
"""Of SQLite's machine between two looks at the clock."""
_MOST_VALUE_BYTES = 1 << 20
_MOST_ROWS = 1_000
_MOST_SCHEMA = 4_000
"""Characters of the tables that the model is told of."""


class SqlTool:
    """Queries one database."""

    def __init__(self, database: sqlite3.Connection, limits: ToolLimits, name: str = "sql") -> None:
        """
        Args:
            database: opened read-only; it is this tool's alone from now on.
            limits: of a query and of its result.
            name: what the function is called.
        """
        tables = [row[0] for row in database.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'")]
        told = "\n".join(one for one in tables if one)[:_MOST_SCHEMA]
        self.spec = ToolSpec(
            name,
            f"Runs one SQL query on a SQLite database that can only be read. Its tables:\n{told}",
            one_text("query", "one SELECT"),
        )
        self._database, self._limits = database, limits
        self._alone = Alone(limits.seconds)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE_BYTES)
        database.set_authorizer(_authorize)

    def call(self, arguments: dict[str, Any]) -> str:
        """See `Tool.call`; the result has "columns" and "rows"."""
        with self._alone.turn():
            return self._query(arguments["query"])

    def _query(self, query: str) -> str:
        deadline = time.monotonic() + self._limits.seconds
        self._database.set_progress_handler(lambda: is_over() or time.monotonic() > deadline, _STEPS)
        rows: list[tuple[Any, ...]] = []
        used = 0
        try:
            cursor = self._database.execute(query)
            if cursor.description is None:
                raise ToolError("not a query that reads: one SELECT")
            names = [one[0] for one in cursor.description]
            for row in cursor:
                rows.append(tuple(_plain(value) for value in row))
                used += len(json.dumps(rows[-1], ensure_ascii=False).encode())
                if used > self._limits.output_bytes or len(rows) > _MOST_ROWS:
                    raise ToolError(f"only {len(rows) - 1} rows fit into an answer: ask for fewer (LIMIT)")
        except sqlite3.Error as error:
            if str(error) == "interrupted":
                check_awaited()
                raise ToolError(f"no result within {self._limits.seconds:g} seconds") from None
            raise ToolError(str(error)) from None
        finally:
            self._database.set_progress_handler(None, 0)
        return json.dumps({"columns": names, "rows": rows}, ensure_ascii=False)


def _authorize(action: int, one: str | None, other: str | None, *rest: str | None) -> int:
    if action not in _READS or (action == sqlite3.SQLITE_FUNCTION and other == "load_extension"):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
