"""GBNF, llama.cpp's notation for grammars, put into llguidance's Lark.

GBNF knows characters only. Lark has lexemes, which take all they can: a word before "end" would take that
too. So each character becomes a lexeme of its own, and the grammar keeps its meaning. (The converter that
comes with llguidance makes lexemes of whole words, and reads `.` and `\\u0041` in other ways.) No torch.

Source: ggml-org/llama.cpp, grammars/README.md and src/llama-grammar.cpp; llguidance, docs/syntax.md.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from llmkit.errors import ConfigError

_HEAD = re.compile(r"^[ \t]*[\w-]+[ \t]*::=", re.MULTILINE | re.ASCII)
_LARK = re.compile(r"^[ \t]*(start[ \t]*:(?!:=)|%llguidance\b)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"(?P<not>!?)<(?:\[(?P<id>[0-9]{1,9})\]|(?P<text>[^<>\r\n]+))>")
_COUNTS = re.compile(r"\{[ \t]*(?P<least>[0-9]{1,6})[ \t]*(?P<comma>,[ \t]*(?P<most>[0-9]{1,6})?)?[ \t]*\}")
_ESCAPE = re.compile(r'\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([nrt"\\\[\]]))')
_PLAIN = {"n": "\n", "r": "\r", "t": "\t"}
_ANY = "/(?s:.)/"
_NOTHING = '""'
_DEEPEST = 100
"""Parentheses within parentheses."""


def is_gbnf(text: str) -> bool:
    """Whether a line of the text begins a rule of GBNF."""
    return _HEAD.search(text) is not None


def is_lark(text: str) -> bool:
    """Whether a line of the text begins the first rule of a Lark grammar, or says that it is llguidance's."""
    return _LARK.search(text) is not None


def as_lark(text: str, id_of: Callable[[str], int | None]) -> str:
    """A grammar in llguidance's Lark, whose texts are the same.

    Args:
        text: of the grammar.
        id_of: the id of a token by its text, for `<think>`; None where there is none.

    Raises:
        ConfigError: it is no GBNF; the line is named.
    """
    return _Reader(text, id_of).read()


