"""What the handlers of a router share."""

import asyncio
from dataclasses import dataclass, field

from llmkit.server.gate import Gate
from llmkit.server.kept_responses import KeptResponses
from llmkit.server.metrics import Metrics
from llmkit.server.router.adapters import FleetAdapters
from llmkit.server.router.fleet import Fleet


@dataclass
class RouterState:
    """The gate stands here and nowhere else: workers let in whom the router sends."""

    fleet: Fleet
    gate: Gate
    metrics: Metrics
    adapters: FleetAdapters = field(default_factory=FleetAdapters)
    """What is loaded beside the models."""
    kept: KeptResponses = field(default_factory=KeptResponses)
    """Responses that clients go on from."""
    draining: bool = False
    """Whether new requests are refused, because the server is about to end or an admin says so."""
    in_flight: int = 0
    """Requests under way."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when their time is over."""
    log_prompts: bool = False
    """Whether the log has what was said."""
