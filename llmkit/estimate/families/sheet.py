"""Writes down a model's tensors, one after the other, under the names of its files."""

import math

import msgspec

from llmkit.estimate.architecture import Part, TensorSpec


class Sheet(msgspec.Struct, frozen=True):
    """A list of tensors, and where in the model the next one is."""

    prefix: str = ""
    """Put before each name."""
    layer: int | None = None
    tensors: list[TensorSpec] = msgspec.field(default_factory=list)

    def within(self, prefix: str, layer: int | None = None) -> "Sheet":
        """The same list, inside a module; `layer` where that module is a layer."""
        return Sheet(self.prefix + prefix, self.layer if layer is None else layer, self.tensors)

    def linear(
        self,
        name: str,
        out: int,
        into: int,
        module: str,
        part: Part,
        *,
        bias: bool = False,
        transposed: bool = False,
        copies: int = 1,
        active: float = 1.0,
    ) -> None:
        """A linear layer of `into` inputs and `out` outputs, or `copies` alike with `*` for their number.

        Args:
            transposed: stored as (in, out), GPT-2's way.
            active: the part of the copies that one token uses.
        """
        shape = (into, out) if transposed else (out, into)
        self.tensor(f"{name}.weight", shape, module, part, linear=True, copies=copies, active=active)
        if bias:
            self.tensor(f"{name}.bias", (out,), "bias", part, copies=copies, active=active)

    def norm(self, name: str, *shape: int, bias: bool = False, copies: int = 1) -> None:
        """A norm's weight; a LayerNorm has a bias as well."""
        self.tensor(f"{name}.weight", shape, "norm", "norms", copies=copies)
        if bias:
            self.tensor(f"{name}.bias", shape, "norm", "norms", copies=copies)

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        module: str,
        part: Part,
        *,
        linear: bool = False,
        copies: int = 1,
        active: float = 1.0,
        learnt: bool = True,
    ) -> None:
        """Any tensor under its whole name, such as `embed_tokens.weight`."""
        if not math.prod(shape) * copies:
            return  # of a branch that this model has not
        name = self.prefix + (name if copies > 1 else name.replace("*", "0"))
        self.tensors.append(
            TensorSpec(
                name=name,
                shape=shape,
                part=part,
                module=module,
                linear=linear,
                layer=self.layer,
                copies=copies,
                active=active,
                learnt=learnt,
            )
        )
