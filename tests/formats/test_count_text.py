from llmkit.formats.count_text import format_count


def test_counts_are_short_for_people() -> None:
    assert [format_count(n) for n in (0, 999, 1000, 1_230_000, 999_999_999, 2e12, 5e16)] == [
        *("0", "999", "1k", "1.23M", "1G", "2T", "5e+04T")
    ]
