from llmkit.formats.byte_text import format_bytes


def test_sizes_are_short_for_people() -> None:
    assert [format_bytes(n) for n in (0, 1023, 1024, 1.5 * 2**30, 2**50)] == [
        *("0 B", "1023 B", "1.0 KiB", "1.5 GiB", "1024.0 TiB")
    ]
