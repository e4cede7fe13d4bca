"""A tokenizer: text to ids and back, on the `tokenizers` library, with what tokenizer_config.json adds."""

import copy
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tokenizers
from numpy.typing import NDArray

from llmkit.formats.digest import digest_bytes
from llmkit.tokens.pieces import added_reader, piece_reader

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
NAMED_TEMPLATES = "additional_chat_templates"
"""A folder of templates, NAME.jinja each."""
ROLES = ("bos", "eos", "pad")
"""Special tokens that a config names: bos_token, …"""
TOOL_USE = "tool_use"
"""The template that conversations with tools take, where there is one of this name."""


class Tokenizer:
    """A vocabulary and how text is cut into it.

    Built by `load.load_tokenizer` or `train.train_tokenizer`; nothing changes after that.

    Attributes:
        backend: does the work; its truncation and padding are off.
        config: tokenizer_config.json.
        bos_id, eos_id, pad_id: ids of the special tokens that the config names, None where it names none.
        chat_template: jinja text that turns messages into a prompt, or None.
        named_templates: others by name, such as the one for tools.
        sha256: digest of tokenizer.json, byte for byte as `save` writes it.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        config: dict[str, Any] | None = None,
        chat_template: str | None = None,
        *,
        content: bytes | None = None,
        named_templates: Mapping[str, str] | None = None,
    ) -> None:
        """`content` is the tokenizer.json that the backend was read from; without it, the backend's own."""
        self.backend = backend
        self.config = config or {}
        self.chat_template = chat_template
        self.named_templates = dict(named_templates or {})
        self._content = canonical_json(backend) if content is None else content
        self.sha256 = digest_bytes(self._content.replace(_LATER_STEP, b""))
        self.bos_id, self.eos_id, self.pad_id = map(self.named_id, ROLES)

    @functools.cached_property
    def vocab_size(self) -> int:
        """The highest id plus one, added tokens included."""
        return max(self._vocabulary.values(), default=-1) + 1

    def encode(self, text: str, *, special_tokens: bool = False) -> list[int]:
        """The ids of a text.

        Args:
            text: special tokens written in it become those tokens; `ordinary_backend` takes them as text.
            special_tokens: also put bos and eos around it, as the tokenizer's post-processor says.
        """
        return self.backend.encode(text, add_special_tokens=special_tokens).ids

    def decode(self, ids: Iterable[int], *, skip_special: bool = False) -> str:
        """The text of some ids; bytes that are not UTF-8 become U+FFFD, ids of no token are left out."""
        return self.backend.decode([int(one) for one in ids], skip_special_tokens=skip_special)

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes that an id stands for; none where no token has this id.

        A SentencePiece token keeps its leading space, which decoding leaves out at the start of a text.
        """
        added = self._added.get(token_id)
        return added if added is not None else self._read(self.token_text(token_id))

    @functools.cached_property
    def byte_lengths(self) -> NDArray[np.int64]:
        """(vocab_size,) UTF-8 bytes of text behind each id; special tokens stand for no text."""
        sizes = np.zeros(self.vocab_size, np.int64)
        for piece, token_id in self._vocabulary.items():
            sizes[token_id] = len(self._read(piece))
        for token_id, token in self.backend.get_added_tokens_decoder().items():
            sizes[token_id] = 0 if token.special else len(self._added[token_id])
        return sizes

    def token_text(self, token_id: int) -> str:
        """The piece as the vocabulary stores it; empty where no token has this id."""
        return self.backend.id_to_token(token_id) or ""

    def id_of(self, piece: str) -> int | None:
        """The id of a piece or special token, as the vocabulary stores it."""
        return self.backend.token_to_id(piece)

    def named_id(self, name: str) -> int | None:
        """The id of the token that the config names as NAME_token: bos, pad, …; None where it names none."""
        content = token_content(self.config.get(f"{name}_token"))
        return None if content is None else self.backend.token_to_id(content)

    @property
    def special_ids(self) -> dict[str, int]:
        """The special tokens that were added to the vocabulary, by what they spell."""
        added = self.backend.get_added_tokens_decoder()
        return {token.content: index for index, token in added.items() if token.special}

    @property
    def templates(self) -> dict[str, str]:
        """All chat templates by name: `chat_template` is "default", and the first."""
        own = {} if self.chat_template is None else {"default": self.chat_template}
        return own | self.named_templates

    def with_template(self, template: str) -> "Tokenizer":
        """The same tokenizer with one chat template."""
        changed = copy.copy(self)
        changed.chat_template, changed.named_templates = template, {}
        return changed

    @property
    def for_tools(self) -> "Tokenizer":
        """The tokenizer with the template that conversations with tools take: itself, if that is no other."""
        template = self.named_templates.get(TOOL_USE)
        return self if template is None else self.with_template(template)

    def save(self, folder: Path) -> None:
        """Write a folder's tokenizer files; transformers.AutoTokenizer opens them.

        Chat templates stand in files of their own, which current readers take, and in tokenizer_config.json
        for older ones. A config without a class gets the one that takes tokenizer.json as it is: left to
        choose by a model's type, transformers builds another tokenizer around the vocabulary.
        """
        folder.mkdir(parents=True, exist_ok=True)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **self.config}
        config.pop("chat_template", None)
        if self.chat_template is not None:
            config["chat_template"] = self.chat_template
            (folder / CHAT_TEMPLATE).write_text(self.chat_template, encoding="utf-8", newline="")
        if self.named_templates:
            every = self.templates.items()
            config["chat_template"] = [{"name": name, "template": text} for name, text in every]
            (folder / NAMED_TEMPLATES).mkdir(exist_ok=True)
        for name, text in self.named_templates.items():
            (folder / NAMED_TEMPLATES / f"{name}.jinja").write_text(text, encoding="utf-8", newline="")
        (folder / TOKENIZER).write_bytes(self._content)
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (folder / TOKENIZER_CONFIG).write_text(text + "\n", encoding="utf-8")

    @functools.cached_property
    def _vocabulary(self) -> dict[str, int]:
        """Every piece and added token with its id."""
        return self.backend.get_vocab(with_added_tokens=True)

    @functools.cached_property
    def _added(self) -> dict[int, bytes]:
        """The bytes of each added token: a special one is its own text."""
        read = self._readers[1]
        added = self.backend.get_added_tokens_decoder().items()
        return {index: one.content.encode() if one.special else read(one.content) for index, one in added}

    def _read(self, piece: str) -> bytes:
        return self._readers[0](piece)

    @functools.cached_property
    def _readers(self) -> tuple[Callable[[str], bytes], Callable[[str], bytes]]:
        """From a piece to its bytes, and from an added token that is not special."""
        state = msgspec.json.decode(self._content)
        return piece_reader(state), added_reader(state)


def token_content(value: Any) -> str | None:
    """A special token of tokenizer_config.json, given as text or as {"content": text}; None if not set."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


_LATER_STEP = """,
      {
        "type": "Replace",
        "pattern": {
          "Regex": "▁+\\\\z"
        },
        "content": ""
      }""".encode()
"""Of SentencePiece's normalizers (`MARKS_AT_END` there), for texts that end in a mark. It came later than the
others: digests leave it out, so that what was packed or begun without it goes on."""


def canonical_json(backend: tokenizers.Tokenizer) -> bytes:
    """A backend as the bytes of tokenizer.json, the same for the same tokenizer."""
    return backend.to_str(pretty=True).encode() + b"\n"
