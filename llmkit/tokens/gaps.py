"""Documents cut in three at random, what belongs in the middle told last: models learn to fill in by them.

Source: Bavarian et al., 2022, arXiv:2207.14255. Texts are cut between characters and each part is encoded by
itself, as the sides of a prompt are. A document that no row holds stays as it is, as in Code Llama's
training (arXiv:2308.12950): the gap and what fills it would stand in two rows.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np

from llmkit.errors import ConfigError, DataError, UsageError
from llmkit.formats.documents import Document
from llmkit.formats.token_documents import TokenDocument, TokenIds
from llmkit.tokens.config import PackConfig
from llmkit.tokens.encode import EncodeOptions, encode_pairs
from llmkit.tokens.infill import InfillForm, infill_form_of
from llmkit.tokens.permutation import seed_key
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer

_SPM_SHARE = 0.5  # of models that have both forms: Bavarian's, and StarCoder's
_RANGE = 1 << 64
_NOTHING: TokenIds = np.empty(0, np.uint32)


class Gap(NamedTuple):
    """Where a document is cut, and how it is told."""

    begin: int
    end: int
    spm: bool


@dataclass(frozen=True)
class GapDocument(TokenDocument):
    """A document that was cut in three."""

    form: Literal["psm", "spm"] = "psm"


@dataclass(frozen=True)
class _Cut(Document):
    """A document to encode whole; its three parts come right behind it."""

    gap: Gap = field(kw_only=True)


class GapMaker:
    """Cuts documents in three, by their numbers and a seed: threads or a pause change nothing."""

    def __init__(
        self, tokenizer: Tokenizer, config: PackConfig, fits: Callable[[TokenDocument], bool]
    ) -> None:
        """
        Args:
            tokenizer: whose marks tell of a gap.
            config: its `fim`, `fim_spm` and `seed`.
            fits: whether one row holds a document.

        Raises:
            UsageError: a share is asked for of a model that has one form.
            DataError: no tokens that mark a gap.
            ConfigError: no token that ends a document.
        """
        self._form = _form_of(tokenizer)
        if config.fim_spm is not None and self._form.after_first:
            raise UsageError(
                "--fim-spm: this tokenizer's models are always told first what follows a gap",
                hint="leave out --fim-spm",
            )
        self._tokenizer, self._config, self._fits = tokenizer, config, fits
        self._spm = _SPM_SHARE if config.fim_spm is None else config.fim_spm
        self._lead = PromptEncoder(tokenizer).later_lead
        self._end = np.array([tokenizer.eos_id if self._form.end is None else self._form.end], np.uint32)

    def draw(self, number: int, length: int) -> Gap | None:
        """Where a document is cut; None: it stays whole.

        Args:
            number: of the document among all that are read.
            length: places at which it can be cut, less one.
        """
        key = seed_key(self._config.seed)
        digest = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=32, key=key).digest()
        chance, form, *cuts = (int.from_bytes(digest[at : at + 8], "little") for at in range(0, 32, 8))
        if not length or chance >= self._config.fim * _RANGE:
            return None
        begin, end = sorted(one * (length + 1) // _RANGE for one in cuts)
        return Gap(begin, end, self._form.after_first or form < self._spm * _RANGE)

    def encode(
        self, documents: Iterable[tuple[int, Document]], options: EncodeOptions
    ) -> Iterator[TokenDocument]:
        """The token documents of numbered texts, in order; chats stay whole.

        Args:
            documents: with their numbers.
            options: how they are encoded; `special` tells which are chats.
        """
        encoded = encode_pairs(self._tokenizer, self._parts(documents, options), options)
        for document, ids in encoded:
            whole = TokenDocument(document.id, ids, None, document.where, document.record)
            if isinstance(document, _Cut):
                before, middle, after = (part for _, part in islice(encoded, 3))
                skip = len(self._lead[1])
                yield self._told(whole, document.gap, before, middle[skip:], after[skip:])
            else:
                yield whole

    def cut_tokens(self, number: int, document: TokenDocument) -> TokenDocument:
        """A document that came as ids, cut between them; one with a mask stays whole."""
        ids = document.tokens
        if document.mask is not None or not len(ids):
            return document
        first = int(ids.item(0) == self._tokenizer.bos_id)
        last = len(ids) - int(len(ids) > first and ids.item(-1) == self._tokenizer.eos_id)
        gap = self.draw(number, last - first)
        if gap is None:
            return document
        begin, end = first + gap.begin, first + gap.end
        return self._told(document, gap, ids[first:begin], ids[begin:end], ids[end:last], start=ids[:first])

    def _parts(self, documents: Iterable[tuple[int, Document]], options: EncodeOptions) -> Iterator[Document]:
        for number, document in documents:
            text, lead = document.text, self._lead[0]
            gap = None if options.special(document) else self.draw(number, len(text))
            if gap is None:
                yield document
                continue
            yield _Cut(document.id, text, document.file, document.line, document.record, gap=gap)
            for part in (text[: gap.begin], lead + text[gap.begin : gap.end], lead + text[gap.end :]):
                yield Document("", part, document.file, document.line)

    def _told(
        self,
        whole: TokenDocument,
        gap: Gap,
        before: TokenIds,
        middle: TokenIds,
        after: TokenIds,
        *,
        start: TokenIds = _NOTHING,
    ) -> TokenDocument:
        """A document in three parts, or whole where no row holds these; `start` stands before all of them."""
        tokens = np.concatenate([start, self._form.whole(before, middle, after, spm=gap.spm), self._end])
        form: Literal["psm", "spm"] = "spm" if gap.spm else "psm"
        told = GapDocument(whole.id, tokens, None, whole.where, whole.record, form)
        return told if self._fits(told) else whole


def _form_of(tokenizer: Tokenizer) -> InfillForm:
    form = infill_form_of(tokenizer)
    if form is None:
        raise DataError(
            "--fim: the tokenizer has no tokens that mark a gap",
            hint="a code model's, or llmkit train-tokenizer --special '<|fim_prefix|>' --special "
            "'<|fim_suffix|>' --special '<|fim_middle|>'",
        )
    if form.end is None and tokenizer.eos_id is None:
        raise ConfigError(
            "--fim: the tokenizer has no eos token, by which a model learns where a gap is filled",
            hint="name one in tokenizer_config.json (eos_token)",
        )
    return form
