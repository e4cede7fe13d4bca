"""What the engines of all workers do, as Prometheus reads it: each worker's own figures, with its name.

Of requests the router has figures of its own, which a worker's would count twice.
"""

from collections.abc import Mapping, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from llmkit.server.metrics import ENGINE_FAMILIES, families_text
from llmkit.server.router.processes import ask_all
from llmkit.server.router.worker import Worker

ANSWER_SECONDS = 1.0
"""A worker that takes longer is left out; `llmkit_worker_up` tells of it."""


async def engines_text(workers: Sequence[Worker]) -> bytes:
    """The figures of the engines of those that answer."""
    up = [one for one in workers if one.takes_requests]
    replies = await ask_all(up, "/metrics", seconds=ANSWER_SECONDS)
    return merged({one.who: one.content.decode(errors="replace") for one in replies})


def merged(texts: Mapping[str, str]) -> bytes:
    """The engines' families of several texts as one, each sample with the label `worker`.

    Args:
        texts: of workers, by their names; one that is no such text tells nothing.
    """
    families: dict[str, Metric] = {}
    for worker, text in texts.items():
        for family in _families(text):
            if family.name not in ENGINE_FAMILIES:
                continue
            one = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                one.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
    return families_text(list(families.values()))


def _families(text: str) -> list[Metric]:
    try:
        return list(text_string_to_metric_families(text))
    except ValueError:
        return []
