"""The user's last words, whatever stands behind them."""

from llmkit.retrieve.last_question import last_question, words

SYSTEM, USER, REPLY = ({"role": role, "content": role[0]} for role in ("system", "user", "assistant"))


def test_the_question_is_the_users_last_that_says_something() -> None:
    parts = [{"type": "text", "text": "what "}, {"type": "text", "text": "now?"}]
    image = {"role": "user", "content": [{"type": "image_url"}]}
    talk = [USER, REPLY, {"role": "user", "content": parts}, {"role": "user", "content": " "}, image, REPLY]
    assert last_question(talk) == 2
    assert last_question([SYSTEM, REPLY, {"role": "user"}]) is None


def test_parts_of_text_are_words_and_an_image_says_nothing() -> None:
    parts = [{"type": "text", "text": "what "}, {"type": "text", "text": "now?"}]
    assert words({"role": "user", "content": parts}) == "what now?"
    assert words({"role": "user", "content": [*parts, {"type": "image_url"}]}) == ""
