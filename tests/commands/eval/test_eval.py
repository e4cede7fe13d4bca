"""llmkit eval: the group of its subcommands."""

from llmkit.commands.eval.eval import group


def test_the_group_has_a_command_for_each_way_to_judge_a_model() -> None:
    assert {"tokens", "ppl", "kl", "score", "diff"} <= set(group().commands)


def test_a_word_that_is_none_of_them_names_the_nearest(llmkit_run) -> None:
    done = llmkit_run("eval", "pll")
    assert done.status == 2 and "did you mean llmkit eval ppl?" in done.err
