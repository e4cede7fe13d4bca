"""Which files of a folder are read where the folder is named.

a model, a tokenizer, a run, an adapter, shards     the files that such a folder is made of; others lie beside
documents                                           every file but hidden ones, as `list_files` has them
"""

from fnmatch import fnmatchcase
from pathlib import Path, PurePath

_PROVENANCE = "llmkit.json"
"""Of every kind of folder that llmkit makes, so that it tells none from the others."""
_PARTS = (
    *("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model*"),
    *("adapter_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.tiktoken", "*.model"),
    *("chat_template.json", "*.jinja", "additional_chat_templates"),
    *("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"),
    *("[0-9]_Pooling", "[0-9]_Normalize", "[0-9]_LogitScore"),
    *("metrics.jsonl", "checkpoints", "state.json", "COMPLETE"),
    *("index.json", "*.tok.zst", "documents.jsonl.zst"),
)
"""Names in a folder of one of the first kinds; all in a folder of such a name belongs to it too."""


_MARKS = (
    *(_PROVENANCE, "index.json", "config.json", "tokenizer.json", "tokenizer_config.json"),
    *("adapter_config.json", "checkpoints", "metrics.jsonl", "COMPLETE"),
)
"""Names of which a folder that llmkit or Hugging Face has made holds one."""


def is_ours(folder: Path) -> bool:
    """Whether a folder is one that llmkit or Hugging Face has made, or has nothing in it."""
    return any((folder / name).exists() for name in _MARKS) or not any(folder.iterdir())


def is_read_of(folder: Path, inside: PurePath) -> bool:
    """Whether something in a folder is read, or tells how it was made, where the folder is named.

    Args:
        folder: it may be of any kind.
        inside: of a file or folder in it, relative to it.
    """
    if _is_part(inside.parts[0]) or inside.parts[0] == _PROVENANCE:
        return True
    is_hidden = any(part.startswith(".") for part in inside.parts)
    return not is_hidden and not any(_is_part(entry.name) for entry in folder.iterdir())


def _is_part(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _PARTS)
