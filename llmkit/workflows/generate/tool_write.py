"""The loop of `llmkit generate` where functions may be called: one conversation after the other."""

import time
from collections.abc import Iterable
from dataclasses import replace

from llmkit.engine.completion import Completion
from llmkit.engine.request import Drawn, Request
from llmkit.engine.seeds import derive_seed
from llmkit.formats.jsonl import raw
from llmkit.workflows.generate.row import Refusal, Row
from llmkit.workflows.generate.write import Writing, seeded
from llmkit.workflows.tool.talk import ToolTalk


class ToolWriting(Writing):
    """Writes the answers of one job. Records have the whole conversation: finetune and --replay read it."""

    def write(self, rows: Iterable[Row | Refusal], total: int | None) -> None:
        """See `Writing.write`."""
        assert self._job.talk is not None
        begin = time.perf_counter()
        done = 0
        try:
            for row in rows:
                if isinstance(row, Refusal):
                    self._refuse(row)
                    continue
                for sample in range(row.request.sampling.samples):
                    self._answer(self._job.talk, seeded(row, sample), sample)
                    self.written.seconds = time.perf_counter() - begin
                done += 1
                speed = self.written.completion_tokens / self.written.seconds
                self._progress.update(done, total, **{"tok/s": f"{speed:,.0f}"})
        except BaseException:
            self._output.abandon()
            raise

    def _answer(self, talk: ToolTalk, row: Row, sample: int) -> None:
        assert row.messages is not None
        messages, before, reread = [*row.messages], len(row.messages), 0
        drawn: list[Drawn] = []
        text, ends = "", None
        self._output.begin(row)

        def request(done: int, drawn: int) -> Request:
            nonlocal reread
            asked = self._request(talk, row, messages, done, drawn)
            reread += len(asked.prompt) if done else 0
            return asked

        for said in talk.reply(self.meter, messages, request):
            text += said.text
            self._output.write(said.text, said.piece.token)
            if said.asks:  # what is said of its calls, and the next text, have lines of their own
                self._output.write("\n" if text else "")
                text = ""
            ends = said.piece.completion
            drawn += () if ends is None else ends.drawn
        assert ends is not None
        calls = sum(len(one.get("tool_calls", ())) for one in messages[before:])
        messages.append({"role": "assistant", "content": text})
        told = {"messages": messages, "tools": talk.toolbox.functions, "calls": calls}
        record = row.record | {key: raw(value) for key, value in told.items()}
        row = replace(row, record=record, reread_tokens=reread)
        whole = Completion(text, tuple(drawn), ends.finish)
        self._output.end(row, whole, sample)
        self._count(row, whole)

    def _request(
        self, talk: ToolTalk, row: Row, messages: list[dict[str, object]], done: int, drawn: int
    ) -> Request:
        """The next text of an answer, after so many calls and tokens; the first is the row's own."""
        sampling = row.request.sampling
        rule = talk.rule(sampling, done)
        own = replace(sampling, samples=1)
        if not done:
            return self._job.bound(replace(row.request, sampling=own), rule)
        ids, _ = talk.encode(messages, **row.settings)
        seed = derive_seed(sampling.seed, f"call {done}")
        own = replace(own, seed=seed, max_tokens=sampling.max_tokens - drawn)
        request = self._job.bound(replace(row.request, prompt=ids, sampling=own), rule)
        request.check(self._job.model)
        return request
