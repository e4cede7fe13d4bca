"""Writes texts with one model: any number at a time, each as if it were alone.

One step is plan, run, commit: the scheduler chooses tokens, the model computes them, and what is drawn from
its scores goes back into the texts. Nothing here knows of files, strings or clients.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.engine.adapters.adapters import AdapterBank
from llmkit.engine.blocks import BlockPool, root_key
from llmkit.engine.counts import Counts
from llmkit.engine.drafts import Proposer
from llmkit.engine.gain import Gain
from llmkit.engine.hidden import HiddenSums
from llmkit.engine.layer_groups import groups_on
from llmkit.engine.machinery import make_machinery, model_device
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.offload import HostMemory
from llmkit.engine.parallel.alone import ALONE, Alone
from llmkit.engine.request import Drawn, Event, FinishReason, Request
from llmkit.engine.sampling import sampler_of, told
from llmkit.engine.scheduler import Scheduler, Work
from llmkit.engine.speculation import Speculation
from llmkit.engine.speculation_report import SpeculationReport
from llmkit.engine.state_memory import StateMemory, check_offload, num_slots, verified_states
from llmkit.engine.text import Text
from llmkit.engine.text_memory import TextMemory
from llmkit.kernels.memory import Floats
from llmkit.model.rope_scaling import ORIGINAL, depends_on_length

if TYPE_CHECKING:
    from llmkit.model.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How much an engine does at once, and with how much memory."""

    positions: int = 0
    """Positions that the cache holds, of all texts together, in whole blocks; 0: the model's context. Layers
    that see a window have room for those of `max_texts` texts and as many again: see `LayerGroups`."""
    block_tokens: int = 16
    max_texts: int = 32
    """Texts at work at once."""
    pass_tokens: int = 512
    """Tokens of a pass: enough to fill the machine, few enough that no text waits long for its next token."""
    reuse: bool = True
    """Whether what texts have in common is computed once."""
    lets_go: bool = True
    """Whether layers that see a window let go of what it has passed; where not, all of a text is found."""
    kv_dtype: str | None = None
    """What keys and values are kept in: float32, bfloat16, float16, or int8 (`kv_codes`); None: the
    model's."""
    offload_bytes: int = 0
    """Host memory for what the cache has no room for and may be asked for again; 0: it is forgotten."""


