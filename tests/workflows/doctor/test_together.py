"""Artefacts of one tokenizer belong together; a digest that differs, or an id without a row, is found."""

from llmkit.workflows.doctor.together import Identity, check_together

A, B = "a" * 64, "b" * 64


def test_one_tokenizer_and_enough_rows_is_no_finding() -> None:
    assert (
        check_together(
            [
                Identity("tok", "tokenizer", A, ids=48),
                Identity("shards", "shards", A, ids=48),
                Identity("run", "model", A, rows=64),
                Identity("other", "model"),
                Identity("tokens.jsonl", "tokens", ids=40),
            ]
        )
        == []
    )


def test_another_tokenizer_is_found_and_both_are_named() -> None:
    (found,) = check_together([Identity("tok", "tokenizer", A), Identity("shards", "shards", B)])
    assert (found.level, found.check, found.where) == ("error", "together.tokenizer", "shards")
    assert "tok" in found.what and A[:12] in found.what and B[:12] in found.what


def test_two_shard_folders_of_different_tokenizers_are_found() -> None:
    assert check_together([Identity("train", "shards", A), Identity("valid", "shards", B)])


def test_two_models_may_each_have_their_own_tokenizer() -> None:
    assert check_together([Identity("one", "model", A, rows=9), Identity("two", "model", B, rows=9)]) == []


def test_ids_beyond_the_rows_are_found_in_any_order() -> None:
    tokens, run = Identity("tokens.jsonl", "tokens", ids=49), Identity("run", "model", rows=48)
    for identities in ([tokens, run], [run, tokens]):
        (found,) = check_together(identities)
        assert (found.check, found.where) == ("together.vocabulary", "tokens.jsonl")
        assert "up to 48" in found.what and "48 rows" in found.what
