from types import SimpleNamespace

from llmkit.commands.quantize.text import sensitivity_text, sweep_plot


def test_a_table_has_a_row_a_unit_and_a_dash_where_nothing_was_tried() -> None:
    rows = [
        SimpleNamespace(name="a", grid="Q4_K", kld=0.002),
        SimpleNamespace(name="a", grid="Q8_0", kld=0.0001),
        SimpleNamespace(name="long", grid="Q4_K", kld=0.5),
    ]
    lines = sensitivity_text(rows).splitlines()
    assert [line.split() for line in lines[1:]] == [["a", "2", "0.1"], ["long", "500", "-"]]
    assert lines[0].split()[-2:] == ["Q4_K", "Q8_0"]


def test_a_plot_has_a_mark_for_each_row_with_a_score() -> None:
    rows = [
        SimpleNamespace(bits_per_weight=bits, quality=SimpleNamespace(kld=kld))
        for bits, kld in ((8.5, 1e-5), (4.5, 1e-2), (3.4, 1e-1))
    ]
    lines = sweep_plot([*rows, SimpleNamespace(bits_per_weight=2.0, quality=None)])
    assert "".join(lines[:-1]).count("o") == 3  # the last line is the legend
    assert "log10 of the KL divergence" in lines[-1]
