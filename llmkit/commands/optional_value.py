"""Flags whose value may be left out: `--jsonl` and `--jsonl FILE`, `--lora` and `--lora r=8`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OptionalValue:
    """What such a flag has as its `parser`.

    Args:
        left_out: what the flag alone stands for, as it would be typed.
        is_value: whether the word behind the flag is its value, and no argument of the command.
        read: the word's value.
    """

    left_out: str
    is_value: Callable[[str], bool]
    read: Callable[[str], Any] = str

    def __call__(self, value: Any) -> Any:
        """The value of a word; a settings file may say true for the flag alone, and false for none."""
        if isinstance(value, bool):
            return self.read(self.left_out) if value else None
        return self.read(str(value))


def spell_out(params: Iterable[Any], args: Sequence[str]) -> list[str]:
    """The words of a command line, with the values that were left out: `--jsonl` becomes `--jsonl=-`."""
    options = [param for param in params if param.param_type_name == "option"]
    flags = {name: parser for param in options if (parser := _parser(param)) for name in param.opts}
    valued = names_with_values(options)
    words: list[str] = []
    for place, word in enumerate(args):
        if word == "--":
            return [*words, *args[place:]]
        if place and args[place - 1] in valued:
            words.append(word)  # another flag's value, whatever it looks like
            continue
        following = args[place + 1 : place + 2]
        if (parser := flags.get(word)) and not (following and parser.is_value(following[0])):
            word = f"{word}={parser.left_out}"
        words.append(word)
    return words


def names_with_values(options: Iterable[Any]) -> set[str]:
    """The flags among a command's options behind which a value has to stand."""
    return {
        name
        for option in options
        if not (option.is_flag or option.count or _parser(option))
        for name in option.opts
    }


def is_file_word(word: str) -> bool:
    """Whether a word can be a file's name: it is `-`, or no flag."""
    return word == "-" or not word.startswith("-")


FILE_OR_STDIN = OptionalValue("-", is_file_word, Path)
"""A file; the flag alone is stdin."""


def _parser(param: Any) -> OptionalValue | None:
    descriptor = getattr(param, "type_descriptor", None)
    parser = descriptor.parameter_info.parser if descriptor else None
    return parser if isinstance(parser, OptionalValue) else None
