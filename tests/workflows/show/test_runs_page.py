"""The page of runs: whole by itself, its lines where the figures are, its ticks round numbers."""

import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.workflows.show.runs import compare_runs, read_runs
from llmkit.workflows.show.runs_page import HEIGHT, WIDTH, nice_ticks, render_runs, write_runs
from tests.wcag import outside_of_main


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def page(tmp_path: Path, write_metrics: Callable[..., Path]) -> str:
    """Two runs, one with a name that is no HTML."""
    paths = [write_metrics(tmp_path / f"{name}.jsonl", steps=steps) for name, steps in (("a", 20), ("b", 40))]
    return render_runs(compare_runs(read_runs(paths)), ["<first>", "second"]).decode()


def test_the_page_is_whole_and_asks_for_nothing_from_elsewhere(page: str) -> None:
    seen = Page(page)
    assert seen.open == [] and "<first>" in seen.words and "<first>" not in page
    assert not re.search(r"https?:|//|@import|<script|url\(", page)
    assert "prefers-color-scheme: dark" in page
    links = [own[key] for _, own in seen.tags for key in ("src", "href") if key in own]
    assert links == ["data:,"]


def test_a_name_that_is_no_utf_8_is_spelled_out(tmp_path: Path, write_metrics: Callable[..., Path]) -> None:
    report = compare_runs(read_runs([write_metrics(tmp_path / "a.jsonl", steps=2)]))
    assert "<h1>r\\xff</h1>" in render_runs(report, [os.fsdecode(b"r\xff")]).decode()


def test_the_colours_of_the_runs_stand_under_the_plots_and_are_printed(tmp_path: Path) -> None:
    layers = [{"name": "layers.0", "gradient": 0.5}]
    lines = [{"step": 4, "loss": 1.0}, {"event": "norms", "step": 4, "layers": layers}]
    (path := tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = render_runs(compare_runs(read_runs([path, path])), ["one", "other"]).decode()
    assert re.findall(r"<(?:figure|ul|h2)\b", page) == ["<figure", "<ul", "<h2", "<h2", "<h2"]
    assert re.search(r"\.key \{[^}]*print-color-adjust: exact", page)


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [(999, "999"), (999_499, "999k"), (999_999, "1M"), (5_120, "5.12k"), (15 * 10**12, "15T")],
)
def test_tokens_are_counted_in_the_unit_that_leaves_three_digits(
    tokens: int, shown: str, tmp_path: Path
) -> None:
    (path := tmp_path / "m.jsonl").write_text(json.dumps({"step": 1, "loss": 1.0, "tokens": tokens}) + "\n")
    page = render_runs(compare_runs(read_runs([path])), ["run"]).decode()
    assert re.findall(r"<td>(.*?)</td>", page)[2] == shown


def test_a_long_name_makes_the_page_no_wider(page: str) -> None:
    for place in ("h1", "legend"):
        assert re.search(place + r" \{[^}]*overflow-wrap: anywhere", page)


def test_every_figure_has_a_plot_with_a_line_for_each_run(page: str) -> None:
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert titles == ["Training loss", "Validation loss", "Learning rate", "Gradient norm", "Tokens a second"]
    lines = [own for tag, own in Page(page).tags if tag == "polyline"]
    assert [own["class"] for own in lines] == ["l0", "l1"] * 5


def test_a_line_goes_through_the_figures_of_its_run(page: str) -> None:
    """Training loss of the second run: 5 at step 1 to 2.075 at step 40, in a frame from 2 to 5."""
    points = [own["points"] for tag, own in Page(page).tags if tag == "polyline"][1]
    assert points is not None
    places = [tuple(map(float, point.split(","))) for point in points.split(" ")]
    assert len(places) == 40
    assert places[0] == (0, 0) and places[-1] == (WIDTH, pytest.approx(HEIGHT * (5 - 2.075) / 3, abs=0.1))
    assert places[1] == (pytest.approx(WIDTH / 39, abs=0.1), pytest.approx(HEIGHT * 1.5 / 3, abs=0.1))


def test_a_page_draws_the_curve_that_stayed(tmp_path: Path) -> None:
    stayed = [{"step": step, "loss": 5.0 - step, "grad_norm": 1.0} for step in (1, 2, 3)]
    undone = [{"step": step, "loss": 90.0, "grad_norm": 50.0} for step in (2, 3, 4)]
    rewind = {"event": "rewind", "step": 1, "spike_step": 5}
    pages = []
    for name, lines in (("file", stayed), ("stream", [stayed[0], *undone, rewind, *stayed[1:]])):
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        pages.append(render_runs(compare_runs(read_runs([path])), ["run"]))
    assert pages[0] == pages[1] and b"polyline" in pages[0]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1.52, 4.53, [1, 2, 3, 4, 5]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (3.0, 3.0, [2.6, 2.8, 3.0, 3.2, 3.4]),
        (-20, 950, [-200, 0, 200, 400, 600, 800, 1000]),
    ],
)
def test_ticks_are_round_numbers_around_the_figures(low: float, high: float, ticks: list[float]) -> None:
    found, first, last = nice_ticks(low, high)
    assert found == pytest.approx(ticks)
    assert (first, last) == pytest.approx((ticks[0], ticks[-1])) and first <= low and last >= high


def test_a_page_is_not_written_over_another_file(tmp_path: Path, write_metrics: Callable[..., Path]) -> None:
    report = compare_runs(read_runs([write_metrics()]))
    write_runs(tmp_path / "one.html", report, ["run"], force=False)
    with pytest.raises(UsageError, match="already exists"):
        write_runs(tmp_path / "one.html", report, ["run"], force=False)
    write_runs(tmp_path / "one.html", report, ["run"], force=True)
    assert "<h1>run</h1>" in (tmp_path / "one.html").read_text()


def test_no_two_columns_have_one_name_and_nothing_is_cut_off_on_paper(page: str) -> None:
    heads = re.findall(r"<th>(.*?)</th>", page.partition("</table>")[0])
    assert len(set(heads)) == len(heads) == 12
    printed = page.partition("@media print")[2].partition("</style>")[0]
    assert ".scroll { overflow: visible }" in printed and "white-space: normal" in printed


def test_a_page_of_one_run_has_its_name_and_the_norms_of_its_layers(tmp_path: Path) -> None:
    names = ("gradient", "weight", "update_ratio", "activation_rms", "activation_max")
    layer = {"name": "layers.0", **dict(zip(names, (0.125, 8.5, 0.0025, 1.5, None), strict=True))}
    lines = [{"step": 4, "loss": 1.0}, {"event": "norms", "step": 4, "layers": [layer]}]
    (path := tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = render_runs(compare_runs(read_runs([path])), ["<one>"]).decode()
    assert "<title>llmkit show: &lt;one&gt;</title>" in page
    section = page.partition("Layers in step 4</h2>")[2].partition("</table>")[0]
    assert re.findall(r"<td>(.*?)</td>", section) == ["layers.0", "0.125", "8.5", "0.0025", "1.5", "–"]


def test_all_of_the_page_is_in_its_main_part_and_its_tables_are_scrolled_by_keys_too(page: str) -> None:
    scrolled = [own.get("tabindex") for _, own in Page(page).tags if own.get("class") == "scroll"]
    assert outside_of_main(page) == [] and len(scrolled) >= 2 and set(scrolled) == {"0"}
