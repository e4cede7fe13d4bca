"""Speed, cost and fleet of one model as text."""

from typing import TYPE_CHECKING

from llmkit.commands.facts import Facts, facts_lines, plural
from llmkit.commands.values import format_bytes

if TYPE_CHECKING:
    from llmkit.workflows.kv_estimate.report import KVEstimate, SpeedEstimate


def speed_lines(one: "KVEstimate", width: int) -> list[str]:
    """What the device does, what it is taken to reach, and what tokens cost there."""
    speed = one.speed
    if speed is None:
        return []
    facts: Facts = [
        ("device", _device(speed)),
        ("first token", _first_token(speed)),
        (
            "decode",
            [
                f"{_time(speed.step_seconds)} a token",
                f"{speed.tokens_per_second:,.1f} tokens/s for {plural(one.batch, 'sequence')}",
                f"{speed.decode_bound} binds",
                f"reads {format_bytes(speed.weight_bytes_read)} of weights",
                f"{format_bytes(speed.kv_bytes_read)} of cache",
            ],
        ),
        ("sessions", None if speed.sessions is None else f"{speed.sessions:,} of {one.context:,} tokens fit"),
        ("assumed", _assumed(speed)),
    ]
    if one.cost is not None:
        prompt = one.cost.prompt_price_per_million_tokens
        facts.append(
            (
                "cost",
                [
                    *([] if prompt is None else [f"{prompt:.3g} for a million prompt tokens"]),
                    f"{one.cost.output_price_per_million_tokens:.3g} for a million output tokens",
                    f"at {one.cost.price_per_hour:g} an hour and device",
                    f"{one.cost.utilisation:.0%} of it used",
                ],
            )
        )
    if one.fleet is not None:
        fleet = one.fleet
        month = [] if fleet.price_per_month is None else [f"{fleet.price_per_month:,.0f} a month"]
        facts.append(
            (
                "fleet",
                [
                    f"{plural(fleet.replicas, 'replica')} on {plural(fleet.gpus, 'device')}",
                    f"each decodes {plural(fleet.sessions_per_replica, 'session')} together",
                    f"{fleet.bound} decide",
                    *month,
                ],
            )
        )
    return facts_lines(facts, width)


def _device(speed: "SpeedEstimate") -> list[str]:
    count = f"{speed.gpus} x " if speed.gpus > 1 else ""
    known = [f"{count}{speed.device}", f"{speed.bandwidth_bytes_per_second / 1e9:,.1f} GB/s"]
    if speed.flops_per_second is not None:
        known.append(f"{speed.flops_per_second / 1e12:,.4g} TFLOPS in {speed.compute_dtype}")
    return known


def _first_token(speed: "SpeedEstimate") -> list[str] | str:
    if speed.ttft_seconds is None or speed.prompt_tokens_per_second is None:
        return "not known: the table says no arithmetic of this device"
    return [
        f"{_time(speed.ttft_seconds)} for {plural(speed.prompt_tokens, 'prompt token')}",
        f"{speed.prompt_tokens_per_second:,.0f} tokens/s",
        f"{speed.prefill_bound} binds",
    ]


def _assumed(speed: "SpeedEstimate") -> list[str]:
    source = {
        "bound": "a bound that nothing exceeds",
        "given": "as given",
        "calibrated": "as llmkit bench measured what is below 100%",
    }[speed.efficiency_source]
    return [f"MFU {speed.mfu:.0%}", f"MBU {speed.mbu:.0%}", source]


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.4g} ms"
