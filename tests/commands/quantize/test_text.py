from types import SimpleNamespace

from llmkit.commands.quantize.text import quantize_text, sensitivity_text, sweep_plot


def test_a_reason_for_a_fallback_is_told_once_with_the_first_of_its_matrices() -> None:
    units = [
        SimpleNamespace(name=name, reason=reason, stored_as="Q8_0", parameters=8)
        for name, reason in (
            ("a", "fallback: a row of 128"),
            ("b", "mixture"),
            *(
                ("c", "fallback: a row of 352"),
                ("d", "fallback: a row of 128"),
                ("e", "fallback: a row of 128"),
            ),
        )
    ]
    report = SimpleNamespace(
        **{
            "units": units,
            "quality": None,
            "notes": [],
            "seconds": None,
            "container": "gguf",
            "out": "m.gguf",
            "written": True,
        },
        **{"source": "m", "source_bytes": 9, "model_type": "qwen3", "parameters": 40, "type": "Q4_K_M"},
        **{"bits_per_weight": 8.5, "size_bytes": 9, "method": "nearest", "calibration_tokens": 0},
        imatrix=None,
    )
    lines = [line.split(None, 1) for line in quantize_text(report, width=80).splitlines()]
    assert [what for name, what in lines if name == "fallback"] == [
        "a and 2 more: a row of 128",
        "c: a row of 352",
    ]


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
