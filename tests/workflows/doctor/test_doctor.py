"""The whole examination: real models are healthy, and a broken or foreign artefact is told with its path."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from llmkit.errors import MissingError
from llmkit.formats.model_folder import WEIGHTS
from llmkit.formats.provenance import Invocation
from llmkit.model.pooling import Pooling, write_pooling
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.convert.convert import convert
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.doctor.doctor import diagnose
from llmkit.workflows.doctor.findings import LEVELS
from tests.model.test_relevance import judging_folder

JUDGING_TEMPLATE = (
    "{% for one in messages if one.role in ('query', 'document') %}{{ one.content }}{% endfor %}"
)


@pytest.fixture
def stories(shared_data: Path, tmp_path: Path) -> Path:
    """A small real model, to be broken."""
    folder = tmp_path / "stories"
    shutil.copytree(shared_data / "models" / "stories260K", folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    return folder


def _checks(*paths: Path) -> list[tuple[str, str]]:
    return [(one.level, one.check) for one in diagnose(paths).findings]


def test_real_models_have_no_findings(shared_data: Path) -> None:
    for folder in sorted((shared_data / "models").iterdir()):
        report = diagnose([folder])
        assert report.findings == [] and report.passed
        assert [(one.kind, one.path) for one in report.checked] == [("model", str(folder))]
        assert report.machine is None


def test_without_a_path_the_machine_is_checked() -> None:
    report = diagnose([])
    assert report.machine is not None and report.checked == []
    assert all(one.check.startswith("machine.") for one in report.findings)


def test_a_tokenizer_that_does_not_open_is_found(stories: Path) -> None:
    path = stories / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:500])
    assert _checks(stories) == [("error", "tokenizer.opens")]


def test_a_folder_without_a_tokenizer_is_a_remark(tiny_model: Callable[..., Path]) -> None:
    report = diagnose([tiny_model()])
    assert [(one.level, one.check) for one in report.findings] == [("info", "tokenizer.opens")]
    assert report.passed


def test_the_template_of_a_model_that_judges_pairs_need_not_be_for_chats(stories: Path) -> None:
    (stories / "chat_template.jinja").write_text(JUDGING_TEMPLATE)
    assert ("error", "template.content") in _checks(stories)
    judging_folder(stories, {"true_token_id": 5})
    assert _checks(stories) == []
    (stories / "LogitScore/config.json").write_text("{}")
    assert _checks(stories)[0] == ("error", "steps.supported")


def test_a_model_made_for_vectors_needs_no_head(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model(tie_word_embeddings=False)
    save_file(
        {name: one for name, one in load_file(folder / WEIGHTS).items() if name != "lm_head.weight"},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
    assert ("error", "weights.missing") in _checks(folder)
    write_pooling(folder, Pooling("last"), 8)
    assert _checks(folder) == [("info", "tokenizer.opens")]


def test_the_tokenizer_of_another_model_is_found(stories: Path, shared_data: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shared_data / "tokenizers" / "gpt2" / name, stories / name)
    assert ("error", "vocabulary.rows") in _checks(stories)


def test_a_tokenizer_that_the_provenance_does_not_name_is_found(stories: Path) -> None:
    own = load_tokenizer(stories).sha256
    (stories / "llmkit.json").write_text(json.dumps({"tokenizer_sha256": own}))
    assert _checks(stories) == []
    (stories / "llmkit.json").write_text(json.dumps({"tokenizer_sha256": "0" * 64}))
    assert _checks(stories) == [("error", "together.tokenizer")]
    (stories / "llmkit.json").write_text("{")
    assert _checks(stories) == [("error", "provenance.readable")]


def test_eos_that_is_not_the_tokenizers_is_found(stories: Path) -> None:
    config = json.loads((stories / "config.json").read_text())
    (stories / "config.json").write_text(json.dumps(config | {"eos_token_id": 7}))
    report = diagnose([stories])
    assert [(one.level, one.check) for one in report.findings] == [("warning", "special.eos")]
    assert not report.passed


def test_token_documents_beyond_the_models_rows_are_found(stories: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.jsonl"
    tokens.write_text('{"id": "a", "tokens": [1, 511]}\n')
    assert _checks(stories, tokens) == []
    tokens.write_text('{"id": "a", "tokens": [1, 512]}\n')
    assert _checks(tokens, stories) == [("error", "together.vocabulary")]


def test_an_adapter_is_held_against_the_model_beside_it(
    tiny_adapter: Callable[..., Path], tiny_model: Callable[..., Path]
) -> None:
    adapter, model, other = (
        tiny_adapter("adapter"),
        tiny_model("model"),
        tiny_model("other", num_hidden_layers=1),
    )
    assert _checks(adapter) == []  # its base, "model", stands beside it
    assert [check for _, check in _checks(model, adapter)] == ["tokenizer.opens"]
    assert ("error", "adapter.base") in _checks(adapter, other)


def test_what_is_no_artefact_is_a_finding_and_the_rest_is_still_checked(
    stories: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    report = diagnose([tmp_path / "photo.png", stories])
    assert [(one.level, one.check) for one in report.findings] == [("error", "artefact.known")]
    assert [one.kind for one in report.checked] == ["unknown", "model"]
    with pytest.raises(MissingError):
        diagnose([tmp_path / "nothing"])


def test_every_finding_has_a_level_a_place_and_a_hint(stories: Path) -> None:
    path = stories / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    for one in diagnose([stories]).findings:
        assert one.level in LEVELS and one.where.startswith(str(stories)) and one.what and one.hint
        assert not one.what.startswith(one.where)


def test_an_adapter_is_held_against_a_base_in_whichever_form_either_has(
    tiny_model: Callable[..., Path],
    tiny_adapter: Callable[..., Path],
    as_gguf: Callable[[Path, Path], Path],
    tmp_path: Path,
) -> None:
    model, folder = tiny_model("model"), tiny_adapter()
    file = as_gguf(folder, model)
    invocation = Invocation("convert", {}, ("in", "out"))
    for name, source in (("model", model), ("small", tiny_model("shallow", num_hidden_layers=1))):
        convert(source, tmp_path / f"{name}.gguf", ConvertConfig(), force=False, invocation=invocation)
    assert diagnose([file]).findings == []  # it names a base, and that is beside it
    assert diagnose([file]).checked[0].kind == "adapter"
    good, bad = tmp_path / "model.gguf", tmp_path / "small.gguf"
    for adapter in (folder, file):
        assert ("error", "adapter.base") not in _checks(adapter, good)
        assert ("error", "adapter.base") in _checks(adapter, bad)
        assert ("error", "adapter.base") in _checks(adapter, tmp_path / "shallow")


def test_an_adapters_file_that_is_damaged_is_told_as_one(
    tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path], as_gguf: Callable[[Path, Path], Path]
) -> None:
    file = as_gguf(tiny_adapter(), tiny_model())
    file.write_bytes(file.read_bytes().replace(b"attn_q.weight.lora_b", b"attn_o.weight.lora_b", 1))
    assert ("error", "adapter.files") in _checks(file)
