"""Where a config.json speaks of quantised weights: `quantization_config`, or MLX's `quantization`.

Apart from quantisation.py, which loads numpy with the formats: most configs have none,
and kv-estimate reads them.
"""

from collections.abc import Mapping
from typing import Any

METHODS = ("awq", "bitsandbytes", "compressed-tensors", "fp8", "gptq", "mxfp4")
"""Values of quant_method that are read; MLX writes none."""
_KEYS = ("quantization_config", "quantization")


def quantised_section(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The section that says how weights are quantised; None where there is none."""
    inner = config.get("text_config")
    for place in (config, inner) if isinstance(inner, Mapping) else (config,):
        for key in _KEYS:
            section = place.get(key)
            if isinstance(section, Mapping) and section:
                return section
    return None
