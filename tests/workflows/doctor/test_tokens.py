"""Special tokens and chat templates: each way to get them wrong has its finding, and good ones have none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.doctor.findings import Finding
from llmkit.workflows.doctor.tokens import check_special_tokens, check_tokenizer, check_vocabulary, stop_ids

CHAT = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ("<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>")


@pytest.fixture
def chat_tokenizer(tmp_path: Path) -> Callable[..., Path]:
    """Write a byte-level tokenizer without merges into a folder; keywords go into tokenizer_config.json."""

    def build(
        name: str = "tok", *, adds_bos: bool = False, special: tuple[str, ...] = SPECIAL, **config: Any
    ) -> Path:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        backend = Tokenizer(models.BPE({piece: number for number, piece in enumerate(alphabet)}, []))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        backend.add_special_tokens([AddedToken(token, special=True) for token in special])
        if adds_bos:
            bos = ("<s>", backend.token_to_id("<s>"))
            backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[bos])
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        backend.save(str(folder / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
        settings |= {"pad_token": "<pad>", "chat_template": CHAT} | config
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return folder

    return build


def _checks(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.level, one.check) for one in findings]


def _check(folder: Path) -> list[tuple[str, str]]:
    return _checks(check_tokenizer(folder, load_tokenizer(folder)))


def test_a_good_tokenizer_and_template_have_no_findings(chat_tokenizer: Callable[..., Path]) -> None:
    assert _check(chat_tokenizer()) == []


def test_a_character_map_that_drops_accents_is_a_remark(shared_data: Path) -> None:
    folder = shared_data / "tokenizers" / "sentencepiece-unigram-1k"
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    tokenizer = load_tokenizer(folder / "tokenizer.model")
    accented = "e\u0302\u0301"  # one letter of Vietnamese
    assert (
        theirs.normalize(accented).endswith("ế")
        and tokenizer.backend.normalizer.normalize_str(accented)[-1] == "ê"
    )
    assert ("info", "tokenizer.marks") in _checks(check_tokenizer(folder, tokenizer))
    tokenizer.backend.normalizer = normalizers.NFKC()
    assert _checks(check_tokenizer(folder, tokenizer)) == []
    tokenizer.backend.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    assert _checks(check_tokenizer(folder, tokenizer)) == []  # it means to


def test_pad_that_is_eos_is_found(chat_tokenizer: Callable[..., Path]) -> None:
    assert _check(chat_tokenizer(pad_token="</s>")) == [("warning", "special.pad")]


def test_a_template_that_does_not_render_is_found(chat_tokenizer: Callable[..., Path]) -> None:
    assert _check(chat_tokenizer(chat_template="{% for %}")) == [("error", "template.renders")]
    assert _check(chat_tokenizer(chat_template="{{ raise_exception('no') }}")) == [
        ("error", "template.renders")
    ]


def test_a_template_that_leaves_words_out_is_found(chat_tokenizer: Callable[..., Path]) -> None:
    quiet = CHAT.replace("message.content", "''")
    assert ("error", "template.content") in _check(chat_tokenizer(chat_template=quiet))


def test_bos_written_twice_is_found(chat_tokenizer: Callable[..., Path]) -> None:
    assert _check(chat_tokenizer(chat_template="<s>" + CHAT)) == [("error", "template.bos")]


def test_a_tokenizer_that_adds_another_bos_is_a_remark(chat_tokenizer: Callable[..., Path]) -> None:
    assert _check(chat_tokenizer(adds_bos=True)) == [("info", "template.bos")]


def test_an_answer_without_eos_is_found(chat_tokenizer: Callable[..., Path]) -> None:
    endless = CHAT.replace("{{ eos_token }}", "\n")
    assert _check(chat_tokenizer(chat_template=endless)) == [("warning", "template.eos")]


def test_a_templates_token_outside_the_vocabulary_is_found(chat_tokenizer: Callable[..., Path]) -> None:
    (found,) = check_tokenizer(
        Path("tok"), load_tokenizer(chat_tokenizer(special=("<s>", "</s>", "<pad>", "<|assistant|>")))
    )
    assert found.check == "template.tokens" and "<|user|>" in found.what


def test_a_prompt_that_is_no_beginning_of_the_chat_is_a_remark(chat_tokenizer: Callable[..., Path]) -> None:
    other = CHAT.replace("<|assistant|>{% endif %}", "<|assistant|>Hmm: {% endif %}")
    assert ("info", "template.prompt") in _check(chat_tokenizer(chat_template=other))


@pytest.mark.parametrize(
    ("config", "generation", "expected"),
    [
        ({"eos_token_id": 257, "bos_token_id": 256, "pad_token_id": 258}, {"eos_token_id": 257}, []),
        ({"eos_token_id": [9, 257]}, {"eos_token_id": [257]}, []),
        ({"eos_token_id": 9}, None, ["special.eos"]),
        ({"bos_token_id": 257}, None, ["special.bos"]),
        ({"eos_token_id": 300}, None, ["special.eos"]),
        ({"eos_token_id": 257}, {"eos_token_id": 9}, ["special.eos", "special.eos"]),
        ({}, {"pad_token_id": 7}, ["special.pad"]),
    ],
)
def test_ids_in_the_configs_are_the_tokenizers(
    chat_tokenizer: Callable[..., Path],
    config: dict[str, Any],
    generation: dict[str, Any] | None,
    expected: list[str],
) -> None:
    folder = chat_tokenizer()
    (folder / "config.json").write_text(json.dumps({"vocab_size": 261} | config))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    assert [one.check for one in check_special_tokens(folder, load_tokenizer(folder))] == expected


def test_ids_without_a_row_are_found(chat_tokenizer: Callable[..., Path]) -> None:
    tokenizer = load_tokenizer(chat_tokenizer())
    assert tokenizer.vocab_size == 261
    assert check_vocabulary(Path("m"), tokenizer, vocab_size=261, rows=261) == []
    assert check_vocabulary(Path("m"), tokenizer, vocab_size=320, rows=320) == []
    for vocab_size, rows in ((260, 260), (261, 200), (200, None)):
        (found,) = check_vocabulary(Path("m"), tokenizer, vocab_size, rows)
        assert (found.level, found.check) == ("error", "vocabulary.rows")


def test_published_templates_render_and_end_their_answers(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / "qwen2")
    assert [one for one in check_tokenizer(Path("qwen2"), tokenizer) if one.level == "error"] == []


def test_an_end_that_only_the_generation_config_names_counts(chat_tokenizer: Callable[..., Path]) -> None:
    folder = chat_tokenizer(chat_template=CHAT.replace("{{ eos_token }}", "<pad>"))
    tokenizer = load_tokenizer(folder)
    (folder / "config.json").write_text('{"vocab_size": 261}')
    (folder / "generation_config.json").write_text('{"eos_token_id": [257, 258]}')
    stops = stop_ids(folder, tokenizer)
    assert stops == [257, 258]
    assert _checks(check_tokenizer(folder, tokenizer)) == [("warning", "template.eos")]
    assert check_tokenizer(folder, tokenizer, stops) == []


def test_a_template_for_tools_that_does_not_render_is_found(chat_tokenizer: Callable[..., Path]) -> None:
    def named(template: str) -> list[dict[str, str]]:
        return [{"name": "default", "template": CHAT}, {"name": "tool_use", "template": template}]

    assert _check(chat_tokenizer(chat_template=named("{{ tools[0].function.name }}"))) == []
    assert _check(chat_tokenizer(chat_template=named("{% for %}"))) == [("error", "template.renders")]


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "GPTNeoXTokenizerFast", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize("asked", [True, False])
def test_a_space_before_texts_that_only_transformers_would_put_is_found(
    chat_tokenizer: Callable[..., Path], name: str, asked: bool
) -> None:
    from transformers import AutoTokenizer

    folder = chat_tokenizer(tokenizer_class=name, add_prefix_space=asked)
    theirs = AutoTokenizer.from_pretrained(folder).encode("Hi", add_special_tokens=False)
    differs = theirs != load_tokenizer(folder).encode("Hi")
    assert differs == (asked is True and name != "PreTrainedTokenizerFast")
    assert (("warning", "tokenizer.prefix") in _check(folder)) == differs
