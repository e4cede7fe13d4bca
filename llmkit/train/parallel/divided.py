"""A model as the processes of a run hold it: whole, in shards, cut by heads; and what that asks for."""

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from llmkit.model.here import is_spread
from llmkit.model.moe import Experts
from llmkit.model.quantised.float8_linear import use_float8
from llmkit.model.transformer import Transformer
from llmkit.train.config import ActivationCheckpointing, PretrainConfig, Recipe
from llmkit.train.loss import Batch
from llmkit.train.parallel.loss_pass import LossPass
from llmkit.train.parallel.ranks import ALONE, MeshRanks, Ranks
from llmkit.train.parallel.recompute import recompute
from llmkit.train.parallel.replicas import GradientSum
from llmkit.train.parallel.row_cut import part_of_stream
from llmkit.train.parallel.tensors import total_norm, whole

if TYPE_CHECKING:
    from llmkit.train.parallel.pipeline import Pipeline


def divide_model(
    model: Transformer, config: PretrainConfig, recipe: Recipe, ranks: Ranks = ALONE
) -> "Divided":
    """A model as the settings of a run ask for it."""
    if config.compile and ranks is ALONE:
        model.model.make_tables(recipe.seq_len)  # made in the first pass, all is compiled anew for the second
    return Divided(
        model,
        ranks,
        dtype=recipe.dtype,
        recomputing=config.activation_checkpointing,
        compiles=config.compile,
        fp8=recipe.fp8,
    )


class Divided:
    """A model on one process, or on its part of several.

    Args:
        model: in training, the same on every process; changed in place.
        ranks: the processes.
        dtype: of the arithmetic.
        recomputing: what is computed again in the backward pass.
        compiles: compile the forward pass.
        fp8: matrices of the layers multiply in float8.
    """

    def __init__(
        self,
        model: Transformer,
        ranks: Ranks = ALONE,
        *,
        dtype: str = "float32",
        recomputing: ActivationCheckpointing = "none",
        compiles: bool = False,
        fp8: bool = False,
    ) -> None:
        self.model = model
        self.ranks = ranks
        self.loss_pass = LossPass(model)
        self.pipeline: Pipeline | None = None
        self._sums: list[GradientSum] = []
        degrees = ranks.degrees
        root: nn.Module = self.loss_pass
        layers = list(model.model.layers)
        if fp8:
            use_float8(model.model.layers, pieces=degrees.tp)
        if isinstance(ranks, MeshRanks):
            if degrees.pp > 1:
                from llmkit.train.parallel import pipeline

                root = stage = pipeline.Stage(model, ranks.stage, degrees.pp, pieces=degrees.tp)
                self.pipeline = pipeline.Pipeline(stage, ranks)
                layers = [layers[index] for index in stage.layers]
            if degrees.tp > 1:
                from llmkit.train.parallel.tensor_parallel import cut_matrices

                cut_matrices(model, ranks.mesh["tp"])
            cut = {name for name, one in model.named_parameters() if is_spread(one)}
            if degrees.ep > 1:
                from llmkit.train.parallel.expert_parallel import spread_experts

                spread_experts(model, ranks.mesh["ep"])
            if degrees.cp > 1:
                from llmkit.train.parallel.context_parallel import cut_context

                breaks = compiles and recomputing == "none"  # nothing may break what is computed again
                cut_context(model, ranks.group("cp"), ranks.cut, breaks=breaks)
        recompute(layers, recomputing)
        if compiles:
            for module in [self.loss_pass] if ranks is ALONE else layers:
                module.compile()
        if isinstance(ranks, MeshRanks):
            if degrees.fsdp > 1:
                from llmkit.train.parallel.fully_sharded import shard_weights

                shard_weights(root, layers, ranks, dtype=dtype)
            self._sums = self._left_to_sum(ranks, cut)

    @cached_property
    def trained(self) -> list[nn.Parameter]:
        """The parameters of this process that want a gradient, in their order."""
        return [one for one in self.model.parameters() if one.requires_grad]

    def _left_to_sum(self, ranks: MeshRanks, cut: set[str]) -> list[GradientSum]:
        """The sums of gradients over processes that nothing else sees to.

        Args:
            ranks: the processes.
            cut: names of the matrices that --tp cuts; from all else each of its processes learns apart.
        """
        sizes = vars(ranks.degrees)
        shared = () if ranks.degrees.fsdp > 1 else ("dp", "cp")  # else shards are summed as they are made
        apart: dict[tuple[str, ...], list[nn.Parameter]] = {}
        stacks = (one for one in self.model.modules() if isinstance(one, Experts))
        experts = {id(one) for stack in stacks for one in stack.parameters()}
        for name, one in self.model.named_parameters():
            if one.requires_grad:
                among = {*shared} if id(one) in experts or not shared else {*shared, "ep"}
                among |= set() if name in cut else {"tp"}
                apart.setdefault(tuple(at for at in sizes if at in among and sizes[at] > 1), []).append(one)
        return [GradientSum(some, ranks.group(*among)) for among, some in apart.items() if among]

    def counted(self, part: Batch) -> Tensor | None:
        """Which of the positions that routers here meet are no padding; None: all."""
        return None if part.real is None else part_of_stream(part.real, self.ranks.stream)

    def expect_last(self) -> None:
        """The next backward pass is the last of an update."""
        for one in self._sums:
            one.expect_last()

    def finish_gradients(self) -> list[Tensor]:
        """The gradients of an update, summed over the processes that share its batch: their parts here."""
        for one in self._sums:
            one.finish()
        if self.pipeline is not None:
            self.pipeline.share_tied()
        return [one.grad for one in self.trained if one.grad is not None]

    def norm(self) -> Tensor:
        """Of the whole gradient, without shape; the same on every process."""
        pipeline, parameters = self.pipeline, self.trained
        if pipeline is not None:
            parameters = [one for one in parameters if pipeline.is_counted(one)]
        group = None if pipeline is None else pipeline.group
        return total_norm((one.grad for one in parameters if one.grad is not None), group)

    def whole_tensors(self) -> dict[str, Tensor]:
        """The tensors of the model, as one process has them: see `gathered`."""
        return self.gathered(self.model.state_dict())

    def gathered(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of this process, and those of the others, whole. Every process has to call this.

        Where they lay in parts, the first process has them in the memory of its CPU, one after the other, and
        the others only know their shapes (device meta).
        """
        if not self.ranks.degrees.is_split:
            return tensors
        if self.pipeline is not None:
            return self.pipeline.gathered(tensors, self._kept)
        return {name: self._kept(whole(tensor)) for name, tensor in tensors.items()}

    def _kept(self, tensor: Tensor) -> Tensor:
        return tensor.to("cpu" if self.ranks.is_first else "meta")

    def whole_model(self) -> Transformer:
        """The model as one process has it: itself where it lies in no parts, else what `gathered` gives."""
        if not self.ranks.degrees.is_split:
            return self.model
        with torch.device("meta"):
            model = Transformer(self.model.config)
        model.load_state_dict(self.whole_tensors(), assign=True)
        return model
