"""The grid as a picture."""

from xml.etree import ElementTree

from llmkit.commands.eval.needle_colors import shade_of
from llmkit.commands.eval.needle_svg import needle_svg
from llmkit.probe.evaluate.grid import LengthScore, task_grid
from llmkit.probe.evaluate.headline import Headline
from llmkit.workflows.eval.needle import NeedleReport
from tests.wcag import color, contrast

SVG = "{http://www.w3.org/2000/svg}"


def report_of(model: str) -> NeedleReport:
    scores = [(length, depth, length / 200) for length in (64, 128) for depth in (0.0, 50.0, 100.0)]
    grid = task_grid("needle", scores, threshold=50)
    return NeedleReport(
        model=model, rope_scaling=None, context=128, seed=0, threshold=50.0, tasks=[grid],
        lengths=[LengthScore(length=one.length, score=one.score) for one in grid.lengths],
        effective_length=128, score=48.0, samples=6, seconds=1.0, notes=(),
        work={},
        headline=Headline(name="needle_score", value=48.0, error=1.0, better="higher"),
    )  # fmt: skip


def test_every_cell_is_a_square_of_its_colour_at_its_place() -> None:
    report = report_of("a<b")
    text = needle_svg(report)
    assert text == needle_svg(report)
    root = ElementTree.fromstring(text)
    cells = [one for one in root.iter(f"{SVG}rect") if one.find(f"{SVG}title") is not None]
    assert len(cells) == 6
    assert {one.get("fill") for one in cells} == {"rgb({},{},{})".format(*shade_of(s)) for s in (32, 64)}
    assert len({(one.get("x"), one.get("y")) for one in cells}) == 6
    titles = [one.find(f"{SVG}title").text for one in cells]  # type: ignore[union-attr]
    assert "128 tokens, depth 50 %: 64.0 % of 1" in titles
    assert "<script" not in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_picture_is_as_wide_as_the_name_of_its_model() -> None:
    """A bold sans-serif of 15 pixels has letters of 8 to 9 on average."""
    for name in ("m", "/a/folder/with/quite/a/long/name/of-a-model-Instruct-2026"):
        root = ElementTree.fromstring(needle_svg(report_of(name)))
        title = root.find(f"{SVG}title")
        assert title is not None and title.text is not None
        assert float(root.get("width", "0")) >= 9 * len(title.text)
        assert root.get("viewBox", "").split()[2] == root.get("width")


def test_a_score_can_be_read_on_every_colour() -> None:
    root = ElementTree.fromstring(needle_svg(report_of("m")))
    (ink,) = {one.get("fill", "") for one in root.iter(f"{SVG}text") if one.text == "32"}
    assert min(contrast(color(ink), shade_of(score)) for score in range(101)) >= 4.5
