"""Speed, cost and fleet: what a model does on a device, and what its tokens cost there."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from llmkit.errors import ConfigError, UsageError
from llmkit.estimate.config import MOST, EstimateConfig
from llmkit.estimate.cost import FleetSettings, cost_per_million_tokens, plan_fleet
from llmkit.estimate.devices import Device
from llmkit.estimate.roofline import Roofline, RooflineSettings, batch_at_rate, roofline
from llmkit.estimate.weight_bytes import weight_bytes
from llmkit.workflows.kv_estimate.device import memory_of
from llmkit.workflows.kv_estimate.kv_estimate import cache_settings, estimate, scheme_of
from llmkit.workflows.kv_estimate.models import SizedModel, require_whole
from llmkit.workflows.kv_estimate.report import CostEstimate, FleetEstimate, KVEstimate, SpeedEstimate


class SpeedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A device, how much of it is reached, and what an hour of it costs.

    Raises:
        ConfigError: a number is out of range.
        UsageError: users without a rate, or a rate without users.
    """

    device: Device
    prompt_tokens: int | None = None
    """None: as many as the context."""
    mfu: float = 1.0
    mbu: float = 1.0
    efficiency_source: Literal["bound", "given", "calibrated"] = "bound"
    price_per_hour: float | None = None
    utilisation: float = 1.0
    users: int | None = None
    concurrency: float = 1.0
    tokens_per_second_per_user: float | None = None

    def __post_init__(self) -> None:
        for name, flag in (
            *(("mfu", "--mfu"), ("mbu", "--mbu"), ("utilisation", "--utilisation")),
            ("concurrency", "--concurrency"),
        ):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(
                    f"{flag} is not above 0 and at most 1 (found {getattr(self, name):g})",
                    hint=f"change {flag}: 0.5 is half",
                )
        for name, flag in (
            *(("prompt_tokens", "--prompt"), ("price_per_hour", "--price-per-hour"), ("users", "--users")),
            ("tokens_per_second_per_user", "--rate"),
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < MOST:
                raise ConfigError(
                    f"{flag} is not above 0 and below {MOST:g} (found {value:g})", hint=f"change {flag}"
                )
        if (self.users is None) != (self.tokens_per_second_per_user is None):
            raise UsageError(
                "a fleet needs both users and the tokens a second that each is to get",
                hint="--users 1000 --rate 20",
            )


def estimate_speeds(
    models: Iterable[SizedModel], settings: EstimateConfig, requests: Sequence[SpeedRequest]
) -> list[KVEstimate]:
    """The memory of each model with its speed and cost; raises what `estimate` and `roofline` do.

    Args:
        requests: of one device; of several with prices, that one is taken for each model whose output tokens
            cost least there, and where no device holds it, the one with the most memory.
    """
    return [
        min((_estimate(model, memory_of(one.device, settings), one) for one in requests), key=_preference)
        for model in models
    ]


def _preference(one: KVEstimate) -> tuple[bool, float]:
    if one.fits is False:
        return True, -float(one.memory_bytes or 0)
    return False, math.inf if one.usd_per_mtok is None else one.usd_per_mtok


def _estimate(model: SizedModel, settings: EstimateConfig, request: SpeedRequest) -> KVEstimate:
    require_whole(model, "--device")
    one = estimate(model, settings)
    if request.prompt_tokens is not None and request.prompt_tokens > one.context:
        raise ConfigError(
            f"a prompt of {request.prompt_tokens:,} tokens is longer than the context of {one.context:,}",
            hint=f"--context {request.prompt_tokens} or more: it counts prompt and output",
        )
    asked = _settings(model, one, settings, request)
    found = roofline(model.architecture, request.device, asked)
    cost = _cost(request, asked, found)
    return replace(
        one,
        usd_per_mtok=None if cost is None else cost.output_price_per_million_tokens,
        speed=_speed(request, asked, found),
        cost=cost,
        fleet=_fleet(model, request, asked, found),
    )


def _settings(
    model: SizedModel, one: KVEstimate, settings: EstimateConfig, request: SpeedRequest
) -> RooflineSettings:
    as_predicted = weight_bytes(model.architecture, scheme_of(model, settings))
    return RooflineSettings(
        prompt_tokens=request.prompt_tokens or one.context,
        context=one.context,
        batch=settings.batch,
        gpus=settings.tensor_parallel,
        cache=cache_settings(model, settings),
        part_bytes=as_predicted.by_part,
        weight_bytes=(one.weights_bytes or 0) * settings.tensor_parallel,
        compute_dtype=_compute_dtype(model, settings, request.device),
        mfu=request.mfu,
        mbu=request.mbu,
        memory_fraction=1.0,  # memory_bytes is what may be filled
        memory_bytes=settings.memory_bytes,
        reserved_bytes=one.activations_bytes or 0,
    )


def _compute_dtype(model: SizedModel, settings: EstimateConfig, device: Device) -> str | None:
    """A float32 model is computed in float32 where the device's rate for it is known; else None: 16 bits."""
    dtype = settings.dtype or model.architecture.dtype.removeprefix("torch.")
    return "fp32" if dtype == "float32" and "fp32" in device.flops else None


def _speed(request: SpeedRequest, asked: RooflineSettings, found: Roofline) -> SpeedEstimate:
    device = request.device
    peak = device.peak(asked.compute_dtype)
    return SpeedEstimate(
        device=device.name,
        device_memory_bytes=device.memory_bytes,
        bandwidth_bytes_per_second=device.bandwidth,
        flops_per_second=None if peak is None else peak[1],
        compute_dtype=found.compute_dtype,
        mfu=request.mfu,
        mbu=request.mbu,
        efficiency_source=request.efficiency_source,
        gpus=asked.gpus,
        prompt_tokens=asked.prompt_tokens,
        prefill_flops=found.prefill_flops,
        ttft_seconds=found.ttft_seconds,
        prefill_bound=found.prefill_bound,
        prompt_tokens_per_second=found.prompt_tokens_per_second,
        decode_flops=found.decode_flops,
        weight_bytes_read=found.weight_bytes_read,
        kv_bytes_read=found.kv_bytes_read,
        step_seconds=found.step_seconds,
        decode_bound=found.decode_bound,
        tokens_per_second=found.tokens_per_second,
        sessions=found.sessions,
    )


def _cost(request: SpeedRequest, asked: RooflineSettings, found: Roofline) -> CostEstimate | None:
    if request.price_per_hour is None:
        return None
    hourly = request.price_per_hour * asked.gpus
    prompts = found.prompt_tokens_per_second
    return CostEstimate(
        price_per_hour=request.price_per_hour,
        utilisation=request.utilisation,
        prompt_price_per_million_tokens=None
        if prompts is None
        else cost_per_million_tokens(hourly, prompts, utilisation=request.utilisation),
        output_price_per_million_tokens=cost_per_million_tokens(
            hourly, found.tokens_per_second, utilisation=request.utilisation
        ),
    )


def _fleet(
    model: SizedModel, request: SpeedRequest, asked: RooflineSettings, found: Roofline
) -> FleetEstimate | None:
    """Replicas that decode as many sessions as fit and as each get their tokens in time."""
    if request.users is None or request.tokens_per_second_per_user is None:
        return None
    rate = request.tokens_per_second_per_user
    in_time = batch_at_rate(model.architecture, request.device, asked, rate)
    together = min(in_time, found.sessions) if found.sessions is not None else in_time
    if not together:
        what = f"{rate:g} tokens a second" if not in_time else "one session's memory"
        raise ConfigError(
            f"one replica on {asked.gpus} x {request.device.name} has not {what}",
            hint="more devices for each replica (--tensor-parallel), a narrower --dtype, or a lower --rate",
        )
    made = roofline(model.architecture, request.device, replace(asked, batch=together)).tokens_per_second
    plan = plan_fleet(
        FleetSettings(
            users=request.users,
            concurrency=request.concurrency,
            tokens_per_second_per_user=rate,
            replica_tokens_per_second=made,
            replica_sessions=together,
            replica_gpus=asked.gpus,
            utilisation=request.utilisation,
            price_per_hour=request.price_per_hour,
        )
    )
    return FleetEstimate(
        users=request.users,
        concurrency=request.concurrency,
        tokens_per_second_per_user=rate,
        sessions_per_replica=together,
        replica_tokens_per_second=made,
        replicas=plan.replicas,
        gpus=plan.gpus,
        bound=plan.bound,
        price_per_month=plan.cost_per_month,
    )
