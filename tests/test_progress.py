from llmkit.progress import SILENT, Progress


def test_the_silent_listener_is_a_progress_that_says_nothing(capsys) -> None:
    progress: Progress = SILENT
    progress.update(1, 2, loss=0.5)
    progress.note("hello")
    assert capsys.readouterr() == ("", "")
