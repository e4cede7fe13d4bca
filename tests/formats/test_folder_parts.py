"""What is read of a folder: the names that its writers give, and none of what others keep beside."""

from pathlib import Path, PurePath

import pytest

from llmkit.formats.checkpoint import CHECKPOINTS, OPTIMIZER, STATE
from llmkit.formats.documents import list_files
from llmkit.formats.folder_parts import is_read_of
from llmkit.formats.metrics import METRICS
from llmkit.formats.model_folder import CONFIG, GENERATION_CONFIG, INDEX, WEIGHTS
from llmkit.formats.peft import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from llmkit.formats.provenance import FILE_NAME
from llmkit.formats.sentence_modules import MODULES, PROMPTS, TRANSFORMER
from llmkit.formats.shards import DOCUMENTS
from llmkit.tokens.tokenizer import NAMED_TEMPLATES
from llmkit.workflows.artefact import SHARD_INDEX
from llmkit.workflows.run.folder import CARRIED

PARTS = (
    *(CONFIG, GENERATION_CONFIG, INDEX, WEIGHTS, "model-00001-of-00002.safetensors", OPTIMIZER, STATE),
    *(ADAPTER_CONFIG, ADAPTER_WEIGHTS, METRICS, SHARD_INDEX, DOCUMENTS, "shard-00000.tok.zst", *CARRIED),
    *("vocab.json", "merges.txt", "gpt.tiktoken", "tokenizer.model", f"{NAMED_TEMPLATES}/rag.jinja"),
    *(CHECKPOINTS, f"{CHECKPOINTS}/step-00000004/{STATE}", "special_tokens_map.json"),
    *(MODULES, PROMPTS, TRANSFORMER, f"1_Pooling/{CONFIG}", f"1_LogitScore/{CONFIG}"),
)


@pytest.mark.parametrize("part", PARTS)
def test_what_a_folder_is_made_of_is_read(tmp_path: Path, part: str) -> None:
    for name in (CONFIG, SHARD_INDEX, METRICS):
        (tmp_path / name).touch()
    assert is_read_of(tmp_path, PurePath(part))


@pytest.mark.parametrize("kind", [CONFIG, "tokenizer.json", SHARD_INDEX, METRICS, ADAPTER_CONFIG])
def test_what_lies_beside_the_files_of_a_model_a_run_or_shards_is_not_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / kind).touch()
    for beside in ("out.txt", "ppl.jsonl", "ids.jsonl.zst", "model.gguf", "run.html", "q4", f"q4/{CONFIG}"):
        assert not is_read_of(tmp_path, PurePath(beside)), beside


def test_of_documents_all_that_is_listed_is_read(tmp_path: Path) -> None:
    for name in ("a.jsonl", "deep/b.txt", ".index", ".deep/c.txt", f"deep/{FILE_NAME}"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    read = [path for path in files if is_read_of(tmp_path, path.relative_to(tmp_path))]
    assert len(files) == 5
    assert set(read) == {*list_files([tmp_path]), tmp_path / "deep" / FILE_NAME}
