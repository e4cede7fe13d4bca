"""Tools and indexes of a server, opened."""

import re
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import LlmkitError, MissingError, UsageError
from llmkit.retrieve.config import IndexConfig
from llmkit.server.config import PassagesConfig, ServeConfig, ToolsConfig
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.serve.aids import MOST_PASSAGES, check_aids, open_aids, read_index


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


@pytest.mark.parametrize(
    ("index", "passages", "kind", "said"),
    [
        ("i", {"key": Path("k")}, UsageError, "--retrieve-key is of a search engine, and i is a file"),
        ("i", {"embed_url": "http://h"}, UsageError, "--retrieve-embed-url http://h: words need no model"),
        ("i", {"by": "meaning"}, MissingError, "i: has no vectors"),
        ("i", {"by": "meaning", "embed_url": "h"}, MissingError, "i: has no vectors"),
        ("qdrant+http://h/d", {"key": Path("k")}, MissingError, "no such file .*--retrieve-key FILE"),
        ("qdrant+http://h/d", {"by": "both"}, MissingError, "not known there .--retrieve-embed-url URL.$"),
        (
            "qdrant+http://h/d",
            {"by": "both", "embed_url": "h"},
            UsageError,
            "--retrieve-embed-url h: no URL",
        ),
        (
            "qdrant+http://h/d",
            {"by": "both", "embed_url": "http://h", "embed_key": Path("k")},
            MissingError,
            "no such file .--retrieve-embed-key FILE",
        ),
    ],
)
def test_what_cannot_be_searched_is_told_in_words_of_serve_before_anything_is_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    index: str,
    passages: dict[str, Any],
    kind: type[LlmkitError],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.txt").write_text("a bee makes honey")
    index_documents([Path("d.txt")], Path("i"), IndexConfig())
    with pytest.raises(kind) as caught:
        check_aids(ServeConfig(retrieve=index, passages=PassagesConfig(**passages)))
    assert re.search(said, f"{caught.value.problem} ({caught.value.hint})")


def test_tools_that_cannot_be_opened_are_told_by_the_check_which_starts_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = Path("p.sh")
    program.write_text("#!/bin/sh\ntouch started\n")
    program.chmod(0o755)
    check_aids(ServeConfig(tools=ToolsConfig(tools=("x: ./p.sh", "mcp=./p.sh", "sums: calculator"))))
    assert not Path("started").exists()
    for tools, said in (
        (("x: /nosuch/prog",), "no program /nosuch/prog"),
        (("mcp=nosuch",), "no program nosuch"),
        (("search=nowhere",), "no such index"),
        (("sql=nowhere",), "no such file"),
        (("x: ./p.sh", "x: calculator"), "two tools are called x"),
    ):
        with pytest.raises(LlmkitError, match=said):
            check_aids(ServeConfig(tools=ToolsConfig(tools=tools)))
    Path("y.json").write_text('{"type": "object", "properties": {}}')
    with pytest.raises(UsageError, match="no tool is called so"):
        check_aids(ServeConfig(tools=ToolsConfig(tools=("calculator",), schemas=("y: y.json",))))


def test_an_index_is_opened_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such index"), open_aids(ServeConfig(retrieve="nowhere:2")):
        pass
    (tmp_path / "d.txt").write_text("a bee makes honey")
    index_documents([tmp_path / "d.txt"], tmp_path / "i", IndexConfig())
    with open_aids(ServeConfig(retrieve=f"{tmp_path / 'i'}:2")) as aids:
        assert aids.finder is not None and aids.most_passages == 2
        assert [hit.text for hit in aids.finder.find("honey", 9)] == ["a bee makes honey"]
