"""The names and shapes of the tensors in the files of a model, from its config alone."""

from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.model.names import groups

Shape = tuple[int, ...]


def tensor_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Every tensor that the safetensors of this config hold; a tied head is none.

    `llmkit.model.save.file_tensors` gives the same; a test compares them for every family.
    """
    shapes = {}
    for tensor in architecture_of(config).tensors:
        for number in range(tensor.copies):
            shapes[tensor.name.replace("*", str(number))] = tensor.shape
    experts = config.experts
    if experts is not None and experts.selection_bias:  # a buffer: stored, and no part of an architecture
        ours = [f"model.layers.{layer}.mlp.gate.e_score_correction_bias" for layer in experts.layers]
        for group in groups(config, ours):
            shapes[group.theirs[0]] = group.shapes([(experts.num_experts,)])[0]
    if config.hidden_act == "xielu":  # likewise
        modules = [f"model.layers.{layer}.mlp.act_fn" for layer in range(config.num_hidden_layers)]
        shapes |= {f"{module}.{name}": () for module in modules for name in ("beta", "eps")}
    return shapes
