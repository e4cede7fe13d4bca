"""The model families by model_type: how each one's config.json is read and written, its tensors kept."""

from llmkit.model.families.dense import DENSE
from llmkit.model.families.family import Family
from llmkit.model.families.hybrid import HYBRID
from llmkit.model.families.layer_norm import LAYER_NORM
from llmkit.model.families.sparse import SPARSE

FAMILIES: dict[str, Family] = DENSE | LAYER_NORM | SPARSE | HYBRID
"""A family is added to dense.py, layer_norm.py, sparse.py or hybrid.py, out of parts."""
