"""Open a tokenizer, in whichever of the common forms it is kept.

a folder                       the first of these that it holds
tokenizer.json                 the `tokenizers` library's own form
NAME.tiktoken                  a rank table
vocab.json + merges.txt        GPT-2's and Qwen 2's older form
tokenizer.model                SentencePiece
NAME.gguf                      a model with its tokenizer

Beside each, tokenizer_config.json (special tokens, templates), chat_template.jinja and
additional_chat_templates/NAME.jinja are read if there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import tokenizers
from tokenizers import AddedToken

from llmkit.errors import DataError, LlmkitError, MissingError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.jsonl import MALFORMED
from llmkit.formats.streams import open_input
from llmkit.tokens.gguf.read import gguf_tokenizer
from llmkit.tokens.tokenizer import (
    CHAT_TEMPLATE,
    NAMED_TEMPLATES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    Tokenizer,
    token_content,
)

VOCABULARY, MERGES, SENTENCEPIECE = "vocab.json", "merges.txt", "tokenizer.model"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"
FORMS = f"{TOKENIZER}, *.tiktoken, {VOCABULARY} with {MERGES}, or {SENTENCEPIECE}"

Config = dict[str, Any]


def load_tokenizer(path: Path) -> Tokenizer:
    """Open a tokenizer folder or file; see the module's table.

    Raises:
        MissingError: nothing at the path, or no tokenizer in the folder.
        DataError: a damaged or unknown file.
    """
    if is_gguf(path):
        return gguf_tokenizer(read_gguf_header(path, keep_arrays=True).metadata, str(path))
    file = find_tokenizer(path)
    config = read_config(file.parent)
    templates = read_templates(file.parent, config)
    content = None
    if file.suffix == ".tiktoken":
        backend, config = _from_tiktoken(file, config)
    elif file.name == VOCABULARY:
        backend, config = _from_vocabulary(file, config)
    elif file.suffix == ".model":
        backend, config = _from_sentencepiece(file, config)
    else:
        content = _read(file)
        backend = _from_json(content, file)
    backend = _add_missing(backend, config, file)
    backend.no_truncation()
    backend.no_padding()
    default = templates.pop("default", None)
    return Tokenizer(backend, config, default, content=content, named_templates=templates)


def find_tokenizer(path: Path) -> Path:
    """The file to read: the path itself, or what the folder holds.

    Raises:
        MissingError: there is none, or half of it.
    """
    if not path.exists():
        raise MissingError(f"{path}: no such tokenizer", hint=f"give a folder or file: {FORMS}")
    if path.is_dir():
        ranks = sorted(path.glob("*.tiktoken"))
        names = [path / TOKENIZER, *ranks, path / VOCABULARY, path / SENTENCEPIECE]
        found = next((file for file in names if file.is_file()), None)
        if found is None:
            names_there = ", ".join(sorted(file.name for file in path.iterdir())[:5]) or "nothing"
            raise MissingError(
                f"{path}: no tokenizer in this folder (found: {names_there})", hint=f"it holds {FORMS}"
            )
        path = found
    if path.name == MERGES:
        path = path.with_name(VOCABULARY)
    if path.name == VOCABULARY:
        for half in (path, path.with_name(MERGES)):
            if not half.is_file():
                raise MissingError(f"{half}: no such file", hint=f"{VOCABULARY} and {MERGES} go together")
    return path


def read_config(folder: Path) -> Config:
    """tokenizer_config.json; special tokens that only special_tokens_map.json names are taken from there.

    Raises:
        DataError: one of them is not a JSON object.
    """
    config: Config = {}
    for name in (SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG):
        file = folder / name
        if file.is_file():
            try:
                config |= msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
            except MALFORMED as error:
                raise DataError(
                    f"{file}: not a JSON object ({error})", hint=f"python -m json.tool {file}"
                ) from None
    return config


def read_templates(folder: Path, config: Config) -> dict[str, str]:
    """The chat templates by name: "default" is chat_template.jinja, else the config's one or its first.

    Others are in additional_chat_templates/; the config's list counts where chat_template.jinja is not there.

    Raises:
        DataError: not text, not UTF-8, or of a name that no file can have.
    """
    own = folder / CHAT_TEMPLATE
    named = {file.stem: _read_template(file) for file in sorted((folder / NAMED_TEMPLATES).glob("*.jinja"))}
    if own.is_file():
        return {**named, "default": _read_template(own)}
    value = config.get("chat_template")
    listed: dict[Any, Any]
    if isinstance(value, list):
        listed = {one.get("name"): one.get("template") for one in value if isinstance(one, dict)}
    else:
        listed = {} if value is None else {"default": value}
    for name, text in listed.items():
        if not isinstance(text, str):
            raise DataError(
                f"{folder / TOKENIZER_CONFIG}: chat_template is not text (found {type(text).__name__})",
                hint=f"put the template into {CHAT_TEMPLATE}",
            )
        if not isinstance(name, str) or not name or name != Path(name).name:
            raise DataError(
                f"{folder / TOKENIZER_CONFIG}: no name for a chat template (found {name!r})",
                hint="name it as a file can be called: it is saved as one",
            )
    found: dict[str, str] = {**listed, **named}
    return found if "default" in found or not found else {"default": next(iter(found.values())), **found}


def _read_template(file: Path) -> str:
    try:
        return file.read_bytes().decode()  # as it is: newlines are part of the prompt
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error.reason})", hint="save the template as UTF-8") from None


def _read(file: Path) -> bytes:
    with open_input(file) as stream:
        return stream.read()


def _from_json(content: bytes, file: Path) -> tokenizers.Tokenizer:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error.reason})", hint="fetch the file again") from None
    return _guard(lambda: tokenizers.Tokenizer.from_str(text), file)


def _guard(build: Callable[[], tokenizers.Tokenizer], file: Path) -> tokenizers.Tokenizer:
    """Build a tokenizer; what the library throws at damaged files becomes a DataError.

    It throws bare `Exception`s, and a panic in Rust arrives as a BaseException.
    """
    try:
        return build()
    except (LlmkitError, KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        raise DataError(
            f"{file}: the tokenizers library refuses this tokenizer ({error})",
            hint="the file is damaged: fetch it again from where it was published",
        ) from None


def _from_tiktoken(file: Path, config: Config) -> tuple[tokenizers.Tokenizer, Config]:
    from llmkit.tokens.tiktoken import END, read_tiktoken

    backend = _guard(lambda: read_tiktoken(_read(file), str(file)), file)
    return backend, _own_form({"bos_token": END, "eos_token": END} | config)


def _from_vocabulary(file: Path, config: Config) -> tuple[tokenizers.Tokenizer, Config]:
    from llmkit.tokens.vocabulary import read_vocabulary

    merges = file.with_name(MERGES)
    backend = _guard(lambda: read_vocabulary(file, merges, config), file)
    return backend, _own_form(config)


def _from_sentencepiece(file: Path, config: Config) -> tuple[tokenizers.Tokenizer, Config]:
    from llmkit.tokens.post import add_around
    from llmkit.tokens.sentencepiece import read_sentencepiece

    content = _read(file)
    built = []

    def build() -> tokenizers.Tokenizer:
        backend, model = read_sentencepiece(content, str(file))
        built.append(model)
        return backend

    backend = _guard(build, file)
    names = {f"{name}_token": built[0].special(name) for name in ("bos", "eos", "unk", "pad")}
    config = {name: piece for name, piece in names.items() if piece is not None} | config
    bos = token_content(config.get("bos_token")) if config.get("add_bos_token", False) else None
    eos = token_content(config.get("eos_token")) if config.get("add_eos_token", False) else None
    add_around(backend, bos, eos)
    return backend, _own_form(config)


def _own_form(config: Config) -> Config:
    """The config of a tokenizer that `save` writes as tokenizer.json: no class that reads the older form."""
    return config | {"tokenizer_class": "PreTrainedTokenizerFast"}


def _add_missing(backend: tokenizers.Tokenizer, config: Config, file: Path) -> tokenizers.Tokenizer:
    """Add the tokens that only tokenizer_config.json has, at the ids it gives, as transformers does.

    Raises:
        DataError: an id that the vocabulary gives to another token.
    """
    there = {token.content for token in backend.get_added_tokens_decoder().values()}
    listed = {int(index): value for index, value in (config.get("added_tokens_decoder") or {}).items()}
    for index, value in sorted(listed.items()):
        token = _added_token(value)
        if token.content not in there:
            backend.add_tokens([token])
        here = backend.token_to_id(token.content)
        if here != index:
            raise DataError(
                f"{file.parent / TOKENIZER_CONFIG}: {token.content} has id {index}, "
                f"but {here} in {file.name}",
                hint="these files belong to different tokenizers",
            )
    there |= {value["content"] for value in listed.values()}
    named = (token_content(config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token"))
    new = dict.fromkeys(content for content in named if content is not None and content not in there)
    backend.add_special_tokens([AddedToken(content, special=True, normalized=False) for content in new])
    return backend


def _added_token(value: dict[str, Any]) -> AddedToken:
    known = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return AddedToken(value["content"], **{name: bool(value[name]) for name in known if name in value})
