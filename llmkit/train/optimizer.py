"""AdamW, fused, alone or beside Muon, and their state as named tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmkit.model.shapes import CONVOLUTIONS
from llmkit.train.config import Recipe
from llmkit.train.muon import Muon, State
from llmkit.train.parallel.tensors import like, local, part_of
from llmkit.train.width_scaling import rate_share

STATE_NAMES = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
"""What a parameter has: the first three of AdamW, the last of Muon."""
EPS = 1e-8
"""AdamW's, as in torch.optim."""


@dataclass
class Group:
    """Parameters that are updated alike."""

    parameters: list[nn.Parameter]
    weight_decay: float
    rate_share: float = 1.0
    """What of the learning rate is theirs."""


class AdamW:
    """AdamW (1711.05101) by PyTorch's fused kernel: bit for bit `torch.optim.AdamW(fused=True)`.

    torch.optim imports PyTorch's compiler with the first optimiser that is made, used or not: two seconds at
    the start of every run, and a folder left behind among temporary files.

    Attributes:
        lr: of the next step.
        state: `exp_avg`, `exp_avg_sq` and `step` of each parameter that has had a gradient.
    """

    def __init__(self, groups: Sequence[Group], *, lr: float, betas: tuple[float, float]) -> None:
        self.groups = groups
        self.lr = lr
        self.betas = betas
        self.state: State = {}

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.groups:
            learnt = [one for one in group.parameters if one.grad is not None]
            if not learnt:
                continue
            states = [self._state_of(parameter) for parameter in learnt]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                [local(one) for one in learnt],
                [local(one.grad) for one in learnt if one.grad is not None],
                [local(state["exp_avg"]) for state in states],
                [local(state["exp_avg_sq"]) for state in states],
                [],
                steps,
                amsgrad=False,
                lr=self.lr * group.rate_share,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=group.weight_decay,
                eps=EPS,
                maximize=False,
            )

    def zero_grad(self) -> None:
        """Let go of all gradients."""
        _let_go_of_gradients(self.groups)

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return self.state[parameter]


class MuonAdamW:
    """Muon for the matrices of layers, AdamW for embeddings, the head, norms and biases; one rate for both.

    Attributes:
        state: of both.
    """

    def __init__(self, muon: Muon, adamw: AdamW) -> None:
        self.muon = muon
        self.adamw = adamw
        self.groups = [Group(list(muon.matrices), muon.weight_decay), *adamw.groups]
        self.state = adamw.state

    @property
    def lr(self) -> float:
        """Of the next step."""
        return self.adamw.lr

    @lr.setter
    def lr(self, lr: float) -> None:
        """Of the next step, of both."""
        self.adamw.lr = self.muon.lr = lr

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.muon.step()
        self.adamw.step()

    def zero_grad(self) -> None:
        """Let go of all gradients."""
        _let_go_of_gradients(self.groups)


Optimizer = AdamW | MuonAdamW


def _let_go_of_gradients(groups: Sequence[Group]) -> None:
    for group in groups:
        for parameter in group.parameters:
            parameter.grad = None


_NO_MATRICES = ("bias", *CONVOLUTIONS)
"""Ends of names whose tensors may have the dimensions of a matrix, or of a stack, and are none."""


def build_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser over every parameter that is trained.

    Weight decay on matrices, none on norms, biases, stacked ones too, and convolutions. Muon takes the
    matrices of layers: rows of an embedding are looked up one by one, and logits are no hidden states. With a
    base width, matrices that read the width learn at a rate of their own, and decay as fast as the others.
    """
    learnt = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    hidden = hidden_matrices(model) if recipe.optimizer == "muon" else []
    apart = {id(one) for one in hidden}
    rest = [
        (one.dim() >= 2 and not name.endswith(_NO_MATRICES), one)
        for name, one in learnt
        if id(one) not in apart
    ]
    share, wide = rate_share(recipe.mup_base_width, model), set[int]()
    if recipe.mup_base_width is not None:
        heads = [one for name, one in learnt if name == "lm_head.weight"]
        wide = {id(one) for one in (*hidden_matrices(model), *heads)}
    groups = [
        Group([one for decays, one in rest if decays and id(one) not in wide], recipe.weight_decay),
        Group([one for _, one in rest if id(one) in wide], recipe.weight_decay / share, share),
        Group([one for decays, one in rest if not decays], 0.0),
    ]
    adamw = AdamW(
        [group for group in groups if group.parameters],
        lr=recipe.lr,
        betas=(recipe.beta1, recipe.beta2),
    )
    if recipe.optimizer == "adamw":
        return adamw
    muon = Muon(
        hidden,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        dtype=torch.bfloat16 if recipe.dtype == "bfloat16" else torch.float32,
        state=adamw.state,
    )
    return MuonAdamW(muon, adamw)


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The trained matrices that Muon is for, stacks of them too: all but embeddings and the head."""
    apart = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    return [
        one
        for name, one in model.named_parameters()
        if one.requires_grad
        and one.dim() >= 2
        and id(one) not in apart
        and not name.endswith(_NO_MATRICES)
        and not name.startswith("lm_head.")
    ]


def optimizer_tensors(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Every state tensor under `PARAMETER.` and one of STATE_NAMES."""
    return {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(optimizer: Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    for name, parameter in model.named_parameters():
        state = {
            key: tensors[f"{name}.{key}"].to(parameter.device)
            for key in STATE_NAMES
            if f"{name}.{key}" in tensors
        }
        if state:
            optimizer.state[parameter] = {
                key: value if key == "step" else like(part_of(value, parameter), parameter)
                for key, value in state.items()
            }
