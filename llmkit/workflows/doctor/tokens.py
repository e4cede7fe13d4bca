"""A model folder's tokenizer: it opens, its ids have rows, its special tokens are the model's, and its chat
template writes what the model was trained on: one bos, an eos after the answer, tokens that exist."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from llmkit.errors import LlmkitError
from llmkit.formats.model_folder import CONFIG, GENERATION_CONFIG, read_config, read_generation_config
from llmkit.tokens.chat import render_chat
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.doctor.findings import Finding, Level, finding

_CHAT = [{"role": "user", "content": "What is two and two?"}, {"role": "assistant", "content": "Four."}]
_PARAMETERS = {"type": "object", "properties": {"text": {"type": "string", "description": "a text"}}}
_TOOL = {
    "type": "function",
    "function": {"name": "count", "description": "Counts letters.", "parameters": _PARAMETERS},
}
_ACUTE = "\u0301"
_ACCENTED = (f"x{_ACUTE}", f"e\u0302{_ACUTE}", f"\ufb01{_ACUTE}")  # the last: on the ligature of f and i
_AS_IT_IS = (None, "PreTrainedTokenizerFast", "TokenizersBackend", "LlamaTokenizer", "LlamaTokenizerFast")
"""Classes of transformers that take a byte-level tokenizer.json as it is."""
_MARK = re.compile(r"<\|[^|<>\s]+\|>")  # how a template's own tokens are commonly written


def check_tokenizer(
    where: Path, tokenizer: Tokenizer, stops: Sequence[int] = (), *, chats: bool = True
) -> list[Finding]:
    """A tokenizer's normaliser, pad token and chat template.

    Args:
        where: it is.
        tokenizer: what to check.
        stops: ids that end a text of its model.
        chats: whether its template is for questions and answers.
    """
    findings = []
    if _drops_marks(tokenizer):
        what = "accents are dropped from letters that are written in several code points (NFD, ligatures)"
        hint = "SentencePiece itself keeps them: bring text into NFC first"
        findings.append(finding("info", "tokenizer.marks", where, what, hint))
    if tokenizer.pad_id is not None and tokenizer.pad_id == tokenizer.eos_id:
        what = f"pad and eos are one token ({tokenizer.token_text(tokenizer.pad_id)})"
        hint = "training that ignores padding then never learns to stop: give pad a token of its own"
        findings.append(finding("warning", "special.pad", where, what, hint))
    if (asked := _asks_for_other_spaces(tokenizer)) is not None:
        what = f"add_prefix_space is {json.dumps(asked)} in its config, otherwise in tokenizer.json"
        hint = "transformers' older classes follow the config, llmkit tokenizer.json: make them say the same"
        findings.append(finding("warning", "tokenizer.prefix", where, what, hint))
    if chats and tokenizer.chat_template is not None:
        findings += check_template(where, tokenizer, stops)
    return findings


def _asks_for_other_spaces(tokenizer: Tokenizer) -> bool | None:
    """What tokenizer_config.json says of a space before texts, where its class heeds that and the tokenizer
    does otherwise; else None."""
    asked = tokenizer.config.get("add_prefix_space")
    heeded = tokenizer.config.get("tokenizer_class") not in _AS_IT_IS
    part = str(tokenizer.backend.pre_tokenizer)
    if not heeded or not isinstance(asked, bool) or f"ByteLevel(add_prefix_space={not asked}" not in part:
        return None
    return asked


def _drops_marks(tokenizer: Tokenizer) -> bool:
    """Whether some accents get lost, and not all: a character map of the `tokenizers` library loses them.

    It looks up a letter with all its marks, and takes the shortest rule for all of it.
    """
    normalizer = tokenizer.backend.normalizer
    if normalizer is None:
        return False
    kept = [_ACUTE in normalize("NFD", normalizer.normalize_str(text)) for text in _ACCENTED]
    return kept[0] and not all(kept)


def check_template(where: Path, tokenizer: Tokenizer, stops: Sequence[int] = ()) -> list[Finding]:
    """The chat template, tried on a question and its answer."""
    findings: list[Finding] = []

    def found(level: Level, check: str, what: str, hint: str) -> None:
        findings.append(finding(level, check, where, what, hint))

    try:
        rendered = render_chat(tokenizer, _CHAT)
        prompt = render_chat(tokenizer, _CHAT[:1], add_generation_prompt=True)
        if tokenizer.for_tools is not tokenizer:
            render_chat(tokenizer, _CHAT, tools=[_TOOL])
    except LlmkitError as error:
        found("error", "template.renders", error.problem, error.hint)
        return findings
    if any(message["content"] not in rendered for message in _CHAT):
        found("error", "template.content", "the template leaves out what was said", "mend chat_template")
    if not rendered.startswith(prompt):
        what = "a prompt with add_generation_prompt is not the beginning of the whole conversation"
        hint = "training would see other text before an answer than generate gives"
        found("info", "template.prompt", what, hint)
    ids = tokenizer.encode(rendered)
    bos = tokenizer.bos_id
    if bos is not None and ids[:2] == [bos, bos]:
        found("error", "template.bos", "the template writes bos twice", "mend chat_template")
    elif bos is not None and tokenizer.encode(rendered, special_tokens=True)[:2] == [bos, bos]:
        what = "the template writes bos, and the tokenizer adds another to plain text"
        found("info", "template.bos", what, "encode rendered chats without special tokens, as llmkit does")
    ends = [tokenizer.token_text(one) for one in (*stops, tokenizer.eos_id) if one is not None]
    after = rendered.rpartition(_CHAT[-1]["content"])[2]
    if ends and not any(end in after for end in ends):
        what = f"no eos ({' or '.join(sorted(set(ends)))}) after the assistant's answer: it would never stop"
        hint = "end the assistant's turn with eos in chat_template, or set eos to its end"
        found("warning", "template.eos", what, hint)
    unknown = sorted({mark for mark in _MARK.findall(rendered) if tokenizer.id_of(mark) is None})
    if unknown:
        what = f"writes {', '.join(unknown)}, which the vocabulary does not have"
        found("warning", "template.tokens", what, "add them as special tokens, or use another template")
    return findings


def check_special_tokens(folder: Path, tokenizer: Tokenizer) -> list[Finding]:
    """bos, eos and pad in config.json, generation_config.json and the tokenizer."""
    try:
        config = read_config(folder)
        generation = read_generation_config(folder)
    except LlmkitError:
        return []  # the weights' checks tell about it
    findings = []
    sources: list[tuple[str, Mapping[str, Any]]] = [(CONFIG, config)]
    if generation is not None:
        sources.append((GENERATION_CONFIG, generation))
    text = config.get("vocab_size")
    rows = text if isinstance(text, int) else None
    for name in ("bos", "eos", "pad"):
        own = getattr(tokenizer, f"{name}_id")
        for file, content in sources:
            ids = _ids(content.get(f"{name}_token_id"))
            if rows is not None and any(one >= rows for one in ids):
                what = f"{name}_token_id {_list(ids)} is beyond vocab_size {rows}"
                findings.append(finding("error", f"special.{name}", folder / file, what, "correct the id"))
            elif ids and own is not None and own not in ids:
                what = f"{name}_token_id is {_list(ids)}, the tokenizer's {name} is {own}"
                hint = f"set {name}_token_id to {own}, or {name}_token in tokenizer_config.json"
                findings.append(finding("warning", f"special.{name}", folder / file, what, hint))
    stops = [_ids(content.get("eos_token_id")) for _, content in sources]
    if len(stops) == 2 and all(stops) and not set(stops[0]) & set(stops[1]):
        what = f"eos_token_id is {_list(stops[1])}, {CONFIG} says {_list(stops[0])}"
        findings.append(finding("warning", "special.eos", folder / GENERATION_CONFIG, what, "make them one"))
    return findings


def stop_ids(folder: Path, tokenizer: Tokenizer) -> list[int]:
    """The ids that generation_config.json or config.json say end a text, as far as the tokenizer has them."""
    try:
        contents = (read_generation_config(folder) or {}, read_config(folder))
    except LlmkitError:
        return []
    ids = [one for content in contents for one in _ids(content.get("eos_token_id"))]
    return [one for one in ids if 0 <= one < tokenizer.vocab_size]


def check_vocabulary(where: Path, tokenizer: Tokenizer, vocab_size: int, rows: int | None) -> list[Finding]:
    """Every id of the tokenizer has a row in the embedding.

    Args:
        where: the model folder.
        tokenizer: its tokenizer.
        vocab_size: as config.json says.
        rows: of the embedding as stored; None where the weights are not at hand.
    """
    room = min(vocab_size, rows) if rows is not None else vocab_size
    if tokenizer.vocab_size <= room:
        return []
    what = f"the tokenizer has ids up to {tokenizer.vocab_size - 1}, the embedding has {room} rows"
    return [finding("error", "vocabulary.rows", where, what, "this is the tokenizer of another model")]


def _ids(value: Any) -> list[int]:
    if isinstance(value, list):
        return [one for one in value if isinstance(one, int)]
    return [value] if isinstance(value, int) else []


def _list(ids: list[int]) -> str:
    return str(ids[0]) if len(ids) == 1 else str(ids)
