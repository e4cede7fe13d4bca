"""Special tokens spelt in messages."""

import tokenizers

from llmkit.tokens.special_text import SpecialText
from llmkit.tokens.tokenizer import Tokenizer


def finder(*special: str) -> SpecialText:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.add_special_tokens(list(special))
    backend.add_tokens(["<plain>"])
    return SpecialText(Tokenizer(backend))


def test_the_first_message_that_spells_one_is_named() -> None:
    messages = [{"content": "<|x"}, {"content": "a <|x|> b"}, {"content": "<|x|>"}]
    (fault,) = finder("<|x|>", "<|x").faults(messages[1:], is_chat=True)
    assert fault.problem == "message 0 spells <|x|>, which becomes that token"
    (fault,) = finder("<|x").faults(messages, is_chat=False)
    assert fault.problem == "the text spells <|x, which stays text"
    assert fault.rule == "text.special"


def test_parts_of_a_list_are_searched() -> None:
    message = {"content": [{"type": "image"}, {"type": "text", "text": "</s>"}]}
    assert len(finder("</s>").faults([message], is_chat=True)) == 1


def test_added_words_and_very_short_tokens_are_not_special() -> None:
    assert (
        finder("#", "<|x|>").faults([{"content": "<plain> # |x|"}, {"content": None}, {}], is_chat=True) == []
    )
    assert finder().faults([{"content": "any"}], is_chat=True) == []
