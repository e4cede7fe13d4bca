"""AdamW, fused, and its state as named tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmkit.train.config import Recipe


@dataclass
class Group:
    """Parameters that are updated alike."""

    parameters: list[nn.Parameter]
    weight_decay: float


class AdamW:
    """AdamW (1711.05101) by PyTorch's fused kernel: bit for bit `torch.optim.AdamW(fused=True)`.

    torch.optim imports PyTorch's compiler with the first optimiser that is made, used or not: two seconds at
    the start of every run, and a folder left behind among temporary files.

    Attributes:
        lr: of the next step.
        state: `exp_avg`, `exp_avg_sq` and `step` of each parameter that has had a gradient.
    """

    def __init__(
        self, groups: Sequence[Group], *, lr: float, betas: tuple[float, float], eps: float = 1e-8
    ) -> None:
        self.groups = groups
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.groups:
            learnt = [(one, one.grad) for one in group.parameters if one.grad is not None]
            if not learnt:
                continue
            states = [self._state_of(parameter) for parameter, _ in learnt]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                [parameter for parameter, _ in learnt],
                [gradient for _, gradient in learnt],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                amsgrad=False,
                lr=self.lr,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=group.weight_decay,
                eps=self.eps,
                maximize=False,
            )

    def zero_grad(self) -> None:
        """Let go of all gradients."""
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return self.state[parameter]


def build_optimizer(model: nn.Module, recipe: Recipe) -> AdamW:
    """AdamW over every parameter; weight decay on matrices, none on norms and biases, stacked ones too."""
    learnt = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    decays = [one.dim() >= 2 and not name.endswith("bias") for name, one in learnt]
    groups = [
        Group([one for (_, one), decay in zip(learnt, decays, strict=True) if decay], recipe.weight_decay),
        Group([one for (_, one), decay in zip(learnt, decays, strict=True) if not decay], 0.0),
    ]
    return AdamW(
        [group for group in groups if group.parameters],
        lr=recipe.lr,
        betas=(recipe.beta1, recipe.beta2),
    )


def optimizer_tensors(optimizer: AdamW, model: nn.Module) -> dict[str, Tensor]:
    """Every state tensor under `PARAMETER.exp_avg`, `PARAMETER.exp_avg_sq` and `PARAMETER.step`."""
    return {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(optimizer: AdamW, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    for name, parameter in model.named_parameters():
        state = {
            key: tensors[f"{name}.{key}"].to(parameter.device)
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"{name}.{key}" in tensors
        }
        if state:
            optimizer.state[parameter] = state
