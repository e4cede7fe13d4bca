"""How a source is read and written again."""

from pathlib import Path

import pytest

from llmkit.errors import MissingError, UsageError
from llmkit.workflows.mix.options import MixFiles, MixSettings, Source, parse_source, parse_sources


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("web=a.jsonl", Source(name="web", path="a.jsonl")),
        ("web=a.jsonl:0.7", Source(name="web", path="a.jsonl", weight=0.7)),
        ("web=a.jsonl:7:2.5", Source(name="web", path="a.jsonl", weight=7, max_epochs=2.5)),
        ("web=a.jsonl::2", Source(name="web", path="a.jsonl", max_epochs=2)),
        ("web=C:/x:y.jsonl:1", Source(name="web", path="C:/x:y.jsonl", weight=1)),
        ("web=a=b:1", Source(name="web", path="a=b", weight=1)),
        ("web=-:1e2", Source(name="web", path="-", weight=100)),
        ("web=1:2:3:4", Source(name="web", path="1:2", weight=3, max_epochs=4)),
        ("web=a:nan", Source(name="web", path="a:nan")),
    ],
)
def test_a_source_is_a_name_a_path_and_numbers_at_the_end(text: str, source: Source) -> None:
    assert parse_source(text) == source
    assert parse_source(source.described(source.path)) == source


@pytest.mark.parametrize(
    "text", ["a.jsonl", "=a.jsonl", "web=", "web=:1", "web=a:0", "web=a:-1", "web=a:1:0"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_source(text)


def test_sources_are_in_the_order_of_their_names() -> None:
    assert [one.name for one in parse_sources(["b=x:1", "a=y:2"])] == ["a", "b"]


def test_a_pattern_names_the_files_that_match_it(tmp_path: Path) -> None:
    for name in ("2.jsonl", "1.jsonl", "[x].jsonl"):
        (tmp_path / name).touch()
    found = parse_source(f"a={tmp_path}/[0-9].jsonl:1").files
    assert found == [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    assert parse_source(f"a={tmp_path}/[x].jsonl:1").files == [tmp_path / "[x].jsonl"]  # a name as it is
    with pytest.raises(MissingError, match="no files match"):
        _ = parse_source(f"a={tmp_path}/*.txt:1").files


def test_an_output_is_a_folder_where_its_name_says_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    (tmp_path / "there").mkdir()
    names = {"out": True, "there": True, "plain": False, "out.jsonl": False, "out.jsonl.zst": False}
    assert {name: MixFiles(out=tmp_path / name).is_folder for name in names} == names
    assert not MixFiles().is_folder and not MixFiles(out=Path("-")).is_folder


def test_the_gate_is_made_of_the_flags() -> None:
    gate = MixSettings(sources=(), license_allow=("MIT",)).gate
    assert gate.judge("MIT") is None and gate.judge(None) is not None
