import pytest

from llmkit.cli import build_cli
from llmkit.commands.completion.text import completion_script
from llmkit.commands.documentation import read_pages


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_stdout_is_the_script_and_nothing_else(llmkit_run, shell: str) -> None:
    done = llmkit_run("completion", shell)
    assert done.status == 0 and done.err == ""
    assert done.text == completion_script(shell, read_pages(build_cli()))


def test_another_shell_is_wrong_usage(llmkit_run) -> None:
    done = llmkit_run("completion", "tcsh")
    assert done.status == 2 and done.out == b"" and "tcsh" in done.err
