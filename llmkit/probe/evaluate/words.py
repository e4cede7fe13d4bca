"""Words, numbers and sentences that tests are made of; drawn from a seeded generator, the same everywhere.

`random.Random` gives the same numbers on every machine and Python for `random()` alone, so everything is
drawn from that.
"""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_NOUNS = (
    "apple bread chair cloud coast crane dance eagle field flame forest garden glass grape green hammer "
    "harbor honey horse island ivory jacket kettle ladder lemon light maple marble meadow metal mirror "
    "mountain music needle ocean olive onion orange paper pearl pencil piano planet pocket potato prairie "
    "quartz rabbit ribbon river rocket saddle salmon shadow silver spoon stone sugar summer table temple "
    "thunder ticket timber tower trumpet tunnel turtle valley velvet violin wagon walnut water whale "
    "willow window winter wizard yellow zebra acorn amber anchor arrow autumn badge bamboo banner barrel "
    "basket beacon beaver berry blanket bottle branch breeze bridge bronze bucket butter button cabin "
    "cactus camel candle canyon carpet castle cedar cellar cherry cliff clover cobalt comet copper coral "
    "cotton cradle cricket crystal curtain dagger daisy desert diamond dolphin donkey dragon drawer drum "
    "echo elbow ember engine falcon feather fence fiddle finger flute fountain fox frost galaxy garlic "
    "gate ginger glacier glove goose granite gravel guitar hazel helmet heron hill hollow igloo iron jade "
    "jewel jungle kitten lagoon lantern laurel leaf ledger lily linen lion lizard locket lotus magnet "
    "mango mantle market mask melon mill mint moss moth mule nest noodle nutmeg oak oasis orchard otter "
    "owl oyster paddle palace panther parcel parrot peach pebble pepper pigeon pillow pine plum pond "
    "poppy prism puddle pumpkin puzzle quill raven reef rice ring robin rope rose ruby saffron sail satin "
    "scarf sheep shell ship silk sleigh snail snow spark sparrow spider spring spruce squash squid stable "
    "star statue steam storm straw stream sunset swan sword tailor teapot thistle thread throne tiger "
    "toast torch tractor tray treasure tulip turnip umbrella urchin vase village vine vinegar volcano "
    "waffle walrus wave wheat wheel whistle wolf wool wren yarn"
)
_ADJECTIVES = (
    "able bold brave brief bright broad calm careful cheerful clean clear clever cold cool curious deep "
    "distant eager early easy fair famous fancy fast fine firm fresh gentle glad golden grand happy heavy "
    "honest huge humble jolly keen kind large late lively lonely long loud lucky merry mild modest narrow "
    "neat noble odd old plain polite proud quick quiet rapid rare rich round sharp short shy silent "
    "simple slow small smooth soft solid stiff strange strong sunny sweet swift tall tender thin tidy "
    "tiny vast warm weak wide wild wise young"
)
WORDS = tuple(_NOUNS.split())
"""Common nouns, each once."""
QUALITIES = tuple(_ADJECTIVES.split())
"""With a noun they are a word of RULER's, as `gentle-otter`."""
NOISE = (
    "The grass is green.",
    "The sky is blue.",
    "The sun is yellow.",
    "Here we go.",
    "There and back again.",
)
"""RULER's noise haystack, which is said over and over (2404.06654)."""


def pick(generator: random.Random, values: Sequence[T]) -> T:
    """One of them."""
    return values[int(generator.random() * len(values))]


def picks(generator: random.Random, values: Sequence[T], count: int) -> list[T]:
    """So many of them, none twice, in a random order.

    Raises:
        ValueError: there are not so many.
    """
    if count > len(values):
        raise ValueError(f"{count} of {len(values)}")
    left = list(values)
    for place in range(count):
        other = place + int(generator.random() * (len(left) - place))
        left[place], left[other] = left[other], left[place]
    return left[:count]


def number(generator: random.Random, digits: int = 7) -> str:
    """A number of so many digits, the first of which is not 0."""
    first = 10 ** (digits - 1)
    return str(first + int(generator.random() * 9 * first))


def uuid(generator: random.Random) -> str:
    """A random UUID, version 4."""
    digits = [int(generator.random() * 16) for _ in range(32)]
    digits[12], digits[16] = 4, 8 + digits[16] % 4
    text = "".join(f"{digit:x}" for digit in digits)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def letters(generator: random.Random, count: int) -> str:
    """So many capital letters."""
    return "".join(pick(generator, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(count))
