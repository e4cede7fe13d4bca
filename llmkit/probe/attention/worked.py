"""One query's attention in numbers a reader can check: scores, scaled, softmax, weighted sum.

Shapes: S keys that the query sees, E numbers of a query and key, X numbers of a value.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.probe.attention.ablate import head_columns
from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.rows import head_of, head_output, positions_of


@dataclass(frozen=True)
class Worked:
    """Every step of one row, in float64."""

    layer: int
    head: int
    query: int
    """Position in the text, from 0."""
    keys: list[int]
    """Positions that the query sees, S of them."""
    scale: float
    softcap: float | None
    q: Tensor
    """(E,)."""
    k: Tensor
    """(S, E)."""
    products: list[float]
    """q . k_j."""
    scaled: list[float]
    """scale * products."""
    capped: list[float]
    """softcap * tanh(scaled / softcap); scaled where there is no softcap."""
    exponentials: list[float]
    """exp(capped - largest), the largest over keys and the sink."""
    sink: float | None
    """Score of the learnt sink."""
    sink_exponential: float
    """exp(sink - largest); 0 where there is none."""
    weights: list[float]
    """exponentials over their sum, with the sink's."""
    null: float
    """The sink's weight, which takes nothing home."""
    v: Tensor
    """(S, X)."""
    mixed: Tensor
    """(X,) the sum over keys of weight times value."""
    output: Tensor
    """(D,) what that adds to the stream through the output matrix, without its bias; in the model's dtype."""


@torch.no_grad()
def worked_example(captured: Captured, head: int, query: int) -> Worked:
    """The arithmetic of one row, written out.

    Args:
        captured: the layer.
        head: from 0; a negative one counts from the end.
        query: position; a negative one counts from the end.

    Raises:
        UsageError: no such head or query.
    """
    head = head_of(captured, head)
    query = int(positions_of(captured, [query])[0])
    first = captured.first_key(query)
    group = captured.group(head)
    q = captured.q[head, query].double()
    k, v = captured.k[group, first : query + 1].double(), captured.v[group, first : query + 1].double()
    products = k @ q
    scaled = products * captured.scale
    cap = captured.softcap
    capped = scaled if cap is None else (scaled / cap).tanh() * cap
    sink = None if captured.sinks is None else float(captured.sinks[head])
    largest = float(capped.max()) if sink is None else max(float(capped.max()), sink)
    exponentials = (capped - largest).exp()
    sink_exponential = 0.0 if sink is None else float(torch.tensor(sink - largest, dtype=torch.float64).exp())
    total = float(exponentials.sum()) + sink_exponential
    weights = exponentials / total
    mixed = weights @ v
    home = mixed
    if captured.gate is not None:
        home = mixed * captured.gate[query, head_columns(captured.gate.shape[-1], captured.heads, head)]
    return Worked(
        layer=captured.layer,
        head=head,
        query=query,
        keys=list(range(first, query + 1)),
        scale=captured.scale,
        softcap=cap,
        q=q,
        k=k,
        products=products.tolist(),
        scaled=scaled.tolist(),
        capped=capped.tolist(),
        exponentials=exponentials.tolist(),
        sink=sink,
        sink_exponential=sink_exponential,
        weights=weights.tolist(),
        null=sink_exponential / total,
        v=v,
        mixed=mixed,
        output=head_output(captured, head, home[None].to(captured.v.dtype))[0],
    )
