"""How text is cut into words before bytes are merged: the expressions of published models.

A merge never crosses a cut. llama.cpp, vLLM and transformers know these expressions; a tokenizer that is to
run there uses one of them. llama.cpp calls them gpt-2, llama-bpe (also GPT-4's) and qwen2.
"""

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = _WORDS + r"|\p{N}{1,3}" + _REST
"""cl100k_base as published in 2022; Llama 3's is the same. tiktoken now cuts white space at the end of a text
otherwise, to the same ids: no token ends in spaces after a line end."""
QWEN2 = _WORDS + r"|\p{N}" + _REST


def byte_level(model: BPE, pattern: str) -> Tokenizer:
    """A byte-level tokenizer around a model: text is cut by `pattern`, then bytes are merged."""
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizer(pattern)
    backend.decoder = decoders.ByteLevel()
    return backend


def pre_tokenizer(pattern: str) -> Any:
    """The cut as tokenizer.json writes it; GPT-2's is built into the library's ByteLevel."""
    if pattern == GPT2:
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def special_token(content: str) -> AddedToken:
    """A token that is found as it is written, before any normalising or cutting."""
    return AddedToken(content, special=True, normalized=False)
