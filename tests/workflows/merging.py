"""Small models of several families to merge, and the lines that merge them."""

from pathlib import Path
from typing import Any

import torch

from llmkit.formats.provenance import Invocation
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.workflows.merge.options import MergeConfig
from llmkit.workflows.merge.report import MergeReport
from llmkit.workflows.merge.run import run_merge
from tests.quant import small_models

SMALL: dict[str, Any] = {
    **{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2},
}
EXPERTS = small_models.ExpertsConfig(
    num_experts=4, num_experts_per_tok=2, intermediate_size=48, layers=(0, 1), norm_topk_prob=True
)
GPT2: dict[str, Any] = {
    **{"model_type": "gpt2", "num_key_value_heads": 4, "norm": "layer", "position": "learned"},
    **{"attention_bias": True, "output_bias": True, "mlp_bias": True, "gated_mlp": False},
    **{"hidden_act": "gelu_new", "tie_word_embeddings": True, "intermediate_size": 128},
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "tied": {"tie_word_embeddings": True},
    "gpt2": GPT2,
    "phi3": {"model_type": "phi3"},
    "mixtral": {"model_type": "mixtral", "experts": EXPERTS},
}


def write_models(place: Path, *names: str, near: float | None = None, **changes: Any) -> list[Transformer]:
    """Folders of one shape with other weights; `near`: those after the first are so far from it."""
    made: list[Transformer] = []
    for number, name in enumerate(names):
        model = small_models.model(**{**SMALL, **changes})
        generator = torch.Generator().manual_seed(100 + number)
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if number == 0 or near is None:
                    parameter.add_(noise, alpha=0.05)
                else:
                    parameter.copy_(dict(made[0].named_parameters())[_name(model, parameter)] + near * noise)
        (place / name).mkdir()
        save_model(model, place / name)
        made.append(model)
    return made


def merged(place: Path, out: str, *models: str, dry_run: bool = False, **options: Any) -> MergeReport:
    """Run a merge of folders in `place`."""
    named = tuple(
        f"{one.partition('=')[0]}={place / one.partition('=')[2]}" if "=" in one else str(place / one)
        for one in models
    )
    config = MergeConfig(models=named, **options)
    invocation = Invocation("merge", {"seed": config.seed})
    return run_merge(config, place / out, dry_run=dry_run, force=False, invocation=invocation)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """A folder's tensors by our names, float32."""
    return load_model(folder, dtype=torch.float32).state_dict()


def _name(model: Transformer, wanted: torch.nn.Parameter) -> str:
    return next(name for name, one in model.named_parameters() if one is wanted)
