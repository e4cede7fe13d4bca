from importlib.metadata import version

from llmkit.version import __version__


def test_the_version_is_that_of_the_installed_package(llmkit_run) -> None:
    assert llmkit_run("--version").text == f"llmkit {__version__}\n"
    assert version("llmkit") == __version__