@dataclass
class _Reader:
    text: str
    id_of: Callable[[str], int | None]
    place: int = 0
    depth: int = 0
    rules: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Where each is, and what it says."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Of the rules that are named, in Lark's place of the name: that is in small letters only."""
    uses: dict[str, int] = field(default_factory=dict)
    """Where each is named first."""

    def read(self) -> str:
        self._pass_blanks(lines=True)
        while self.place < len(self.text):
            self._rule()
            self._pass_blanks(lines=True)
        for name, place in self.uses.items():
            if name not in self.rules:
                raise self._wrong(f"no rule {name} (found: {', '.join(self.rules)})", place)
        if "root" not in self.rules:
            names = ", ".join(self.rules) or "no rules at all"
            raise self._wrong(f"no rule root, which is the whole text (found: {names})", 0)
        lines = [f"{self._lark_name(name)}: {said}" for name, (_, said) in self.rules.items()]
        return "\n".join(("start: " + self._lark_name("root"), *lines)) + "\n"

    def _rule(self) -> None:
        place, name = self.place, self._name()
        self._pass_blanks()
        if not self.text.startswith("::=", self.place):
            raise self._wrong(f"::= must follow {name}")
        self.place += 3
        self._pass_blanks(lines=True)
        said = self._alternatives()
        if self.place < len(self.text) and self._here not in "\r\n":
            raise self._wrong("the rule goes on in no way that is known")
        if name in self.rules:
            first = self._line(self.rules[name][0])
            raise self._wrong(f"a second rule {name} (the first is in line {first})", place)
        self.rules[name] = place, said

    def _alternatives(self) -> str:
        found = [self._sequence()]
        while self._here == "|":
            self.place += 1
            self._pass_blanks(lines=True)
            found.append(self._sequence())
        return " | ".join(found)

    def _sequence(self) -> str:
        items: list[str] = []
        while (item := self._item()) is not None:
            self._pass_blanks(lines=self.depth > 0)
            items.append(self._repeated(item))
            self._pass_blanks(lines=self.depth > 0)
        return " ".join(items) or _NOTHING

    def _item(self) -> str | None:
        """The next part of a sequence, as something that can be repeated; None: the sequence has ended."""
        here = self._here
        if here == '"':
            return self._literal()
        if here == "[":
            return self._class()
        if here == "(":
            return self._group()
        if here == ".":
            self.place += 1
            return _ANY
        if here in ("<", "!"):
            return self._token()
        if _NAME.match(self.text, self.place):
            place, name = self.place, self._name()
            self.uses.setdefault(name, place)
            return self._lark_name(name)
        return None

    def _repeated(self, item: str) -> str:
        if self._here and self._here in "*+?":
            self.place += 1
            return item + self.text[self.place - 1]
        if self._here != "{":
            return item
        counts = _COUNTS.match(self.text, self.place)
        if counts is None:
            raise self._wrong("a repetition is {2}, {2,} or {2,5}")
        least, most = int(counts["least"]), counts["most"]
        if not counts["comma"]:
            most = counts["least"]
        if most is not None and int(most) < least:
            raise self._wrong(f"a repetition from {least} to {most}")
        self.place = counts.end()
        if most is not None and int(most) == 0:
            return _NOTHING
        return f"{item}{{{least},{most or ''}}}"

    def _literal(self) -> str:
        place = self.place
        self.place += 1
        found = []
        while self._here != '"':
            found.append(_one(self._character(place, "text")))
        self.place += 1
        return "(" + (" ".join(found) or _NOTHING) + ")"

    def _class(self) -> str:
        place = self.place
        self.place += 1
        turned = "^" if self._here == "^" else ""
        self.place += len(turned)
        found = ""
        while self._here != "]":
            begin, first = self.place, self._character(place, "set")
            last = first
            if self._here == "-" and self.text[self.place + 1 : self.place + 2] not in ("]", ""):
                self.place += 1
                last = self._character(place, "set")
            if last < first:
                raise self._wrong(f"a range from {chr(first)!r} back to {chr(last)!r}", begin)
            found += rf"\x{{{first:x}}}-\x{{{last:x}}}"
        self.place += 1
        if not found:
            raise self._wrong("a set of no characters", place)
        return f"/[{turned}{found}]/"

    def _group(self) -> str:
        place = self.place
        if self.depth >= _DEEPEST:
            raise self._wrong(f"more than {_DEEPEST} parentheses within each other")
        self.depth += 1
        self.place += 1
        self._pass_blanks(lines=True)
        found = self._alternatives()
        if self._here != ")":
            raise self._wrong("a parenthesis that is not closed", place)
        self.depth -= 1
        self.place += 1
        return f"({found})"

    def _token(self) -> str:
        found = _TOKEN.match(self.text, self.place)
        if found is None:
            raise self._wrong("a token is <[ID]> or <TEXT>, any other one !<[ID]>")
        if found["id"] is None:
            number = self.id_of(f"<{found['text']}>")
            if number is None:
                raise self._wrong(f"<{found['text']}> is no token of the model")
        else:
            number = int(found["id"])
        self.place = found.end()
        return f"<[{'^' * bool(found['not'])}{number}]>"

    def _character(self, begin: int, what: str) -> int:
        here = self._here
        if not here:
            raise self._wrong(f"a {what} that is not closed", begin)
        if here != "\\":
            self.place += 1
            return ord(here)
        found = _ESCAPE.match(self.text, self.place)
        if found is None:
            raise self._wrong(f"no escape is called {self.text[self.place : self.place + 2]}")
        *numbers, plain = found.groups()
        code = next((int(one, 16) for one in numbers if one), ord(_PLAIN.get(plain, plain or " ")))
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise self._wrong(f"no character has the number {code:X}")
        self.place = found.end()
        return code

    def _name(self) -> str:
        found = _NAME.match(self.text, self.place)
        if found is None:
            raise self._wrong(f"a rule begins with a name (found {self.text[self.place]!r})")
        self.place = found.end()
        return found[0]

    def _lark_name(self, name: str) -> str:
        return f"r_{self.numbers.setdefault(name, len(self.numbers))}"

    def _pass_blanks(self, *, lines: bool = False) -> None:
        """Also comments; `lines`: and ends of lines."""
        blanks = r"(?:[ \t\r\n]|#[^\r\n]*)*" if lines else r"(?:[ \t]|#[^\r\n]*)*"
        found = re.compile(blanks).match(self.text, self.place)
        assert found is not None
        self.place = found.end()

    @property
    def _here(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.place : self.place + 1]

    def _line(self, place: int) -> int:
        return self.text.count("\n", 0, place) + 1

    def _wrong(self, problem: str, place: int | None = None) -> ConfigError:
        line = self._line(self.place if place is None else place)
        return ConfigError(
            f"grammar: line {line}: {problem}",
            hint='GBNF is root ::= "yes" | [0-9]+, one rule a line; within parentheses a rule may go on',
        )


def _one(code: int) -> str:
    """The lexeme of one character: by its number, so that none has a meaning."""
    return rf"/\x{{{code:x}}}/"
