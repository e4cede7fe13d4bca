"""One model as it is served: from what is asked to texts on their way."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from llmkit.engine.breaks import breaks_of
from llmkit.engine.config import SamplingConfig
from llmkit.engine.grammar import Grammar, Grammars
from llmkit.engine.request import Request
from llmkit.engine.seeds import SEED_BITS, derive_seed
from llmkit.errors import DataError, LlmkitError
from llmkit.model.config import ModelConfig
from llmkit.model.pooling import OWN, Pooling
from llmkit.model.relevance import Relevance
from llmkit.server.adapters import ServedAdapters
from llmkit.server.answer import Piece
from llmkit.server.ask import Ask
from llmkit.server.call_rule import call_rule
from llmkit.server.engine_load import EngineLoad
from llmkit.server.engine_thread import EngineThread
from llmkit.server.errors import ApiError, as_api_error, refused, renamed
from llmkit.server.gate import Caller
from llmkit.server.prompts import PromptPool
from llmkit.server.replies import Reply
from llmkit.server.thinking import Thinking
from llmkit.server.wire.names import setting_of
from llmkit.tokens.infill import InfillForm, infill_form_of
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import CallReader
from llmkit.tokens.tools.forms import form_of
from llmkit.tokens.tools.turns import ToolTurns


@dataclass(frozen=True)
class Prepared:
    """A request ready for the engine, all of it checked."""

    ask: Ask
    """What was asked."""
    requests: tuple[Request, ...]
    """One an answer, in order."""
    prompts: tuple[str, ...]
    """The text of each prompt, where it comes out too."""
    thinks: bool = False
    """Whether the answers begin within thoughts, because the prompt ends there."""

    @property
    def prompt_tokens(self) -> int:
        """Of each prompt once, however many answers it gets."""
        return sum(len(prompt) for prompt in {id(one.prompt): one.prompt for one in self.requests}.values())

    @property
    def max_tokens(self) -> int:
        """That may be drawn, of all answers."""
        return sum(one.sampling.max_tokens for one in self.requests)


class Served:
    """A model, its engine and its tokenizer.

    Attributes:
        name: what clients call it.
        fingerprint: of weights and version; see `ServedAdapters.marked`.
        base: sampling settings where a request says nothing.
        context: positions that a text may have, prompt included.
        created: when it came to be served, in seconds since 1970.
        adapters: what may stand behind its name and a colon.
    """

    def __init__(
        self,
        name: str,
        *,
        fingerprint: str,
        config: ModelConfig,
        tokenizer: Tokenizer,
        thread: EngineThread,
        prompts: PromptPool,
        base: SamplingConfig,
        context: int,
        turn_end: int | None = None,
        tool_form: str | None = None,
        tool_turns: ToolTurns | None = None,
        tells_thoughts: bool = True,
        adapters: ServedAdapters | None = None,
        pooling: Pooling = OWN,
        relevance: Relevance | None = None,
    ) -> None:
        """
        Args:
            name: what clients call it.
            fingerprint: of weights and version.
            config: its shape.
            tokenizer: its own.
            thread: writes its texts.
            prompts: encodes its prompts.
            base: sampling settings where a request says nothing.
            context: positions that a text may have: the model's, or what the cache has room for.
            turn_end: id of the token that ends a turn of a chat.
            tool_form: how it calls functions, one of `FORMS`; None: as its chat template says.
            tool_turns: how its chat template takes tools; None: that is tried out now.
            tells_thoughts: whether what it thinks is told apart from its answer.
            adapters: those that its engine has; None: none.
            pooling: how vectors are made of its hidden states.
            relevance: how it judges pairs of texts; None: it was not made for that.

        Raises:
            ConfigError: there is no form of this name.
        """
        self.name = name
        self.fingerprint = fingerprint
        self.config = config
        self.tokenizer = tokenizer
        self.thread = thread
        self.prompts = prompts
        self.base = base
        self.context = context
        self.pooling = pooling
        self.relevance = relevance
        self.created = int(time.time())
        self.adapters = ServedAdapters() if adapters is None else adapters
        self._form = form_of(tokenizer, tool_form, turns=tool_turns)
        self._thinking = Thinking(tokenizer, config.vocab_size, is_told_apart=tells_thoughts)
        self._grammars = Grammars(tokenizer, config.vocab_size)
        self._compiling = asyncio.Lock()
        self._stop_ids = frozenset(() if turn_end is None else (turn_end,))

    @cached_property
    def before_texts(self) -> list[int]:
        """Ids that its tokenizer puts before every text."""
        return PromptEncoder(self.tokenizer).before_texts

    @cached_property
    def infill_form(self) -> InfillForm | None:
        """How the model is asked for the text in a gap; None: it knows no marks around one."""
        return infill_form_of(self.tokenizer)

    def load(self) -> EngineLoad:
        """What its engine is busy with, and how many prompts wait to come there."""
        waiting, refused = self.prompts.waiting, self.prompts.refused
        return replace(self.thread.load(), prompts_waiting=waiting, prompts_refused=refused)

    async def prepare(self, ask: Ask, caller: Caller) -> Prepared:
        """Encode the prompts of a request, and check that the model can do what it asks.

        Raises:
            ApiError: 400, naming the parameter as the request does.
        """
        try:
            return await self._prepare(ask, caller)
        except ApiError as error:
            raise renamed(error, ask.names) from None

    async def _prepare(self, ask: Ask, caller: Caller) -> Prepared:
        prompts = await self._encode(ask, caller.tenant)
        place = self._thinking.place(ask, prompts[0][1])
        grammar = self._thinking.grammar(await self._grammar(ask, caller.tenant), ask, place)
        requests = []
        for number, (ids, _) in enumerate(prompts):
            sampling = self._fit(ask, len(ids))
            if not ask.seed_given:
                sampling = replace(sampling, seed=secrets.randbits(SEED_BITS))
            elif number:  # prompts of one request differ, like rows of a file
                sampling = replace(sampling, seed=derive_seed(sampling.seed, f"prompt {number}"))
            request = Request(
                tuple(ids),
                replace(sampling, samples=1),
                stop_ids=self._stop_ids_of(ask),
                priority=max(ask.priority, caller.lowest_priority),
                key=caller.tenant,
                salt=ask.cache_salt,
                adapter=ask.adapter,
                grammar=grammar,
                breaks=breaks_of(sampling, self.tokenizer),
                scores_prompt=_scores_prompt(ask),
                min_tokens=ask.min_tokens,
                shows_stop=ask.shows_stop,
            )
            try:
                request.check(self.config)
            except LlmkitError as error:
                raise as_api_error(error, setting_of(error.problem) or _prompt_param(ask)) from None
            for sample in range(ask.sampling.samples):
                requests.append(_sample(request, sample))
        texts = [text for _, text in prompts]
        if ask.ids and ask.echo:  # whose ids are known to be some
            texts = await self.prompts.decode_all(ask.ids, tenant=caller.tenant)
        by_answer = tuple(text for text in texts for _ in range(ask.sampling.samples))
        return Prepared(ask, tuple(requests), by_answer, thinks=place == "within")

    def _stop_ids_of(self, ask: Ask) -> frozenset[int]:
        if ask.kind == "chat" or ask.marks:
            return self._stop_ids
        return self.infill_form.ends if ask.suffix is not None and self.infill_form else frozenset()

    def reader(self, prepared: Prepared) -> CallReader | None:
        """What finds the thoughts and calls of one answer; None where there can be none."""
        return self._thinking.reader(prepared.ask, self._form, begun=prepared.thinks)

    async def write(self, request: Request, reply: Reply, ask: Ask) -> AsyncGenerator[Piece]:
        """One answer as it is written.

        Raises:
            ApiError: the engine could not.
        """
        shown = self._thinking.shown(ask, self._form)
        try:
            async with aclosing(self.thread.stream(request, shown=shown)) as pieces:
                async for piece in pieces:
                    yield (told := reply.push(piece))
                    if told.finish is not None:  # maybe before the text ends by itself
                        return
        except LlmkitError as error:
            if isinstance(error, DataError) and request.grammar is None:  # the model's, not the request's
                raise ApiError(500, error.problem, code="model_failed") from None
            raise as_api_error(error) from None

    async def _grammar(self, ask: Ask, tenant: str) -> Grammar | None:
        """What the texts must be, compiled.

        Raises:
            ApiError: 400: it is wrong, or takes too long.
        """
        rule = call_rule(
            self._form,
            ask.offered_tools,
            ask.tool_choice,
            parallel=ask.parallel_tool_calls,
            answer=ask.sampling.rule,
        )
        if rule is None:
            return None
        await self.prompts.check_rule(rule, self.config.vocab_size, tenant=tenant)
        try:
            async with self._compiling:
                return await asyncio.to_thread(self._grammars.compile_rule, rule)
        except LlmkitError as error:
            raise as_api_error(error, rule[0]) from None

    async def _encode(self, ask: Ask, tenant: str) -> Sequence[tuple[list[int], str]]:
        """Ids and text of each prompt; of one that came as ids no text."""
        if ask.kind == "chat":
            ids, text = await self.prompts.encode_chat(
                ask.messages,
                tools=ask.offered_tools,
                kwargs=ask.template_kwargs,
                prefill=ask.prefill,
                tenant=tenant,
            )
            return [(ids, text)]
        if ask.ids:
            return [(list(one), "") for one in ask.ids]
        if ask.suffix is not None and self.infill_form is None:
            problem = "this model has no tokens that mark a gap"
            raise refused("suffix", problem, code="unsupported_parameter")
        encoded = await self.prompts.encode_all(
            ask.texts, marks=ask.marks, suffix=ask.suffix, files=ask.files, tenant=tenant
        )
        return list(zip(encoded, ask.texts, strict=True))

    def _fit(self, ask: Ask, prompt_tokens: int) -> SamplingConfig:
        """The settings of a text, which ends where the context does.

        Raises:
            ApiError: 400: the prompt alone is too long; it is never cut.
        """
        room = self.context - prompt_tokens + ask.score_only  # whose one token of max_tokens is never drawn
        if room < 1:
            param = _prompt_param(ask)
            problem = f"{param}: {prompt_tokens:,} tokens, and the context has {self.context:,}"
            more = "" if ask.score_only else ", one of them for the answer"
            raise ApiError(400, f"{problem}{more}", code="context_length_exceeded", param=param)
        return replace(ask.sampling, max_tokens=min(ask.sampling.max_tokens, room))


def _prompt_param(ask: Ask) -> str:
    return "messages" if ask.kind == "chat" else "prompt"


def _scores_prompt(ask: Ask) -> Literal["too", "only"] | None:
    """Whether the prompt's tokens come out with their scores, or nothing else does."""
    if ask.score_only:
        return "only"
    return "too" if ask.echo and ask.sampling.logprobs is not None else None


def _sample(request: Request, sample: int) -> Request:
    """A request with the seed of one of its samples: the first has its own, as in `llmkit generate`."""
    if not sample:
        return request
    seed = derive_seed(request.sampling.seed, f"sample {sample}")
    return replace(request, sampling=replace(request.sampling, seed=seed))
