from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from llmkit.commands.base import build_command
from llmkit.commands.settings import flag_name, read_settings, setting_name, to_toml, words_of
from llmkit.errors import ConfigError, DataError, MissingError


def _command(
    inputs: Annotated[list[Path] | None, typer.Argument()] = None,
    max_tokens: Annotated[int | None, typer.Option("--max")] = None,
    seq_len: Annotated[int, typer.Option()] = 512,
    mask: Annotated[bool, typer.Option("--mask/--no-mask")] = True,
    bos: Annotated[bool, typer.Option("--bos")] = False,
    price: Annotated[list[float] | None, typer.Option()] = None,
) -> None:
    """Do.

    \b
    Examples:
      llmkit do
    """


PARAMS = {param.name: param for param in build_command("do", _command).params}


def test_a_setting_is_called_by_its_flag() -> None:
    names = {name: setting_name(param) for name, param in PARAMS.items()}
    assert names["max_tokens"] == "max" and names["seq_len"] == "seq_len" and names["inputs"] == "inputs"


def test_settings_survive_toml(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "inputs": [Path("a b.txt"), 'q"uote'],
        "max": 5,
        "seq_len": 10**12,
        "mask": False,
    }
    settings |= {"price": [0.1, 2.0], "bos": None}
    path = tmp_path / "x.toml"
    path.write_text(to_toml(settings))
    assert read_settings(path, PARAMS.values(), "llmkit do") == {
        "inputs": ["a b.txt", 'q"uote'],
        "max_tokens": 5,
        "seq_len": 10**12,
        "mask": False,
        "price": [0.1, 2.0],
    }


def test_dashes_are_welcome(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("seq-len = 4")
    assert read_settings(path, PARAMS.values(), "llmkit do") == {"seq_len": 4}


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        ("seq_length = 4", ConfigError, "did you mean seq_len?"),
        ("zzz = 4", ConfigError, "known keys: "),
        ("seq_len = ", DataError, "key = value"),
        (None, MissingError, "--print-config"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_would(
    tmp_path: Path, content: str | None, error: type[Exception], says: str
) -> None:
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error) as caught:
        read_settings(path, PARAMS.values(), "llmkit do")
    assert says in caught.value.hint  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("inputs", ["a", "b"], ["a", "b"]),
        ("max_tokens", 5, ["--max", "5"]),
        ("max_tokens", None, []),
        ("seq_len", 512, []),
        ("mask", False, ["--no-mask"]),
        ("mask", True, []),
        ("bos", True, ["--bos"]),
        ("price", [1.0, 2.0], ["--price", "1.0", "--price", "2.0"]),
        ("price", [], []),
    ],
)
def test_words_are_what_would_be_typed(name: str, value: Any, words: list[str]) -> None:
    assert words_of(PARAMS[name], value) == words


def test_an_option_is_called_by_its_first_long_name() -> None:
    def command(
        near: Annotated[float, typer.Option("-s", "--near", "--similarity-of-all")] = 1.0,
        k: Annotated[int, typer.Option("-k")] = 1,
    ) -> None:
        """Do."""

    params = {param.name: param for param in build_command("do", command).params}
    assert [flag_name(params[name]) for name in ("near", "k")] == ["--near", "-k"]
    assert words_of(params["near"], 0.5) == ["--near", "0.5"] and setting_name(params["near"]) == "near"
