"""Figures for Prometheus: counted as requests end and passes run, or read from the engine when asked for.

Names are vLLM's, with `llmkit_` in front and their unit at the end.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from llmkit.server.engine_load import EngineLoad
from llmkit.server.keyed_gate import KeyedGate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LEFT = 499
"""Status of a request whose client left before its answer began."""
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


Figures = tuple[tuple[str, str, Callable[[EngineLoad], float]], ...]


class Metrics:
    """A server's figures."""

    def __init__(
        self,
        loads: Callable[[], dict[str, EngineLoad]],
        versions: Callable[[], dict[str, str]],
        gate: KeyedGate | None = None,
    ) -> None:
        """
        Args:
            loads: of each engine, by the name of its model.
            versions: the fingerprint of each model.
            gate: has the queue, and what keys were refused and charged; None: another process has it.
        """
        self._registry = CollectorRegistry()
        self._registry.register(_Engines(loads, gate))
        self._versions = versions
        self._info = Gauge(
            "llmkit_model_version_info",
            "1 for each model served",
            ("model", "fingerprint"),
            registry=self._registry,
        )
        self._requests = Counter(
            "llmkit_request_success",
            "Answers, by how they ended",
            ("model", "finished_reason"),
            registry=self._registry,
        )
        self._responses = Counter(
            "llmkit_http_responses",
            "Responses, by path and status",
            ("path", "status"),
            registry=self._registry,
        )
        self._prompt = self._tokens("llmkit_prompt_tokens", "Tokens read")
        self._cached = self._tokens("llmkit_prompt_tokens_cached", "Of them, found in the cache")
        self._written = self._tokens("llmkit_generation_tokens", "Tokens written")
        self._charged = Counter(
            "llmkit_tokens_charged", "Tokens read and written, by key", ("key",), registry=self._registry
        )
        self._first = self._histogram("llmkit_time_to_first_token_seconds", "From arrival to the first token")
        self._whole = self._histogram("llmkit_e2e_request_latency_seconds", "From arrival to the last byte")
        self._between = self._histogram(
            "llmkit_inter_token_latency_seconds", "Mean of a request's answers, after the first"
        )

    def add(self, record: dict[str, Any], paths: Iterable[str]) -> None:
        """A request is over.

        Args:
            record: of the request log.
            paths: those that there are; what is asked for elsewhere is counted together.
        """
        path = record["path"] if record["path"] in paths else "other"
        self._responses.labels(path, str(record["status"])).inc()
        if "prompt_tokens" not in record or 400 <= record["status"] < _LEFT:  # refused, maybe by a worker
            return
        model, written = record["model"], record["completion_tokens"]
        self._requests.labels(model, record["finish_reason"] or "abort").inc()
        first = record.get("first_token_seconds")
        if first is None:
            return
        self._prompt.labels(model).inc(record["prompt_tokens"])
        self._cached.labels(model).inc(record["cached_tokens"])
        self._written.labels(model).inc(written)
        self._charged.labels(record.get("key", "")).inc(record["prompt_tokens"] + written)
        self._first.labels(model).observe(first)
        self._whole.labels(model).observe(record["seconds"])
        answers = record.get("answers", 1)
        if written > answers:  # of each answer, as they are written at once
            after_first = (written - answers) / answers
            self._between.labels(model).observe((record["seconds"] - first) / after_first)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        self._info.clear()
        for model, fingerprint in self._versions().items():
            self._info.labels(model, fingerprint).set(1)
        return generate_latest(self._registry)

    def _tokens(self, name: str, what: str) -> Counter:
        return Counter(name, what, ("model",), registry=self._registry)

    def _histogram(self, name: str, what: str) -> Histogram:
        return Histogram(name, what, ("model",), buckets=_SECONDS, registry=self._registry)


def families_text(families: Sequence[Metric]) -> bytes:
    """Families of figures, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry)


class _Families:
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        """Called by prometheus_client."""
        return self._families


class _Engines:
    """What is read from the engines when somebody asks."""

    _GAUGES: Figures = (
        ("num_requests_running", "Texts at work", lambda load: load.running),
        ("num_requests_waiting", "Texts that wait for a place", lambda load: load.waiting),
        ("num_prompts_waiting", "Prompts that wait to be encoded", lambda load: load.prompts_waiting),
        ("kv_cache_usage_perc", "Share of the cache in use", lambda load: 1 - load.free_blocks / load.blocks),
        ("kv_cache_blocks", "Blocks of the cache", lambda load: load.blocks),
        ("kv_cache_free_blocks", "Of them, those that nobody uses", lambda load: load.free_blocks),
    )
    _COUNTERS: Figures = (
        ("prompt_rejections", "Prompts refused: too many waited", lambda load: load.prompts_refused),
        ("num_preemptions", "Texts that lost their memory to an older one", lambda load: load.preemptions),
        ("iterations", "Passes of the model", lambda load: load.passes),
        ("iteration_tokens", "Tokens computed in passes", lambda load: load.computed_tokens),
        (
            "prefix_cache_queries",
            "Prompt tokens looked for in the cache",
            lambda load: load.cached_tokens + load.prefill_tokens,
        ),
        ("prefix_cache_hits", "Of them, found", lambda load: load.cached_tokens),
        ("spec_decode_num_draft_tokens", "Tokens guessed", lambda load: load.proposed_drafts),
        ("spec_decode_num_accepted_tokens", "Of them, right", lambda load: load.accepted_drafts),
        ("kv_offloaded_blocks", "Blocks copied to host memory", lambda load: load.offloaded_blocks),
        ("kv_restored_blocks", "Blocks copied back from it", lambda load: load.restored_blocks),
    )

    def __init__(self, loads: Callable[[], dict[str, EngineLoad]], gate: KeyedGate | None) -> None:
        self._loads = loads
        self._gate = gate

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client."""
        loads = self._loads()
        for name, what, value in self._GAUGES if loads else ():  # a router has none; its workers have
            gauge = GaugeMetricFamily(f"llmkit_{name}", what, labels=("model",))
            for model, load in loads.items():
                gauge.add_metric([model], value(load))
            yield gauge
        for name, what, value in self._COUNTERS if loads else ():
            counter = CounterMetricFamily(f"llmkit_{name}", what, labels=("model",))
            for model, load in loads.items():
                counter.add_metric([model], value(load))
            yield counter
        if self._gate is not None:
            yield from _of_gate(self._gate)


def _of_gate(gate: KeyedGate) -> Iterable[Metric]:
    queue = GaugeMetricFamily("llmkit_admitted_tokens", "Tokens of requests under way")
    queue.add_metric([], gate.admission.tokens)
    yield queue
    rejected = CounterMetricFamily("llmkit_admission_rejections", "Requests refused", labels=("reason",))
    rejected.add_metric(["queue_full"], gate.admission.rejected)
    yield rejected
    limited = CounterMetricFamily(
        "llmkit_rate_limited", "Requests over a limit of their key", labels=("key",)
    )
    for key, count in gate.limited.items():
        limited.add_metric([key], count)
    yield limited
    unwritten = GaugeMetricFamily(
        "llmkit_usage_unwritten_requests", "Requests that the file of usage does not have yet"
    )
    unwritten.add_metric([], gate.unwritten)
    yield unwritten


ENGINE_FAMILIES = frozenset(f"llmkit_{name}" for name, *_ in (*_Engines._GAUGES, *_Engines._COUNTERS))
"""Names of the figures that are an engine's; all others are of requests."""
