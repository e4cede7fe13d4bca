"""Tokenizers of the same tokens, and of others."""

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel

from llmkit.tokens.same import other_token
from llmkit.tokens.tokenizer import Tokenizer


def _tokenizer(*words: str, added: str = "<end>") -> Tokenizer:
    backend = Backend(WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))
    backend.add_special_tokens([AddedToken(added, special=True)])
    return Tokenizer(backend, {})


def test_a_token_with_another_id_is_named_with_both() -> None:
    ours = _tokenizer("a", "b", "c")
    assert other_token(ours, _tokenizer("a", "c", "b")) == "token 'b' is 2 there, 1 here"
    assert other_token(ours, _tokenizer("a", "b", "d")) == "token 'c' is None there, 2 here"
    assert other_token(ours, _tokenizer("a", "b", "c")) is None


def test_added_tokens_count_where_they_are_asked_for() -> None:
    ours, theirs = _tokenizer("a", "b"), _tokenizer("a", "b", added="<stop>")
    assert other_token(ours, theirs) == "token '<end>' is None there, 2 here"
    assert other_token(ours, theirs, added=False) is None
