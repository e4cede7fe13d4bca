"""The MLP of a layer where it is dense.

D hidden_size, F intermediate_size.
"""

from collections.abc import Callable

import msgspec

from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes
from llmkit.model.families.states import adjusted_width
from llmkit.model.keys import Keys, Switch


class Mlp(msgspec.Struct, frozen=True):
    """The MLP of all layers."""

    width: int
    """The widest intermediate activation of a token."""
    write: Callable[[Sheet, int], None]
    """Writes the tensors of a layer, given its sheet and number."""


MlpRule = Callable[[Keys, Sizes], Mlp]


def gated(bias: Switch = False, name: str = "mlp") -> MlpRule:
    """Gate, up and down matrices (SwiGLU and its like) of a module."""

    def rule(keys: Keys, sizes: Sizes) -> Mlp:
        width, biased = keys.whole("intermediate_size"), keys.switch(bias)
        return Mlp(width, lambda layer, _: write_gated(layer, name, sizes.hidden_size, width, bias=biased))

    return rule


def gated_fused(keys: Keys, sizes: Sizes) -> Mlp:
    """Gate and up in one matrix (Phi-3)."""
    D, F = sizes.hidden_size, keys.whole("intermediate_size")

    def write(layer: Sheet, number: int) -> None:
        layer.linear("mlp.gate_up_proj", 2 * F, D, "gate_up_proj", "mlp")
        layer.linear("mlp.down_proj", D, F, "down_proj", "mlp")

    return Mlp(F, write)


def two_matrices(up: str, down: str, bias: Switch) -> MlpRule:
    """Up and down with an activation between."""

    def rule(keys: Keys, sizes: Sizes) -> Mlp:
        D, F = sizes.hidden_size, keys.whole("intermediate_size")
        biased = keys.switch(bias)

        def write(layer: Sheet, number: int) -> None:
            layer.linear(f"mlp.{up}", F, D, "up_proj", "mlp", bias=biased)
            layer.linear(f"mlp.{down}", D, F, "down_proj", "mlp", bias=biased)

        return Mlp(F, write)

    return rule


def lfm2(keys: Keys, sizes: Sizes) -> Mlp:
    """Gate w1, up w3 and down w2, of a width that is not always the file's."""
    D, F = sizes.hidden_size, adjusted_width(keys)
    return Mlp(F, lambda layer, _: write_lfm2(layer.within("feed_forward."), D, F))


def write_lfm2(sheet: Sheet, hidden: int, width: int) -> None:
    """The tensors of LFM2's MLP."""
    for name, module in (("w1", "gate_proj"), ("w3", "up_proj")):
        sheet.linear(name, width, hidden, module, "mlp")
    sheet.linear("w2", hidden, width, "down_proj", "mlp")


def learnt_curve(keys: Keys, sizes: Sizes) -> Mlp:
    """Up and down (Apertus); two factors of the activation between are learnt where it is xIELU."""
    plain = two_matrices("up_proj", "down_proj", False)(keys, sizes)
    if keys.word("hidden_act", default="xielu") != "xielu":
        return plain

    def write(layer: Sheet, number: int) -> None:
        plain.write(layer, number)
        for factor in ("alpha_p", "alpha_n"):
            layer.tensor(f"mlp.act_fn.{factor}", (1,), "activation", "mlp")

    return Mlp(plain.width, write)


def write_gated(layer: Sheet, name: str, hidden: int, width: int, *, bias: bool = False) -> None:
    """The tensors of a gated MLP."""
    for matrix in ("gate_proj", "up_proj"):
        layer.linear(f"{name}.{matrix}", width, hidden, matrix, "mlp", bias=bias)
    layer.linear(f"{name}.down_proj", hidden, width, "down_proj", "mlp", bias=bias)
