"""What `llmkit inspect-attention` is asked: which text, which heads, which views, which files. No torch."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmkit.errors import UsageError
from llmkit.formats.documents import names_file
from llmkit.probe.attention.config import AblateBy

Probe = Literal["induction"]
Head = tuple[int, int]
Range = tuple[int | None, int | None]

_RANGE = re.compile(r"(-?\d+)?:(-?\d+)?")
_LAYERS = re.compile(r"(\d+)(?:-(\d+))?")
_HEAD = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, kw_only=True)
class InspectText:
    """Which text."""

    given: str | None = None
    """A file's name, `-`, or the text itself."""
    is_words: bool = False
    """Whether it is the text itself, whatever files there are."""
    tokens: tuple[int, ...] | None = None
    """Ids in its place."""
    record: str | None = None
    """Of jsonl: a number from 1, or an id; None: the first."""
    field: str = "text"
    max_tokens: int | None = None
    probe: Probe | None = None
    """A text of its own: random tokens, and the same again."""
    probe_tokens: int | None = None
    """None: 50, or as many as the context has room for."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class InspectViews:
    """What to look at. Without any view, the table of heads."""

    layers: tuple[int, ...] | None = None
    heads: tuple[Head, ...] | None = None
    query: str | None = None
    rows: Range | None = None
    """Queries of maps, edges and files."""
    cols: Range | None = None
    """Keys of them."""
    before_softmax: bool = False
    map: bool = False
    worked: bool = False
    lens: bool = False
    answer: str | None = None
    """Token that the lens, the ablation and the attribution follow."""
    ablate: tuple[Head, ...] | Literal["all"] | None = None
    ablate_by: AblateBy = "zero"
    attribute: bool = False
    diff: Path | None = None
    expect: tuple[str, ...] = ()

    @property
    def shows_query(self) -> bool:
        """Whether --query is a view of its own, and not the place that others ask about."""
        others = (self.worked, self.lens, self.attribute, self.ablate is not None)
        return self.query is not None and not any(others)

    @property
    def only_table(self) -> bool:
        """Whether nothing is asked for but the heads' figures."""
        asked = (self.query is not None, self.map, self.worked, self.lens, self.attribute)
        return not any(asked) and self.ablate is None and self.diff is None


@dataclass(frozen=True, kw_only=True)
class InspectFiles:
    """What to write."""

    edges: Path | None = None
    top_k: int = 5
    save: Path | None = None
    html: Path | None = None
    svg: Path | None = None
    png: Path | None = None
    force: bool = False

    @property
    def named(self) -> list[Path]:
        """Those that are asked for."""
        given = (self.edges, self.save, self.html, self.svg, self.png)
        return [path for path in given if path is not None]


def parse_layers(text: str) -> tuple[int, ...]:
    """`0,2-4`: layers from 0, in order, each once.

    Raises:
        UsageError: not of this form.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = _LAYERS.fullmatch(part.strip())
        if match is None or (match[2] is not None and int(match[2]) < int(match[1])):
            raise UsageError(f"--layers {text!r} is no list of layers", hint="--layers 0,2-4")
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(found))


def parse_heads(text: str, flag: str = "--heads") -> tuple[Head, ...]:
    """`1.0,3.7`: LAYER.HEAD from 0, in the order given, each once.

    Raises:
        UsageError: not of this form.
    """
    found: dict[Head, None] = {}
    for part in text.split(","):
        match = _HEAD.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"{flag} {text!r} is no list of heads", hint=f"{flag} 1.0,3.7 (LAYER.HEAD)")
        found[int(match[1]), int(match[2])] = None
    return tuple(found)


def parse_range(text: str, flag: str) -> Range:
    """`10:20`, `:50`, `-8:`: positions as Python's slices have them.

    Raises:
        UsageError: not of this form.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{flag} {text!r} is no range of positions", hint=f"{flag} 10:20, :50 or -8:")
    return tuple(None if part is None else int(part) for part in match.groups())  # type: ignore[return-value]


def parse_ids(text: str) -> tuple[int, ...]:
    """`1,17,4` or the same with spaces: ids of tokens.

    Raises:
        UsageError: not of this form.
    """
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(f"--tokens {text!r} is no list of ids", hint="--tokens 1,17,4")
    return tuple(map(int, parts))


def check_views(views: InspectViews, text: InspectText, files: InspectFiles) -> None:
    """Refuse what does nothing, or cannot be done, before anything is read.

    Raises:
        UsageError: flags that do not go together.
        MissingError: the text is written like a file and is not there.
    """
    if views.worked and (views.heads is None or len(views.heads) != 1):
        raise UsageError("--worked goes through one head", hint="--worked --heads 1.0 --query -1")
    if views.answer is not None and not (views.lens or views.attribute or views.ablate is not None):
        raise UsageError("--answer does nothing here", hint="it goes with --lens, --ablate or --attribute")
    if views.ablate_by != InspectViews.ablate_by and views.ablate is None:
        raise UsageError(
            f"--ablate-by {views.ablate_by} does nothing without --ablate",
            hint=f"--ablate all --ablate-by {views.ablate_by}",
        )
    if files.top_k != InspectFiles.top_k and files.edges is None:
        raise UsageError("--top-k does nothing without --edges", hint=f"--edges - --top-k {files.top_k}")
    drawn = views.map or any((files.svg, files.png, files.edges, files.save))
    if (views.rows or views.cols) and not drawn:
        raise UsageError("--rows and --cols crop nothing here", hint="they go with --map and the files")
    scored = drawn or views.shows_query or files.html is not None
    if views.before_softmax and not scored:
        raise UsageError(
            "--before-softmax shows nothing here", hint="it goes with --map, --query and the files"
        )
    of_file = {"--record": text.record is not None, "--field": text.field != InspectText.field}
    if any(of_file.values()) and not names_file(text.given, is_words=text.is_words):
        flag = next(name for name, is_given in of_file.items() if is_given)
        raise UsageError(
            f"{flag} is of a jsonl file, and the text is none", hint="name the file, or - for stdin"
        )
    if text.probe is not None and (text.given is not None or text.tokens is not None):
        raise UsageError(f"--probe {text.probe} is a text of its own", hint="leave the other text out")
    if text.probe is not None and text.max_tokens is not None:
        raise UsageError("--max-tokens would cut the probe", hint="--probe-tokens says how long it is")
    if text.probe is None and text.probe_tokens is not None:
        raise UsageError("--probe-tokens does nothing without --probe", hint="--probe induction")
    if text.tokens is not None and text.given is not None:
        raise UsageError("--tokens and a text are two texts", hint="give one of them")
    if len({path.resolve() for path in files.named}) != len(files.named):
        raise UsageError("two outputs have one name", hint="choose another name for one of them")
