"""One run of `llmkit tokenize`: the tokenizer, the documents, where results go, and the totals."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import tokenizers

from llmkit.formats.documents import Document
from llmkit.formats.token_documents import TokenIds
from llmkit.progress import SILENT, Progress
from llmkit.tokens.compare import Tally
from llmkit.tokens.config import TokenizeConfig
from llmkit.tokens.encode import BATCH_BYTES, EncodeOptions, encode_pairs
from llmkit.tokens.ordinary import ordinary_backend, parsing_backend
from llmkit.tokens.spans import Spans, pad_spans, token_spans
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.input import is_chat


@dataclass
class Run:
    """What every mode needs. `failures` collects what the gate of a mode objects to."""

    tokenizer: Tokenizer
    config: TokenizeConfig
    documents: Iterator[Document]
    stream: BinaryIO
    flush: bool = False
    """Write each result through at once: stdout is a terminal, or --unbuffered."""
    color: bool = False
    progress: Progress = SILENT
    totals: Tally = field(default_factory=Tally)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._shown = 0
        self._backends = {False: ordinary_backend(self.tokenizer), True: parsing_backend(self.tokenizer)}

    def emit(self, content: bytes) -> None:
        """Write one result."""
        self.stream.write(content)
        if self.flush:
            self.stream.flush()

    def pairs(self) -> Iterator[tuple[Document, TokenIds]]:
        """Each document and its ids, counted in `totals` as they pass."""
        config = self.config
        options = EncodeOptions(
            bos=config.bos,
            eos=config.eos,
            special=self.reads_special,
            batch_bytes=1 if config.unbuffered else BATCH_BYTES,
            read_ahead=not config.unbuffered,
            threads=config.threads,
        )
        for document, ids in encode_pairs(self.tokenizer, self.documents, options):
            self.totals.add(document.text, len(ids))
            self.show_progress()
            yield document, ids

    def show_progress(self) -> None:
        """Tell the listener, at most once each 64 KiB of text: documents can be short and many."""
        if self.totals.bytes - self._shown >= 1 << 16:
            self._shown = self.totals.bytes
            self.progress.update(self.totals.bytes, tokens=self.totals.tokens)

    def reads_special(self, document: Document) -> bool:
        """Whether special tokens in this document's text are meant: by flag, or because it is a chat."""
        return self.config.allow_special or is_chat(document, self.config.field)

    def backend_for(self, document: Document) -> tokenizers.Tokenizer:
        """The backend that this document is encoded with."""
        return self._backends[self.reads_special(document)]

    def count(self, document: Document, text: str) -> int:
        """How many tokens a part of a document's text has by itself, bos and eos included."""
        encoding = self.backend_for(document).encode(text, add_special_tokens=False)
        return len(encoding) + self.config.bos + self.config.eos

    def spans(self, document: Document, ids: TokenIds, *, padded: bool = False) -> Spans:
        """Where the tokens stand in the text; with `padded`, bos and eos have empty ranges at the ends."""
        config = self.config
        inner = ids[int(config.bos) : len(ids) - int(config.eos)]
        spans = token_spans(self.tokenizer, self.backend_for(document), document.text, inner)
        return pad_spans(spans, document.text, bos=config.bos, eos=config.eos) if padded else spans
