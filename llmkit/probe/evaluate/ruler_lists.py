"""RULER's tracking and counting (arXiv:2404.06654, scripts/data/synthetic): vt, cwe, fwe.

vt    VAR A = 12345 … VAR B = VAR A …: all variables of one value, hidden in noise
cwe   a numbered list of words: the ten that stand in it most often
fwe   coded words, as often as Zipf has it: the three most frequent
"""

import math
import random
from collections.abc import Callable
from itertools import pairwise

from llmkit.probe.evaluate.hidden import Build, Hidden, insert
from llmkit.probe.evaluate.words import NOISE, QUALITIES, WORDS, letters, pick, picks

HOPS = 4
COMMON, OFTEN, SELDOM = 10, 30, 3
"""Words to be found, and how often they and the others stand in the list."""
ALPHA = 2.0
"""Of Zipf's law: the k-th word is k^-2 as frequent as the first."""
_ZETA = math.pi**2 / 6
_LONG = 4096
"""Tokens from which a list has RULER's counts; below it they are smaller, as in lm-evaluation-harness."""
_ICL_NOISE = 5
_VT = (
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{context}\n"
    "Question: Find all variables that are assigned the value {value} in the text above."
)
_VT_PREFIX = (
    " Answer: According to the chain(s) of variable assignment in the text above, {count} variables are "
    "assgined the value {value}, they are: "
)  # RULER's spelling
_CWE = (
    "Below is a numbered list of words. In these words, some appear more often than others. Memorize the "
    "ones that appear most often.\n{context}\nQuestion: What are the 10 most common words in the above list?"
)
_CWE_PREFIX = " Answer: The top 10 words that appear most often in the list are:"
_FWE = (
    "Read the following coded text and track the frequency of each coded word. Find the three most "
    "frequently appeared coded words. {context}\nQuestion: Do not provide any explanation. Please ignore the "
    "dots '....'. What are the three most frequently appeared words in the above coded text?"
)
_FWE_PREFIX = " Answer: According to the coded text above, the three most frequently appeared words are:"


def variable_tracking(generator: random.Random, length: int) -> Build:
    """One chain of four hops, behind an example with its answer. Pieces of hay are lines of noise."""
    example = _chain(generator, 3)(_ICL_NOISE)
    shown = example.prompt + example.prefix + " ".join(example.answers) + "\n\n"
    build = _chain(generator, 5)
    return lambda count: _behind(shown, build(count))


def common_words(generator: random.Random, length: int) -> Build:
    """The ten most common of a list, behind an example. Pieces of hay are different words."""
    is_long = length >= _LONG
    often, seldom = (OFTEN, SELDOM) if is_long else (6, 1)
    example_words, example_often, example_seldom = (40, 10, 3) if is_long else (20, 3, 1)
    drawn = random.Random(generator.random())
    example = _list(drawn, example_words, example_often, example_seldom)
    numbered = " ".join(f"{place}. {word}" for place, word in enumerate(example.answers, 1))
    shown = f"{example.prompt}{example.prefix} {numbered}\n"
    seed = generator.random()
    return lambda count: _behind(shown, _list(random.Random(seed), count, often, seldom))


def frequent_words(generator: random.Random, length: int) -> Build:
    """The three most frequent of a coded text. Pieces of hay are its words, in all."""
    vocabulary: list[str] = []
    known = set()
    while len(vocabulary) < max(8, length // 50):
        word = letters(generator, 6).lower()
        vocabulary += [word] if word not in known else []
        known.add(word)
    vocabulary[0] = "..."  # the most frequent is noise
    seed = generator.random()

    def build(count: int) -> Hidden:
        words = [
            word for rank, word in enumerate(vocabulary, 1) for _ in range(int(count * rank**-ALPHA / _ZETA))
        ]
        words = picks(random.Random(seed), words, len(words))
        return Hidden(_FWE.format(context=" ".join(words)), _FWE_PREFIX, tuple(vocabulary[1:4]))

    return build


LISTS: dict[str, Callable[[random.Random, int], Build]] = {
    "vt": variable_tracking,
    "cwe": common_words,
    "fwe": frequent_words,
}
LEAST_PIECES = {"vt": 1, "cwe": COMMON + 1, "fwe": 27}
"""Of fwe: so that the third answer stands in the text, as 27 · 4^-2 / ζ(2) is 1."""
ANSWER_TOKENS = {"vt": 30, "cwe": 120, "fwe": 50}


def _chain(generator: random.Random, size: int) -> Build:
    names: list[str] = []
    while len(names) < HOPS + 1:
        name = letters(generator, size)
        names += [name] if name not in names else []
    value = str(10_000 + int(generator.random() * 89_999))
    lines = [f"VAR {names[0]} = {value}"]
    lines += [f"VAR {name} = VAR {before} " for before, name in pairwise(names)]
    places = sorted(generator.random() for _ in lines)

    def build(count: int) -> Hidden:
        sentences = list(NOISE) if count == 1 else [" ".join(NOISE) + "\n"] * count
        context = " ".join(insert(sentences, list(zip(places, lines, strict=True)))).replace(". \n", ".\n")
        return Hidden(
            _VT.format(context=context, value=value),
            _VT_PREFIX.format(count=len(names), value=value),
            tuple(names),
        )

    return build


def _list(generator: random.Random, count: int, often: int, seldom: int) -> Hidden:
    words = picks(generator, _pool(generator, count), count)
    common, others = words[:COMMON], words[COMMON:]
    listed = common * often + others * seldom
    listed = picks(generator, listed, len(listed))
    context = " ".join(f"{place}. {word}" for place, word in enumerate(listed, 1))
    return Hidden(_CWE.format(context=context), _CWE_PREFIX, tuple(common))


def _pool(generator: random.Random, count: int) -> list[str]:
    """Words to draw from; where a list is longer than ours, pairs of them too."""
    pool = [*WORDS, *QUALITIES]
    known = set(pool)
    while len(pool) < count:
        word = f"{pick(generator, QUALITIES)}-{pick(generator, WORDS)}"
        pool += [word] if word not in known else []
        known.add(word)
    return pool


def _behind(shown: str, hidden: Hidden) -> Hidden:
    return Hidden(shown + hidden.prompt, hidden.prefix, hidden.answers)
