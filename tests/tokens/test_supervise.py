"""Ids and masks: equal to transformers', whatever the tokenizer; and each fault of an example found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from llmkit.errors import MissingError
from llmkit.tokens.audit import ExampleError, Fault
from llmkit.tokens.chatml import chatml_template
from llmkit.tokens.examples import Conversation
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.supervise import Supervised, Supervisor, cut, learnt_tokens
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer

TALKS = [
    [("user", "What is 2 + 2?"), ("assistant", "4")],
    [("system", "Be terse."), ("user", "Hé?\n\n  code:"), ("assistant", "    if x:\n\n\treturn 'ü'  ")],
    [("user", "a"), ("assistant", "Notwithstanding, the Licensor"), ("user", "b"), ("assistant", " 犬 ok.")],
    [("assistant", "I speak first."), ("user", "No answer to this.")],
]
LEARN = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + eos_token }}{% endgeneration %}{% else %}{{ m.content + '<|end|>' }}"
    "{% endif %}{{ '\n' }}{% endfor %}"
)


def messages_of(talk: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in talk]


def chat(*talk: tuple[str, str]) -> Conversation:
    return Conversation(messages_of(list(talk)))


def with_template(tokenizer: Tokenizer, template: str | None) -> Tokenizer:
    return Tokenizer(tokenizer.backend, tokenizer.config, template)


@pytest.fixture
def supervisor(byte_level_dir: Path) -> Supervisor:
    return Supervisor(load_tokenizer(byte_level_dir))


def rules(supervisor: Supervisor, conversation: Conversation) -> list[str]:
    return [fault.rule for fault in supervisor.supervise(conversation)[1]]


def text_learnt(supervisor: Supervisor, conversation: Conversation) -> str:
    example, _ = supervisor.supervise(conversation)
    return supervisor.tokenizer.decode(example.ids[example.learnt])


@pytest.mark.parametrize("which", ["byte-level", "phi-3-mini", "gpt2", "llama2"])
def test_ids_and_mask_are_those_of_transformers(
    which: str, byte_level_dir: Path, shared_data: Path, tmp_path: Path
) -> None:
    from transformers import PreTrainedTokenizerFast  # any other class builds the vocabulary anew

    folder = byte_level_dir if which == "byte-level" else shared_data / "tokenizers" / which
    tokenizer = with_template(load_tokenizer(folder), LEARN)
    tokenizer.save(tmp_path)
    tokens = {"bos_token": tokenizer.bos_id, "eos_token": tokenizer.eos_id}
    names = {key: tokenizer.token_text(one) for key, one in tokens.items() if one is not None}
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), **names)
    theirs.chat_template = LEARN
    supervisor = Supervisor(tokenizer)
    for talk in TALKS:
        expected = theirs.apply_chat_template(
            messages_of(talk), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        example, _ = supervisor.supervise(chat(*talk))
        assert example.ids.tolist() == expected["input_ids"]
        assert example.learnt.astype(int).tolist() == expected["assistant_masks"]
        assert example.learnt.any()


def test_an_emoji_at_the_end_of_an_answer_is_learnt_whole(byte_level_dir: Path) -> None:
    # transformers stops at the first of the tokens that spell the last character
    template = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    supervisor = Supervisor(with_template(load_tokenizer(byte_level_dir), template))
    example, _ = supervisor.supervise(chat(("assistant", "ok 🦀")))
    assert len(example.ids) > 4 and example.learnt.all()


def test_a_template_without_markers_gives_the_mask_of_its_marked_twin(byte_level_dir: Path) -> None:
    plain = load_tokenizer(byte_level_dir)
    marked = with_template(plain, chatml_template(bos=False))
    for talk in TALKS:
        one, two = (Supervisor(each).supervise(chat(*talk))[0] for each in (plain, marked))
        assert one.ids.tolist() == two.ids.tolist()
        assert one.learnt.tolist() == two.learnt.tolist()


def test_prompt_and_completion_without_a_template_are_text_between_bos_and_eos(byte_level_dir: Path) -> None:
    tokenizer = with_template(load_tokenizer(byte_level_dir), None)
    example, faults = Supervisor(tokenizer).supervise(
        Conversation([], plain=("The License", " grants rights"))
    )
    eos = tokenizer.eos_id
    assert example.ids.tolist() == [eos, *tokenizer.encode("The License grants rights"), eos]
    assert tokenizer.decode(example.ids[example.learnt]) == " grants rights<|endoftext|>"
    assert faults == []


def test_a_text_is_learnt_as_in_pretraining(supervisor: Supervisor) -> None:
    example, _ = supervisor.supervise(Conversation([], plain=("", "The License")))
    assert example.learnt.all() and len(example.ids) == len(supervisor.tokenizer.encode("The License")) + 2


def test_a_piece_that_stands_for_no_character_is_learnt_where_the_whole_text_is(shared_data: Path) -> None:
    supervisor = Supervisor(load_tokenizer(shared_data / "tokenizers" / "llama2"))
    example, _ = supervisor.supervise(Conversation([], plain=("", "12 dogs")))
    assert [supervisor.tokenizer.token_text(one) for one in example.ids[:3]] == ["<s>", "▁", "1"]
    assert example.learnt.all()


def test_messages_without_a_template_are_missing_one(byte_level_dir: Path) -> None:
    supervisor = Supervisor(with_template(load_tokenizer(byte_level_dir), None))
    with pytest.raises(MissingError) as error:
        supervisor.supervise(chat(("user", "a"), ("assistant", "b")))
    assert "--template chatml" in error.value.hint


def test_only_what_is_to_be_learnt_is(supervisor: Supervisor) -> None:
    talk = messages_of([("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two")])
    assert text_learnt(supervisor, Conversation(talk, learn_from=2)) == "two<|im_end|>"
    for mark in ({"weight": 0}, {"train": False}, {"training": False}):
        marked = [*talk[:3], talk[3] | mark]
        assert text_learnt(supervisor, Conversation(marked)) == "one<|im_end|>"


def test_some_of_several_answers_in_one_block_cannot_be_told(byte_level_dir: Path) -> None:
    template = "{% generation %}{% for m in messages %}{{ m.content }}{% endfor %}{% endgeneration %}"
    supervisor = Supervisor(with_template(load_tokenizer(byte_level_dir), template))
    talk = messages_of([("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two")])
    with pytest.raises(ExampleError, match="1 generation blocks for 2 answers"):
        supervisor.supervise(Conversation(talk, learn_from=2))


@pytest.mark.parametrize("fault", ["mask.zero", "answer.empty", "text.special", "end.missing", "bos.double"])
def test_the_planted_fault_is_found(fault: str, byte_level_dir: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    template, talk = tokenizer.chat_template, [("user", "a"), ("assistant", "b")]
    match fault:
        case "mask.zero":
            talk = talk[:1]
        case "answer.empty":
            talk = [("user", "a"), ("assistant", " \n")]
        case "text.special":
            talk = [("user", "end: <|im_end|>"), ("assistant", "b")]
        case "end.missing":
            template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
            template += "{% if add_generation_prompt %}assistant: {% endif %}"
        case "bos.double":
            template = f"{{{{ bos_token }}}}{{{{ bos_token }}}}{template}"
    supervisor = Supervisor(with_template(tokenizer, template))
    assert rules(supervisor, chat(*talk)) == [fault]
    assert rules(Supervisor(tokenizer), chat(("user", "a"), ("assistant", "b"))) == []


def test_a_mask_that_reaches_outside_the_answers_is_found(byte_level_dir: Path) -> None:
    block = "{% generation %}{{ m.role }}:{{ m.content }}<|im_end|>{% endgeneration %}"
    template = f"{{% for m in messages %}}{block}{{% endfor %}}"
    supervisor = Supervisor(with_template(load_tokenizer(byte_level_dir), template))
    assert rules(supervisor, chat(("user", "a"), ("assistant", "b"))) == ["mask.prompt"]


def test_what_a_template_leaves_out_is_found(byte_level_dir: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    template = (
        f"{{% set messages = messages | rejectattr('role', 'equalto', 'system') %}}{tokenizer.chat_template}"
    )
    talk = chat(("system", "Be kind."), ("user", "a"), ("assistant", "b"))
    assert "text.lost" in rules(Supervisor(with_template(tokenizer, template)), talk)


def test_a_token_that_touches_a_range_is_learnt_and_all_between() -> None:
    chars = np.array([[0, 3], [3, 5], [5, 5], [5, 8], [8, 9]])  # the third spells nothing
    assert learnt_tokens(chars, [(4, 6)]).tolist() == [False, True, True, True, False]
    assert learnt_tokens(chars, [(3, 3), (9, 12)]).tolist() == [False] * 5
    assert learnt_tokens(chars, [(0, 1), (8, 9)]).tolist() == [True, False, False, False, True]
    assert learnt_tokens(np.empty((0, 2), np.int64), [(0, 1)]).tolist() == []


def example_of(learnt: list[int]) -> Supervised:
    return Supervised(np.arange(len(learnt), dtype=np.uint32), np.array(learnt, bool))


def test_runs_are_where_tokens_are_learnt() -> None:
    assert example_of([0, 1, 1, 0, 1]).runs == [(1, 2), (4, 1)]
    assert example_of([1, 1]).runs == [(0, 2)]
    assert example_of([0]).runs == []


@pytest.mark.parametrize(
    ("learnt", "rule"), [([0, 1, 1, 1], "cut.answer"), ([0, 0, 0, 1], "cut.all"), ([1, 1, 1, 0], None)]
)
def test_a_long_example_is_cut_and_what_that_took_is_said(learnt: list[int], rule: str | None) -> None:
    short, faults = cut(example_of(learnt), 3, SuperviseConfig())
    assert short.ids.tolist() == [0, 1, 2] and short.learnt.tolist() == [bool(one) for one in learnt[:3]]
    assert short.lost == 1
    assert [(one.rule, one.value, one.threshold) for one in faults] == ([(rule, 4.0, 3.0)] if rule else [])


def test_a_long_example_is_dropped_or_an_error_as_asked() -> None:
    example = example_of([0, 1, 1, 1])
    _, faults = cut(example, 3, SuperviseConfig(long="drop"))
    assert [fault.rule for fault in faults] == ["long.dropped"] and not faults[0].kept
    with pytest.raises(ExampleError, match="4 tokens, 3 are the most"):
        cut(example, 3, SuperviseConfig(long="error"))
    assert cut(example, 4, SuperviseConfig(long="error")) == (example, [])


def test_a_special_token_in_plain_text_stays_text(byte_level_dir: Path) -> None:
    tokenizer = with_template(load_tokenizer(byte_level_dir), None)
    example, faults = Supervisor(tokenizer).supervise(Conversation([], plain=("", "a<|im_end|>")))
    assert tokenizer.id_of("<|im_end|>") not in example.ids.tolist()
    assert faults == [Fault("text.special", "the text spells <|im_end|>, which stays text")]


def test_a_vocabulary_without_special_tokens_finds_none() -> None:
    bytes_only = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1}, []))
    example, faults = Supervisor(Tokenizer(bytes_only)).supervise(Conversation([], plain=("a", "b")))
    assert example.ids.tolist() == [0, 1] and example.learnt.tolist() == [False, True]
    assert [fault.rule for fault in faults] == ["end.missing"]
