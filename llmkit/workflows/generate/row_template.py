"""--template: a prompt made of a row's fields, by a Jinja template."""

from pathlib import Path

import jinja2

from llmkit.errors import DataError
from llmkit.formats.jsonl import Record, decode_value
from llmkit.tokens.templates import REFUSALS, compile_template, read_template


class RowTemplate:
    """A template that is given every key of a row, and `record`, the whole row.

    Attributes:
        source: its text.
    """

    def __init__(self, path: Path) -> None:
        """Read and compile it; raises what `read_template` does."""
        self._name, self.source = str(path), read_template(path)
        environment = compile_template("").environment.overlay(undefined=jinja2.StrictUndefined)
        self._template = environment.from_string(self.source)

    def fill(self, record: Record) -> str:
        """The prompt of a row.

        Raises:
            DataError: the template asks for what the row has not got, or a value is no JSON.
        """
        fields = {key: decode_value(value) for key, value in record.items()}
        try:
            return self._template.render({**fields, "record": fields})
        except REFUSALS as error:
            raise DataError(
                f"{self._name}: {error}", hint=f"the row has: {', '.join(fields) or 'no keys at all'}"
            ) from None
