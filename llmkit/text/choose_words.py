"""Which table finds words: the native one where the library is there. Both find the same words."""

from functools import cache

from llmkit.kernels.library import available
from llmkit.text.native_words import NativeWordTable
from llmkit.text.word_table import WordTable


@cache
def word_table() -> NativeWordTable | WordTable:
    """The table of this process."""
    return NativeWordTable() if available() else WordTable()
