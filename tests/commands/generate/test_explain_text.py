"""An explained step as a table: a row a token, a column a step."""

from dataclasses import replace

from llmkit.commands.generate.explain_text import describe_step
from llmkit.workflows.generate.explain_step import ShownCandidate, ShownStage, StepReport

A, NEWLINE = ShownCandidate(7, " a", 3.0, 0.5), ShownCandidate(8, "\n", 2.0, 0.25)
NO_A = ShownCandidate(7, " a", -97.0, 0.0)
REPORT = StepReport(
    model="run",
    prompt_tokens=5,
    stages=(
        ShownStage("model", None, 600, 1.5, (A, NEWLINE)),
        ShownStage("bias", {7: -100.0}, 600, 1.0, (replace(NEWLINE, probability=0.5), NO_A)),
        ShownStage("top_k", 1, 1, 0.0, (replace(NEWLINE, probability=1.0),)),
    ),
    off=("penalties", "min_p"),
    seed=3,
    is_greedy=False,
    drawn_id=8,
    drawn_text="\n",
    ends_text=True,
)


def test_each_cell_is_a_share_and_a_dash_where_a_step_ruled_the_token_out() -> None:
    assert describe_step(REPORT).splitlines() == [
        "the next token after 5 tokens, step by step",
        "",
        "                    model       bias      top-k",
        "id  token                    7: -100          1",
        " 7  ' a'           50.00%      0.00%          -",
        r" 8  '\n'           25.00%     50.00%    100.00%",
        "    candidates        600        600          1",
        "    entropy     1.50 bits  1.00 bits  0.00 bits",
        "",
        r"drawn: 8 '\n', which ends the text (by chance, seed 3)",
        "off:   penalties, min-p",
    ]
