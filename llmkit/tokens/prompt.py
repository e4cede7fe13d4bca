"""Prompts as the ids that a model goes on from: plain text, or a conversation in the tokenizer's template."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tokenizers

from llmkit.errors import DataError, LlmkitError
from llmkit.tokens.infill import InfillForm, infill_form_of
from llmkit.tokens.ordinary import ordinary_backend
from llmkit.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llmkit.tokens.tools.turns import ToolTurns

TRIAL = [{"role": "user", "content": "Two and two?"}, {"role": "assistant", "content": "Four."}]
"""A conversation by which templates are tried out."""
_PROJECT, _THIS_FILE, _SNIPPET = "myproject\n", "filename", "\n\n--- snippet ---\n\n"
"""What llama.cpp's server calls a project and the file with the gap, and what it puts before the text of each
other file where a model has no mark for them."""
_LEAD = "☺"
"""Is in no vocabulary with what follows it; Code Llama and Codestral have it before what follows a gap."""


class PromptEncoder:
    """Encodes prompts for one model.

    What the tokenizer puts before a text (bos) is put before a plain prompt; what it puts after one (eos) is
    not, since the text goes on. A template writes its special tokens itself.
    """

    def __init__(self, tokenizer: Tokenizer, *, allow_special: bool = False) -> None:
        """
        Args:
            tokenizer: the model's.
            allow_special: text of a plain prompt that looks like a special token becomes that token.
        """
        self._tokenizer = tokenizer
        self._plain = tokenizer.backend if allow_special else ordinary_backend(tokenizer)

    @cached_property
    def turn_end(self) -> int | None:
        """Id of the special token that the template writes right after an answer, or None. A chat model ends
        its turn with it, whether or not the model's config counts it among its eos ids.

        Found when it is asked for: it takes a rendering, and a template may take its time.
        """
        return _turn_end(self._tokenizer)

    @property
    def turn_ends(self) -> frozenset[int]:
        """`turn_end` as the ids that end a reply."""
        return frozenset(() if self.turn_end is None else (self.turn_end,))

    @cached_property
    def tool_turns(self) -> "ToolTurns":
        """How the template takes tools. Found when it is asked for, as `turn_end` is."""
        from llmkit.tokens.tools.turns import tool_turns  # jinja2: a plain prompt need not wait

        return tool_turns(self._tokenizer)

    @cached_property
    def before_texts(self) -> list[int]:
        """What the tokenizer puts before every text."""
        return self.encode("a")[: -len(self.encode("a", special=False))]

    @cached_property
    def infill_form(self) -> InfillForm | None:
        """How the model is told of a gap; None: it has no tokens for that."""
        return infill_form_of(self._tokenizer)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a plain prompt. Of an empty one: bos, or eos, where the tokenizer has one of them.

        Args:
            text: the prompt.
            special: whether what belongs before a text is put there.

        Raises:
            DataError: the tokenizer has no token for a part of it.
        """
        if not special:
            return _encode(self._plain, text).ids
        encoding = self._tokenizer.backend.post_process(_encode(self._plain, text))
        marks = encoding.special_tokens_mask  # 1 for what was put around the text
        if 0 in marks:
            return encoding.ids[: len(marks) - marks[::-1].index(0)]
        starts = (self._tokenizer.bos_id, self._tokenizer.eos_id)
        return [one for one in starts if one is not None][:1]

    def encode_marked(self, text: str) -> list[int]:
        """The ids of a prompt that may be a conversation which somebody rendered: templates that write bos
        themselves have written it, and it is not put before that once more.

        Raises:
            DataError: the tokenizer has no token for a part of it.
        """
        ids, lead = self.encode(text), self.before_texts
        return ids[len(lead) :] if lead and ids[len(lead) : 2 * len(lead)] == lead else ids

    @property
    def gap_ends(self) -> frozenset[int]:
        """The ids that end a text in a gap, beside those that end any."""
        return frozenset() if self.infill_form is None else self.infill_form.ends

    def encode_whole(self, text: str) -> list[int]:
        """The ids of a text that does not go on, with all that the tokenizer puts around one.

        Raises:
            DataError: the tokenizer has no token for a part of it.
        """
        return self._tokenizer.backend.post_process(_encode(self._plain, text)).ids

    def encode_gap(self, before: str, after: str, files: Sequence[tuple[str, str]] = ()) -> list[int]:
        """The ids of a prompt that asks for what belongs between two texts.

        Args:
            before: the gap.
            after: it.
            files: names and texts of others, which are told first as llama.cpp's server tells them.

        Raises:
            DataError: the model has no tokens to say so, or the tokenizer none for a part of a text.
        """
        if self.infill_form is None:
            raise DataError(
                "suffix: this model's tokenizer has no tokens that mark a gap",
                hint="a model that was trained to fill in the middle, such as Qwen2.5-Coder's base",
            )
        sides = self.encode(before, special=False), self._encode_later(after)
        return [*self.before_texts, *self._told_files(files), *self.infill_form.ids(*sides)]

    def _told_files(self, files: Sequence[tuple[str, str]]) -> list[int]:
        """The ids of other files, and of the name of the one with the gap."""
        form = self.infill_form
        if not files or form is None:
            return []
        if form.file is None:
            return [one for _, text in files for one in self.encode(_SNIPPET + text, special=False)]
        ids = [] if form.repo is None else [form.repo, *self.encode(_PROJECT, special=False)]
        for name, text in (*files, (_THIS_FILE, "")):
            ids += [form.file, *self.encode(f"{name}\n{text}", special=False)]
        return ids

    @cached_property
    def later_lead(self) -> tuple[str, list[int]]:
        """What is put before a text that no text begins with, and its ids, which are taken off again:
        SentencePiece puts a space before one that does."""
        lead = self.encode(_LEAD, special=False)
        if self.encode(f"{_LEAD}a", special=False) == [*lead, *self.encode("a", special=False)]:
            return "", []
        return _LEAD, lead

    def _encode_later(self, text: str) -> list[int]:
        """The ids of a text that no text begins with."""
        lead, ids = self.later_lead
        return self.encode(lead + text, special=False)[len(ids) :]

    def render(self, messages: list[dict[str, Any]], tools: list[Any] | None = None, **settings: Any) -> str:
        """The text of a conversation, ending with the opening of the assistant's turn.

        Args:
            messages: the conversation.
            tools: JSON schemas of the functions that the model may call.
            settings: what the template asks for beside these; add_generation_prompt=False leaves the opening
                out.

        Raises:
            MissingError, ConfigError, DataError: see `render_chat`.
        """
        from llmkit.tokens.chat import render_chat  # jinja2: a plain prompt need not wait

        opens = bool(settings.pop("add_generation_prompt", True))
        return render_chat(
            self._tokenizer, messages, tools=tools, add_generation_prompt=opens, settings=settings
        )

    def render_told(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[Any] | None = None, **settings: Any
    ) -> str:
        """`render`, with tools, earlier calls and their results told as this template takes them.

        Args:
            messages: in OpenAI's words, contents in one piece and arguments of calls as objects.
            tools: functions that the model may call, as OpenAI writes them.
            settings: as for `render`.

        Raises:
            MissingError, ConfigError, DataError: see `render_chat`.
        """
        from llmkit.tokens.tools.turns import has_tools

        told, given = list(messages), list(tools or ()) or None
        if has_tools(told, given):
            told, given = self.tool_turns.told(told, given)
        return self.render(told, given, **settings)

    def encode_rendered(self, text: str) -> list[int]:
        """The ids of a rendered conversation: what looks like a special token is one.

        Raises:
            DataError: the tokenizer has no token for a part of it.
        """
        return _encode(self._tokenizer.backend, text).ids


def _encode(backend: tokenizers.Tokenizer, text: str) -> tokenizers.Encoding:
    try:
        return backend.encode(text, add_special_tokens=False)
    except Exception as error:  # the library throws no narrower kind
        raise DataError(
            f"the tokenizer cannot encode the prompt: {error}",
            hint="leave out the characters that its vocabulary lacks (llmkit show TOKENIZER)",
        ) from None


def _turn_end(tokenizer: Tokenizer) -> int | None:
    if tokenizer.chat_template is None:
        return None
    from llmkit.tokens.chat import render_chat

    try:
        rendered = render_chat(tokenizer, TRIAL)
    except LlmkitError:  # a template for other conversations: its own rendering will say what is wrong
        return None
    after = rendered.rpartition(TRIAL[-1]["content"])[2].lstrip()
    added = tokenizer.backend.get_added_tokens_decoder()
    ends = [index for index, token in added.items() if token.special and after.startswith(token.content)]
    return max(ends, key=lambda index: len(added[index].content), default=None)
