"""Pictures, read back: the pixels of a PNG by zlib, the shapes of an SVG by an XML parser."""

import struct
import xml.etree.ElementTree as ET
import zlib

import torch

from llmkit.probe.attention.region import RegionMap
from llmkit.workflows.inspect_attention.colors import UNSEEN, color_of
from llmkit.workflows.inspect_attention.picture import png_picture, svg_picture
from llmkit.workflows.inspect_attention.report import TokenRow

NONE = float("-inf")
VALUES = torch.tensor([[1.0, NONE], [0.25, 0.0]])
SVG = "{http://www.w3.org/2000/svg}"


def head(layer: int, number: int, values: torch.Tensor = VALUES) -> RegionMap:
    return RegionMap(layer, number, list(range(len(values) + 1)), list(range(values.shape[1] + 1)), values)


def pixels(content: bytes) -> list[list[tuple[int, int, int]]]:
    """Rows of a PNG without filters."""
    width, height = struct.unpack(">II", content[16:24])
    start = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[start - 4 : start])
    raw = zlib.decompress(content[start + 4 : start + 4 + length])
    step = 1 + 3 * width
    assert len(raw) == step * height
    rows = [raw[at + 1 : at + step] for at in range(0, len(raw), step)]
    return [[tuple(row[x : x + 3]) for x in range(0, len(row), 3)] for row in rows]  # type: ignore[misc]


def test_a_png_has_each_cell_in_its_colour_and_heads_side_by_side() -> None:
    found = pixels(png_picture([head(0, 0), head(0, 1), head(1, 0), head(1, 1)], scores=False))
    size = 240  # of a panel; 12 around it, 14 above for its name
    assert (len(found), len(found[0])) == (12 + 2 * (size + 26), 12 + 2 * (size + 12))
    for left in (12, 12 + size + 12):
        for top in (26, 26 + size + 26):
            assert found[top + 10][left + 10] == color_of(1.0)
            assert found[top + 10][left + size - 10] == UNSEEN
            assert found[top + size - 10][left + 10] == color_of(0.5)
            assert found[top + size - 10][left + size - 10] == color_of(0.0)
    name = {color for row in found[12:24] for color in row[12:44]}
    assert len(name) == 2  # letters on paper


def test_layers_are_lines_where_they_have_as_many_heads() -> None:
    six = [head(layer, number) for layer in range(2) for number in range(3)]
    found = pixels(png_picture(six, scores=False))
    assert len(found[0]) == 12 + 3 * 252
    assert len(pixels(png_picture(six[:5], scores=False))[0]) == 12 + 3 * 252  # uneven: a square
    assert len(pixels(png_picture([head(0, 0), head(1, 0)], scores=False))[0]) == 12 + 2 * 252


def test_an_svg_names_heads_and_tokens_and_says_each_cells_number() -> None:
    tokens = [TokenRow(position=0, id=5, text=" <b> & "), TokenRow(position=1, id=6, text="\n")]
    tree = ET.fromstring(svg_picture([head(3, 1)], tokens, scores=False))
    words = [one.text for one in tree.iter(f"{SVG}text")]
    assert words == ["layer 3 head 1", " <b> & ", "\\n"]
    titles = [one.text for one in tree.iter(f"{SVG}title")]
    assert titles == ["0 to 0: 1", "1 to 0: 0.25"]  # nothing is drawn where there is no weight
    assert len(list(tree.iter(f"{SVG}rect"))) == 2 + 3  # paper, panel, two weights and a key that is not seen


def test_scores_are_drawn_from_the_lowest_to_the_highest() -> None:
    values = torch.tensor([[-5.0, NONE], [3.0, -1.0]])
    found = pixels(png_picture([head(0, 0, values)], scores=True))
    assert found[36][22] == color_of(0.0) and found[26 + 230][22] == color_of(1.0)
    assert found[26 + 230][12 + 230] == color_of(0.5)


def test_many_rows_have_no_names() -> None:
    values = torch.rand(60, 60)
    tree = ET.fromstring(svg_picture([head(0, 0, values)], [], scores=False))
    assert [one.text for one in tree.iter(f"{SVG}text")] == ["layer 0 head 0"]
