"""Whether two tokenizers speak of the same tokens."""

from llmkit.tokens.tokenizer import Tokenizer


def other_token(ours: Tokenizer, theirs: Tokenizer, *, added: bool = True) -> str | None:
    """A token with another id in the other tokenizer, in words; None where all are alike.

    Args:
        ours: a tokenizer.
        theirs: another.
        added: whether tokens beside the vocabulary are compared too: what a template is made of, mostly.
    """
    if ours.sha256 == theirs.sha256:
        return None
    here, there = (one.backend.get_vocab(with_added_tokens=added) for one in (ours, theirs))
    if here == there:
        return None
    token = min(name for name, _ in here.items() ^ there.items())
    return f"token {token!r} is {there.get(token)} there, {here.get(token)} here"
