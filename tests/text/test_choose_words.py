"""The table in use."""

from llmkit.kernels.library import available
from llmkit.text.choose_words import word_table
from llmkit.text.native_words import NativeWordTable


def test_a_process_has_one_table_and_it_is_native_where_it_can_be() -> None:
    assert word_table() is word_table()
    assert isinstance(word_table(), NativeWordTable) == available()
