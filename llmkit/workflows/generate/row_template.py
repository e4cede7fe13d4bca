"""--template: a prompt made of a row's fields, by a Jinja template."""

from pathlib import Path

import jinja2
import msgspec

from llmkit.errors import ConfigError, DataError
from llmkit.formats.jsonl import Record
from llmkit.formats.streams import open_input
from llmkit.tokens.templates import REFUSALS, compile_template


class RowTemplate:
    """A template that is given every key of a row, and `record`, the whole row.

    Attributes:
        source: its text.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            MissingError: there is no such file.
            DataError: it is not UTF-8.
            ConfigError: it does not parse.
        """
        self._name = str(path)
        try:
            with open_input(path) as stream:
                self.source = stream.read().decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 ({error})", hint="write the template in UTF-8") from None
        try:
            environment = compile_template("").environment.overlay(undefined=jinja2.StrictUndefined)
            self._template = environment.from_string(self.source)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(f"{path}: line {error.lineno}: {error.message}", hint=f"mend {path}") from None

    def fill(self, record: Record) -> str:
        """The prompt of a row.

        Raises:
            DataError: the template asks for what the row has not got.
        """
        fields = {key: msgspec.json.decode(value) for key, value in record.items()}
        try:
            return self._template.render({**fields, "record": fields})
        except REFUSALS as error:
            raise DataError(
                f"{self._name}: {error}", hint=f"the row has: {', '.join(fields) or 'no keys at all'}"
            ) from None
