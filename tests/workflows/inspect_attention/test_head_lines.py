"""Lines of the table of heads."""

from worded_models import head_row

from llmkit.workflows.inspect_attention.head_lines import head_lines


def test_a_head_of_two_names_has_two_lines_and_one_of_none_has_one() -> None:
    scores = {"sink": 0.7, "induction": 0.6}
    both, neither = (
        head_row(0, 1, classes=["sink", "induction"], class_scores=scores),
        head_row(1, 0, classes=[]),
    )
    lines = list(head_lines([both, neither]))
    assert [(one["layer"], one["head"], one["class"], one["score"]) for one in lines] == [
        (0, 1, "sink", 0.7),
        (0, 1, "induction", 0.6),
        (1, 0, None, None),
    ]
    assert lines[0]["class_scores"] == scores and lines[2]["entropy_nats"] == neither.entropy_nats
