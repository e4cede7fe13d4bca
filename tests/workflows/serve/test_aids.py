"""Tools and indexes of a server, opened."""

from pathlib import Path

import pytest

from llmkit.errors import MissingError, UsageError
from llmkit.retrieve.config import IndexConfig
from llmkit.server.config import ServeConfig, ToolsConfig
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.serve.aids import MOST_PASSAGES, open_aids, read_index


def test_who_is_named_is_approved_and_nobody_else_can_be_called() -> None:
    with open_aids(ServeConfig(tools=ToolsConfig(tools=("sums: calculator",), max_calls=3))) as aids:
        assert aids.toolbox is not None and aids.finder is None
        assert (aids.toolbox.names, aids.toolbox.max_calls) == (("sums",), 3)
        from llmkit.tokens.tools.calls import FoundCall

        calls = [FoundCall("sums", '{"expression": "17 * 23"}'), FoundCall("calculator", "{}")]
        _, results = aids.toolbox.answer(calls, 0)
    assert results[0]["content"] == "391" and "no function 'calculator'" in results[1]["content"]


def test_without_tools_there_is_nothing_and_their_settings_are_refused() -> None:
    with open_aids(ServeConfig()) as aids:
        assert (aids.toolbox, aids.finder) == (None, None)
    with (
        pytest.raises(UsageError, match="--max-calls does nothing without --tool"),
        open_aids(ServeConfig(tools=ToolsConfig(max_calls=2))),
    ):
        pass


def test_an_index_may_have_a_number_of_passages_behind_it(tmp_path: Path) -> None:
    assert read_index("a.index:3") == (Path("a.index"), 3)
    assert read_index("a:b.index") == (Path("a:b.index"), MOST_PASSAGES)
    odd = tmp_path / "i:3"
    odd.touch()
    assert read_index(str(odd)) == (odd, MOST_PASSAGES)
    with pytest.raises(UsageError, match="no passages"):
        read_index("a.index:0")


def test_an_index_is_opened_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such index"), open_aids(ServeConfig(retrieve="nowhere:2")):
        pass
    (tmp_path / "d.txt").write_text("a bee makes honey")
    index_documents([tmp_path / "d.txt"], tmp_path / "i", IndexConfig())
    with open_aids(ServeConfig(retrieve=f"{tmp_path / 'i'}:2")) as aids:
        assert aids.finder is not None and aids.most_passages == 2
        assert [hit.text for hit in aids.finder.find("honey", 9)] == ["a bee makes honey"]
