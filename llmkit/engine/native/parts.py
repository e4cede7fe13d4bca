"""Where the kernels compute models, which they do of every family, and why not elsewhere."""

from llmkit.kernels import library
from llmkit.kernels.forward_structs import Activation

ACTIVATIONS = {
    "silu": Activation.SILU,
    "gelu": Activation.GELU,
    **dict.fromkeys(("gelu_new", "gelu_pytorch_tanh"), Activation.GELU_TANH),
    "relu": Activation.RELU,
    "relu2": Activation.RELU_SQUARED,
    "xielu": Activation.XIELU,
}
"""The kernels' for each hidden_act."""
_DTYPES = ("float32", "bfloat16")


def device_kind(device: str) -> str:
    """cpu or cuda, of a device's name."""
    return device.partition(":")[0]


def why_not_natively(dtype: str, device: str) -> str | None:
    """Why the kernels compute no model, to follow "the native library"; None where they can."""
    if (reason := library.why_not()) is not None:
        return reason
    if (kind := device_kind(device)) != "cpu":
        return f"does not compute on {kind}, but on a CPU"
    if dtype not in _DTYPES:
        return f"does not compute in {dtype}, but in float32 and bfloat16"
    return None


def runs_natively(dtype: str, device: str) -> bool:
    """Whether the kernels are here and compute models: they have every part of each."""
    return why_not_natively(dtype, device) is None
