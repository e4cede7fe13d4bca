"""Artefacts of one tokenizer belong together; a digest that differs, or an id without a row, is found."""

from llmkit.workflows.doctor_together import Identity, check_together


def test_one_tokenizer_and_enough_rows_is_no_finding() -> None:
    same = [
        Identity("tok", "a" * 64, ids=48),
        Identity("shards", "a" * 64, ids=48),
        Identity("run", "a" * 64, rows=64),
    ]
    assert check_together([*same, Identity("other"), Identity("tokens.jsonl", ids=40)]) == []


def test_another_tokenizer_is_found_and_both_are_named() -> None:
    (found,) = check_together([Identity("tok", "a" * 64), Identity("shards", "b" * 64)])
    assert (found.level, found.check, found.where) == ("error", "together.tokenizer", "shards")
    assert "tok" in found.what and "a" * 12 in found.what and "b" * 12 in found.what


def test_ids_beyond_the_rows_are_found_in_any_order() -> None:
    for identities in (
        [Identity("tokens.jsonl", ids=49), Identity("run", rows=48)],
        [Identity("run", rows=48), Identity("tokens.jsonl", ids=49)],
    ):
        (found,) = check_together(identities)
        assert (found.check, found.where) == ("together.vocabulary", "tokens.jsonl")
        assert "up to 48" in found.what and "48 rows" in found.what
