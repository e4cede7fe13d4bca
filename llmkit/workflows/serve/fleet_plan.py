"""What `llmkit serve` would take with several processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.engine.config import GenerateConfig
from llmkit.server.config import ServeConfig
from llmkit.server.router.config import ModelSource, RouterConfig
from llmkit.workflows.serve.front import check_places
from llmkit.workflows.serve.ray_cluster import import_ray
from llmkit.workflows.serve.serve import ServePlan, open_serve_job, plan_serve


@dataclass(frozen=True)
class FleetPlan:
    """What a router and its workers would take."""

    models: tuple[ServePlan, ...]
    """Of one process of each version."""
    versions: tuple[str, ...]
    """Of each, NAME@VERSION:WEIGHT as the command line has it; its name where it has no version."""
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
        LlmkitError: see `open_serve_job` and `check_places`; there is no Ray, and it is asked for.
    """
    router.check_keys(config.keys)
    check_places(config, router.admin_socket)
    if router.engine == "ray":
        import_ray()  # what is not there is said now, as by the run
    plans = tuple(
        plan_serve(open_serve_job(Path(one.path), tokenizer, engine), config, one.name) for one in sources
    )
    return FleetPlan(
        models=plans,
        versions=tuple(
            f"{one.name}@{one.version}:{one.weight:g}" if one.version else one.name for one in sources
        ),
        replicas=router.replicas,
        workers=router.workers,
        memory_bytes=router.replicas * sum(one.memory_bytes for one in plans),
    )
