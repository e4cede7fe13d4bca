"""What is put around a text."""

from tokenizers import Tokenizer, models

from llmkit.tokens.post import add_around


def _backend() -> Tokenizer:
    return Tokenizer(models.WordLevel({"a": 0, "<s>": 1, "</s>": 2}, unk_token="a"))


def test_only_what_is_named_is_put_around_a_text() -> None:
    for bos, eos, ids in (("<s>", "</s>", [1, 0, 2]), ("<s>", None, [1, 0]), (None, None, [0])):
        backend = _backend()
        add_around(backend, bos, eos)
        assert backend.encode("a").ids == ids
        assert backend.encode("a", add_special_tokens=False).ids == [0]


def test_one_token_may_be_both() -> None:
    backend = _backend()
    add_around(backend, "<s>", "<s>")
    assert backend.encode("a").ids == [1, 0, 1]
    assert backend.encode("a", "a").ids == [1, 0, 1, 1, 0, 1]
