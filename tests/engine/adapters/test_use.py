"""An adapter in figures."""

from llmkit.engine.adapters.use import AdapterUse
from llmkit.formats.jsonl import encode_line


def test_a_record_has_its_fields() -> None:
    assert encode_line(AdapterUse("sql", 12, 3)) == b'{"name":"sql","memory_bytes":12,"texts":3}\n'
