"""GBNF: the grammar that comes out has the texts of the one that went in, by re and by hand."""

import itertools
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.engine.gbnf import as_lark, is_gbnf, is_lark
from llmkit.engine.grammar import Grammars
from llmkit.errors import ConfigError
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer

pytest.importorskip("llguidance")
TEXTS = ["".join(letters) for length in range(5) for letters in itertools.product("abc", repeat=length)]
Derives = Callable[[str, str], bool]


@pytest.fixture(scope="module")
def tokenizer(shared_data: Path) -> Tokenizer:
    return load_tokenizer(shared_data / "tokenizers" / "gpt2")


@pytest.fixture
def derives(bytes_only: Tokenizer) -> Derives:
    """Whether a grammar derives a text, written byte by byte."""
    grammars = Grammars(bytes_only, 257)
    ids = {bytes_only.token_bytes(one): one for one in range(256)}

    def answer(grammar: str, text: str) -> bool:
        matcher = grammars.compile_rule(("grammar", grammar)).start([256])
        for byte in text.encode():
            one = ids[bytes([byte])]
            if matcher.is_complete or not matcher.allowed()[one]:
                return False
            matcher.consume(one)
        return matcher.is_complete or bool(matcher.allowed()[256])

    return answer


def _random_pair(chance: random.Random, depth: int) -> tuple[str, str]:
    """An expression in GBNF, and the same one in Python's."""
    kind = chance.random() if depth else 0.0
    if kind < 0.3:
        part = chance.choice(['"a"', '"b"', '"ab"', '"bc"', "[ab]", "[^a]", "[a-b]", "."])
        return part, part.replace('"', "").join(("(?:", ")")).replace(".", "(?s:.)")
    (first, same), (second, its_same) = (_random_pair(chance, depth - 1) for _ in range(2))
    if kind < 0.55:
        return f"({first} {second})", same + its_same
    if kind < 0.75:
        return f"({first} | {second})", f"(?:{same}|{its_same})"
    count = chance.choice(["*", "+", "?", "{2}", "{1,2}", "{0,2}", "{2,}", "{0,0}"])
    return f"({first}){count}", f"(?:{same}){count}"


def test_random_grammars_derive_the_texts_that_re_matches(derives: Derives) -> None:
    derived = 0
    for seed in range(60):
        grammar, expression = _random_pair(random.Random(seed), 3)
        for text in TEXTS:
            matches = re.fullmatch(expression, text) is not None
            assert derives(f"root ::= {grammar}", text) == matches, (grammar, expression, text)
            derived += matches
    assert 500 < derived < 60 * len(TEXTS) / 2  # neither all nor nothing


@pytest.mark.parametrize(
    ("grammar", "inside", "outside"),
    [
        ('root ::= "(" root ")" | ""', ["", "()", "((()))"], ["(", "())", "()()"]),
        ('root ::= root "a" | "b"', ["b", "baa"], ["", "ab"]),
        ('root ::= [a-z]+ "end"', ["friend", "endend"], ["end", "ending"]),
        ('root ::= "if" "!" | [a-z]+ "?"', ["if!", "if?", "i?"], ["in!", "if"]),
        ('root ::= "ab"* "c"', ["c", "ababc"], ["abbc"]),
        (r'root ::= . "\x41\u0042\U0001F600"', ["\nAB😀", "éAB😀"], ["AB😀"]),
        (r'root ::= [^\n"\\]+ "\t" [\]\[x-]', ["é\t]", "a[\t-", "ab\tx"], ["\n\t]", "\\\tx", "a\ty"]),
        ("root ::= [a&&b[:p~~^]", ["&", "[", ":", "~", "^", "p", "a"], ["z", "]"]),
        ("root ::= [/] [-a] [a-]", ["/-a", "/a-"], ["//a"]),
        ('Root-1 ::= "a"\nroot_1 ::= "b"\nroot ::= Root-1 root_1 start\nstart ::= "c"', ["abc"], ["bac"]),
        ('root ::= ( # a comment "\n  "a" |\n\n  "b"\n)+\n# the end', ["abba"], ["", "c"]),
        ('root ::=\r\n  "a" |\r\n "b"\r\n\r\n', ["a", "b"], ["ab"]),
        ('root ::= "a" |  | "b"{ 2 , 3 }', ["", "a", "bb", "bbb"], ["b", "bbbb"]),
    ],
)
def test_what_other_readers_get_wrong_is_as_llama_cpp_has_it(
    grammar: str, inside: list[str], outside: list[str], derives: Derives
) -> None:
    assert [text for text in inside if not derives(grammar, text)] == []
    assert [text for text in outside if derives(grammar, text)] == []


def test_tokens_are_named_by_id_or_text_and_negated(tokenizer: Tokenizer) -> None:
    end = tokenizer.id_of("<|endoftext|>")
    assert end is not None
    grammars = Grammars(tokenizer, tokenizer.vocab_size)
    for name in (f"<[{end}]>", "<|endoftext|>"):
        allowed = grammars.compile_rule(("grammar", f"root ::= {name}")).start().allowed()
        assert allowed.nonzero()[0].tolist() == [end]
        others = grammars.compile_rule(("grammar", f"root ::= !{name}")).start().allowed()
        assert not others[end] and others.sum() == tokenizer.vocab_size - 1


@pytest.mark.parametrize(
    ("grammar", "problem"),
    [
        ('root ::= "a"\n\nb ::= [x', "line 3: a set that is not closed"),
        ('root ::= "a', "line 1: a text that is not closed"),
        ('root ::= (\n"a" | ("b"\n', "line 2: a parenthesis that is not closed"),
        ('root ::= "a"\n  | "b"', "line 2: a rule begins with a name (found '|')"),
        ('root ::= "a"\nroot ::= "b"', "line 2: a second rule root (the first is in line 1)"),
        ('# one\nroot ::= "a" | thing', "line 2: no rule thing (found: root)"),
        ('start ::= "a"', "line 1: no rule root, which is the whole text (found: start)"),
        ('root ::= "a"\nb = "c"', "line 2: ::= must follow b"),
        ('root ::= "a")', "line 1: the rule goes on in no way that is known"),
        (r'root ::= "\q"', r"line 1: no escape is called \q"),
        (r'root ::= "\uD800"', "line 1: no character has the number D800"),
        ("root ::= [z-a]", "line 1: a range from 'z' back to 'a'"),
        ("root ::= []", "line 1: a set of no characters"),
        ('root ::= "a"{2', "line 1: a repetition is {2}, {2,} or {2,5}"),
        ('root ::= "a"{3,2}', "line 1: a repetition from 3 to 2"),
        ("root ::= <nothing-known>", "line 1: <nothing-known> is no token of the model"),
        ("root ::= <", "line 1: a token is <[ID]> or <TEXT>, any other one !<[ID]>"),
        ("root ::= " + "(" * 101, "line 1: more than 100 parentheses within each other"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(grammar: str, problem: str, tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"grammar: {problem}")):
        as_lark(grammar, tokenizer.id_of)


def test_the_two_notations_are_told_apart() -> None:
    for text in ('start ::= "a"', '\n  root-1::="x"', 'root ::= "start: "'):
        assert is_gbnf(text) and not is_lark(text)
    for text in ("start: A\nA: /::=/", "%llguidance {}"):
        assert is_lark(text) and not is_gbnf(text)
    assert not is_gbnf("a.gbnf") and not is_lark("restart: no")
