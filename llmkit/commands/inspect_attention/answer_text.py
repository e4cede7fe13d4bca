"""Lens, ablation and attribution of `llmkit inspect-attention` as text for people."""

from llmkit.commands.facts import quoted, visible
from llmkit.commands.shared import align
from llmkit.workflows.inspect_attention.report import AblationPart, AttributionPart, LensPart

_HEADS_SHOWN = 20
_SHOWN = 0.00005
"""The smallest number that four decimals show."""


def lens_lines(part: LensPart) -> list[str]:
    """What would be said after each layer, and when the answer appears."""
    rows = [
        (
            *(f"{one.layers}", f"{one.rank:,}", f"{one.probability:.4f}", f"{one.kl_nats:.3f}"),
            *(visible(quoted(one.top)), f"{one.top_probability:.3f}"),
        )
        for one in part.layers
    ]
    head = ("layers", "rank", "prob", "KL", "top", "its prob")
    settled = "" if part.settled == part.first_final else f", and stays there from {part.settled}"
    return [
        f"after token {part.query.position} {quoted(part.query.text)}: {quoted(part.answer)} by layer",
        *align([head, *rows], right=(0, 1, 2, 3, 5), indent=2).split("\n"),
        f"  the final top token is on top first after {part.first_final}{settled}; KL to the last, in nats",
    ]


def ablation_lines(part: AblationPart) -> list[str]:
    """What each head's absence does, the most first."""
    order = sorted(part.heads, key=lambda one: -one.kl_nats)
    rows = [
        (
            f"{one.layer}.{one.head}",
            "" if one.loss_change_nats is None else f"{one.loss_change_nats:+.4f}",
            *(f"{one.kl_nats:.4f}", f"{one.logit_change:+.3f}", f"{one.probability_change:+.4f}"),
        )
        for one in order
    ]
    where = f"{quoted(part.target)} after token {part.query.position}"
    return [
        f"each head alone put to {part.by}: change of the loss (nats), KL, logit and",
        f"probability of {where}",
        *align([("head", "loss", "KL", "logit", "prob"), *rows], right=(1, 2, 3, 4), indent=2).split("\n"),
    ]


def attribution_lines(part: AttributionPart) -> list[str]:
    """The parts of a logit, the largest heads first."""
    flat = [
        (value, f"{layer}.{head}") for layer, row in enumerate(part.heads) for head, value in enumerate(row)
    ]
    order = sorted(flat, key=lambda one: -abs(one[0]))
    shown = order[:_HEADS_SHOWN]
    rows = [("embedding", f"{part.embedding:+.4f}")]
    rows += [(f"head {name}", f"{value:+.4f}") for value, name in shown]
    if len(order) > len(shown):
        rows.append(
            (
                f"{len(order) - len(shown)} other heads",
                f"{sum(value for value, _ in order[len(shown) :]):+.4f}",
            )
        )
    rows += [(f"MLP {layer}", f"{value:+.4f}") for layer, value in enumerate(part.mlps)]
    biases = sum(part.attention_biases) + part.bias
    if abs(biases) >= _SHOWN:
        rows.append(("biases", f"{biases:+.4f}"))
    rows.append(("sum", f"{part.total:+.4f}"))
    capped = (
        [] if part.capped_logit is None else [f"  which the model caps softly, to {part.capped_logit:+.4f}"]
    )
    return [
        f"the logit {part.logit:+.4f} of {quoted(part.target)} after token {part.query.position}, in parts",
        *capped,
        *align(rows, right=(1,), indent=2).split("\n"),
    ]
