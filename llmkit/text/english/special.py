"""Chunks whose words no rule finds, and the code points of each of their words: all of spaCy's.

`don't` is do n't, `cannot` can not, `10am` 10 am; those of english/whole.py are one word each. A contraction
is known in small letters and with a capital at its beginning.

Source: spaCy 3.8's English and common special cases (MIT).
"""

from collections.abc import Iterator
from functools import cache
from itertools import product

from llmkit.text.english.whole import WHOLE

_AUXILIARIES = "ca could did do does had may might must need ought sha should wo would"
_ASKING = "how it that there these they this those what when where who why you"
_MARKED = (  # ' stands for itself, for ’, and but for _OTHER_WORDS for nothing
    (f"{_AUXILIARIES} ai are dare has have is was were", "n't"),
    (_AUXILIARIES, "n't", "'ve"),
    (f"{_ASKING} he i she we", "'d 'll", "- 've"),
    ("he how it let she that there this what when where who why", "'s"),
    ("could how i might must not should there these they those we what when where who why would you", "'ve"),
    ("how there these they those we what when where who why you", "'re"),
    ("i", "'m", "- a"),
    ("how", "'d", "'y"),
    ("y'", "all"),
    ("c'm", "on"),
)
_OTHER_WORDS = ("shed", "hell", "ill", "shell", "well", "its", "lets", "were", "whore", "howdy", "cmon")
_PLAIN = (("can", "not"), ("gon", "na"), ("got", "ta"), ("°", "c f k C F K", "."))
_ONLY_SMALL = ("y'all", "y’all", "yall")
_TIMES = ([*map(str, range(1, 13))], ["am", "a.m.", "pm", "p.m."])


@cache
def special_chunks() -> dict[str, tuple[int, ...]]:
    """Every special chunk, and how many code points each of its words has: (2, 3) for `don't`."""
    found: dict[str, tuple[int, ...]] = {word: (len(word),) for word in sorted(WHOLE)}
    for words in _contractions():
        lengths = tuple(map(len, words))
        chunk = "".join(words)
        found.setdefault(chunk, lengths)
        if chunk not in _ONLY_SMALL:
            found.setdefault(chunk[0].upper() + chunk[1:], lengths)
    return found


def _contractions() -> Iterator[list[str]]:
    for forms in _MARKED:
        for words in product(*(form.split() for form in forms)):
            marked = [word for word in words if word != "-"]
            yield from ([word.replace("'", mark) for word in marked] for mark in "'’")
            glued = [word.replace("'", "") for word in marked]
            if "".join(glued) not in _OTHER_WORDS:
                yield glued
    for forms in _PLAIN:
        yield from map(list, product(*(form.split() for form in forms)))
    yield from map(list, product(*_TIMES))