class Engine:
    """The owner of a model's texts and memory. Not for several threads."""

    def __init__(
        self,
        model: "Transformer | PackedModel",
        config: EngineConfig = EngineConfig(),
        *,
        stop_ids: Iterable[int] = (),
        proposer: Proposer | None = None,
        gain: Gain | None = None,
        lead: Alone = ALONE,
    ) -> None:
        """
        Args:
            model: packed for the kernels, which then compute; or in evaluation mode.
            config: sizes.
            stop_ids: ids that end a text, beside those that the model's config names.
            proposer: guesses at tokens ahead; they change the speed and never the text.
            gain: turns guesses off while they lose; None: they are always made.
            lead: of other processes, where these have the other parts of the model.
        """
        self.counts = Counts()
        self.max_texts = config.max_texts
        self.model, self._pass_tokens = model, config.pass_tokens
        self.lead = lead
        self._stop_ids = frozenset((*model.config.eos_token_ids, *stop_ids))
        self._speculation = None if proposer is None else Speculation(proposer, gain)
        scaling = model.config.rope_scaling or {}
        self._original = int(scaling.get(ORIGINAL) or 0)
        self._length_matters = scaling["rope_type"] if depends_on_length(model.config.rope_scaling) else None
        whole = not config.lets_go or lead is not ALONE
        groups = groups_on(model.config, config.block_tokens, model_device(model), whole=whole)
        pass_tokens = max(config.pass_tokens, config.max_texts)
        positions = config.positions or model.config.max_position_embeddings
        num_blocks = groups.blocks_for(positions, config.max_texts, config.block_tokens, pass_tokens)
        check_offload(model.config, config.offload_bytes)
        earlier = 0 if proposer is None else verified_states(config.max_texts, proposer.count)
        self.pages, self.store, runner, states = make_machinery(
            model,
            num_blocks,
            config.block_tokens,
            kv_dtype=config.kv_dtype,
            max_texts=config.max_texts,
            in_parts=lead is not ALONE,
            groups=groups,
            slots=num_slots(config.max_texts, earlier),
        )
        self.host = HostMemory(self.store, config.offload_bytes) if config.offload_bytes else None
        self.pool = BlockPool(num_blocks, [] if self.host is None else [self.host])
        self.states = None if states is None else StateMemory(states, config.max_texts, earlier)
        memory = TextMemory(
            self.pool,
            config.block_tokens,
            groups,
            pass_tokens=pass_tokens,
            reuse=config.reuse and self._length_matters is None,
            states=self.states,
        )
        dynamic = self._length_matters == "dynamic"
        self._scheduler = Scheduler(
            memory, max_texts=config.max_texts, pass_tokens=pass_tokens, whole=dynamic
        )
        self._runner = lead.over(runner)
        self.adapters = AdapterBank(model, self._runner)  # they come and go while it runs
        self._texts: dict[int, Text] = {}
        self._scoring: list[Text] = []
        """Those of which prompt tokens are still to be scored."""
        self._count = 0
        self.on_rows: Callable[[int, Floats], None] | None = None
        """Hears of the scores (R, V) of a text's places, and of its number, before anything is drawn."""

    @property
    def working(self) -> list[Text]:
        """Texts that have memory."""
        return list(self._scheduler.working)

    @property
    def is_idle(self) -> bool:
        """Whether there is no text."""
        return not self._texts

    def speculation(self) -> SpeculationReport | None:
        """What came of guesses so far; None where none are made."""
        return None if self._speculation is None else self._speculation.report()

    def submit(self, request: Request) -> int:
        """Take in a request; its number names its text in events.

        Raises:
            UsageError, DataError: see `Request.check`; also, no such adapter.
            ResourceError: it could come to need more memory than there is.
        """
        config = self.model.config
        request.check(config)
        adapter = self.adapters.find(request.adapter)
        root = root_key(*request.cached_under("" if adapter is None else adapter.digest))
        text = Text(
            number=self._count,
            request=request,
            sampler=sampler_of(request, config.vocab_size, request.ends(self._stop_ids)),
            room=request.room(config),
            tokens=list(request.read),
            given=list(request.prompt[len(request.read) :]),
            tables=self._scheduler.memory.tables(root),
            adapter=adapter,
        )
        self._scheduler.submit(text)
        self.adapters.hold(adapter)
        self._texts[text.number] = text
        if text.given:
            self._scoring.append(text)
        self._count += 1
        return text.number

    def hidden_sums(self, rows: Sequence[Sequence[int]], skipped: Sequence[int]) -> HiddenSums:
        """What adds up the base's hidden states of texts, pass by pass, in memory of its own."""
        return HiddenSums(self.model, rows, skipped, most=self._pass_tokens, over=self.lead.aside)

    def abort(self, number: int) -> None:
        """Give up a text; its memory is free at once. Nothing happens if it is over."""
        text = self._texts.pop(number, None)
        if text is not None:
            self._end(text)

    def step(self) -> list[Event]:
        """Draw the next token of each text that is so far; several of one text where drafts were right."""
        if self._speculation is not None:
            ready = [text for text in self._scheduler.working if text.is_ready]
            self._speculation.begin(ready, [self._most_drafts(text) for text in ready])
        for text in self._scoring:  # tokens that are given are guesses that are right
            text.guess_given()
        if not (works := self._scheduler.plan()):
            return []
        events: list[Event] = []
        try:
            scores = self._runner.run(works)
        except Exception as error:  # such as memory that a pass needs for itself: the others go on
            return [self._fail(work, error) for work in works]
        self.counts.add_pass(works, self._scheduler.restarts, self.host)
        for work, rows in zip(works, scores, strict=True):
            if rows is None:
                self._scheduler.commit(work, work.start + work.count)
                continue
            if self.on_rows is not None:
                self.on_rows(work.text.number, rows)
            try:
                for event in self._draw(work, rows):
                    events.append(event)  # one by one: what came before an error stays
            except Exception as error:
                events.append(self._fail(work, error))
        if self._speculation is not None and not self._scoring:
            self._speculation.end(works, sum(event.drawn is not None for event in events))
        self._scoring = [text for text in self._scoring if text.given and text.number in self._texts]
        return events

    def run(self, request: Request) -> Iterator[Drawn]:
        """The tokens of one text as they are drawn; the last one says why it is the last.

        Raises:
            UsageError, DataError, ResourceError: see `submit`; also scores that are not numbers.
        """
        number = self.submit(request)
        try:
            while number in self._texts:
                for event in self.step():
                    if event.number != number:
                        continue
                    if event.error is not None:
                        raise event.error
                    assert event.drawn is not None
                    yield event.drawn
        finally:
            self.abort(number)

    def _fail(self, work: Work, error: Exception) -> Event:
        self.abort(work.text.number)
        return Event(work.text.number, None, error)

    def _draw(self, work: Work, rows: Floats) -> Iterator[Event]:
        """Tokens after the last known one: those given, the drafts that are drawn anyway, and one more."""
        text = work.text
        drafts = text.drafts[: work.num_drafts]
        text.drafts = []
        known, num_given = len(text.tokens), min(len(text.given), len(drafts) + 1)
        for place in range(len(drafts) + 1):
            if place < num_given:
                yield Event(text.number, drawn := text.give(rows[place]), from_cache=text.from_cache)
                if (finish := drawn.finish) is not None:
                    break
                continue
            token = text.sampler.draw(rows[place])
            text.tokens.append(token)
            finish = self._finish(text, token)
            if finish != "stop" and text.sampler.is_complete:
                drawn = Drawn(token, finish := "stop", completes=True)
            else:
                drawn = Drawn(token, finish)
            drawn = told(drawn, rows[place], text.request)
            yield Event(text.number, drawn, from_cache=text.from_cache)
            if finish is not None or place == len(drafts) or token != drafts[place]:
                break
        right = place
        self._scheduler.commit(work, known + right)
        self.counts.drawn_tokens += right + 1 - num_given
        self.counts.accepted_drafts += right if not num_given else 0
        if self._speculation is not None and drafts and not num_given:
            self._speculation.learn(text, len(drafts), right)
        if finish is not None:
            del self._texts[text.number]
            self._end(text)
        elif self._length_matters == "longrope" and text.drawn > 0 and len(text.tokens) == self._original + 1:
            self._scheduler.restart(text)  # as in transformers: another list of factors from here on

    def _finish(self, text: Text, token: int) -> FinishReason | None:
        if token in text.request.ends(self._stop_ids):
            return "stop"
        return None if text.drawn < text.room else "length"

    def _most_drafts(self, text: Text) -> int:
        """Tokens after the next one that can be drawn in the same pass."""
        most = text.room - text.drawn - 1
        within = self._original - len(text.tokens)
        if self._length_matters is None:
            return most
        if within >= 0:  # no pass goes over the border, where the rotation of all positions changes
            return min(most, within)
        # beyond it dynamic rope turns each position by the length of the text when it was read
        return 0 if self._length_matters == "dynamic" else most

    def _end(self, text: Text) -> None:
        self._scheduler.finish(text)
        self.adapters.give_back(text.adapter)
        if self._speculation is not None:
            self._speculation.forget(text)
