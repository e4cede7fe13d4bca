"""What `llmkit serve` would take with several processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.engine.config import GenerateConfig
from llmkit.server.config import ServeConfig
from llmkit.server.router.config import ModelSource, RouterConfig
from llmkit.server.tls import check_tls
from llmkit.workflows.serve.serve import ServePlan, open_serve_job, plan_serve


@dataclass(frozen=True)
class FleetPlan:
    """What a router and its workers would take."""

    models: tuple[ServePlan, ...]
    """Of one process of each version."""
    versions: tuple[str, ...]
    """NAME@VERSION:WEIGHT of each."""
    replicas: int
    workers: tuple[str, ...]
    """URLs."""
    memory_bytes: int
    """Of all processes together."""
    schema: str = "llmkit.serve-fleet-plan/1"


def plan_fleet(
    sources: Sequence[ModelSource],
    tokenizer: Path | None,
    engine: GenerateConfig,
    config: ServeConfig,
    router: RouterConfig,
) -> FleetPlan:
    """What a router would start; nothing is opened or written.

    Raises:
        LlmkitError: see `open_serve_job`; files of TLS that cannot be.
    """
    router.check_keys(config.keys)
    check_tls(config.tls_certificate, config.tls_key)
    plans = tuple(
        plan_serve(open_serve_job(Path(one.path), tokenizer, engine), config, one.name) for one in sources
    )
    return FleetPlan(
        models=plans,
        versions=tuple(f"{one.name}@{one.version or '-'}:{one.weight:g}" for one in sources),
        replicas=router.replicas,
        workers=router.workers,
        memory_bytes=router.replicas * sum(one.memory_bytes for one in plans),
    )
