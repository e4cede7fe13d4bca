from llmkit.workflows.clean.figures import share_text, value_text


def test_a_share_of_nothing_is_a_dash() -> None:
    assert (share_text(1, 8), share_text(0, 8), share_text(0, 0)) == ("12.5%", "0.0%", "-")


def test_a_value_has_four_digits_unless_it_is_a_word_or_none_at_all() -> None:
    assert [value_text(one) for one in (0.123456, 12, "en:0.99", None)] == ["0.1235", "12", "en:0.99", ""]
