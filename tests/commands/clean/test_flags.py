"""The flags of clean as the workflow takes them. What each changes is tested with the command."""

from pathlib import Path

from llmkit.commands.clean.flags import Limits, Rules
from llmkit.workflows.clean.options import CleanFiles, CleanSettings


def test_nothing_given_is_the_default_of_every_setting() -> None:
    assert CleanSettings(**Rules().settings()) == CleanSettings()
    assert CleanFiles(inputs=[], **vars(Limits())) == CleanFiles(inputs=[])


def test_lists_keep_their_order_and_paths_become_what_json_has() -> None:
    rules = Rules(preset=["c4", "gopher"], license_deny=["mit"], lang_model=Path("lid.bin"))
    settings = CleanSettings(**rules.settings())
    assert (settings.presets, settings.license_deny) == (("c4", "gopher"), ("mit",))
    assert settings.lang_model == "lid.bin"
