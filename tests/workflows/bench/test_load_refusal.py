"""What is said where a server does not take the load."""

import pytest

from llmkit.workflows.bench.load_refusal import load_refusal


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        ("400", "ignore_eos: extra inputs are not permitted", "--no-ignore-eos"),
        ("400", "too long", "--log FILE"),
        ("500", "ignore_eos broke it", "--log FILE"),
        (401, None, "--api-key-file"),
        (404, "no model 'm'", "--model"),
        ("ConnectError", None, "is the server up?"),
    ],
)
def test_the_hint_fits_the_status_and_the_word_is_named_only_where_it_is_refused(
    status: str | int, said: str | None, hint: str
) -> None:
    error = load_refusal("http://a", status, said)
    assert error.status == 6 and hint in error.hint
    assert error.problem.startswith("http://a: ") and str(status) in error.problem
    assert (said or "") in error.problem and "None" not in error.problem
