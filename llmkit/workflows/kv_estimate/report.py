"""What an estimate says of one model, as --json writes it."""

from typing import Literal

import msgspec

Attention = Literal["multi-head", "grouped-query", "multi-query", "latent", "none"]


class SpeedEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one model can be on a device. Null is what nobody knows of the device, or did not ask."""

    device: str
    device_memory_bytes: int | None
    bandwidth_bytes_per_second: float
    flops_per_second: float | None
    compute_dtype: str | None
    mfu: float
    """Part of the arithmetic that is assumed to be reached."""
    mbu: float
    """Part of the bandwidth, likewise."""
    efficiency_source: Literal["bound", "given", "calibrated"]
    """1.0 of both is a bound; else what the caller says, or a bench measured."""
    gpus: int
    prompt_tokens: int
    prefill_flops: int
    ttft_seconds: float | None
    prefill_bound: Literal["compute", "bandwidth"]
    prompt_tokens_per_second: float | None
    decode_flops: int
    """One step of the whole batch; so are the next two."""
    weight_bytes_read: int
    kv_bytes_read: int
    step_seconds: float
    decode_bound: Literal["compute", "bandwidth"]
    tokens_per_second: float
    """Of the whole batch."""
    sessions: int | None
    """Sequences of this context that fit memory_bytes: 90 % of the device's, unless another is asked for."""


class CostEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What tokens cost on hardware rented by the hour, in the currency of the price."""

    price_per_hour: float
    """Of one device."""
    utilisation: float
    """Part of the hour in which they make tokens."""
    prompt_price_per_million_tokens: float | None
    output_price_per_million_tokens: float


class FleetEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to serve a crowd of users."""

    users: int
    concurrency: float
    """Part of the users that wait for tokens at the busiest hour."""
    tokens_per_second_per_user: float
    sessions_per_replica: int
    """That a replica decodes together: as many as fit, and as get their tokens in time."""
    replica_tokens_per_second: float
    replicas: int
    gpus: int
    bound: Literal["sessions", "tokens"]
    """What asks for so many replicas."""
    price_per_month: float | None


class KVEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of one model in use, on one device. Null is what is not known, or was not asked for."""

    schema: str = "llmkit.kv-estimate/1"
    model: str | None
    """The folder, file or preset; null for flags, stdin, and a config.json named without a folder."""
    model_type: str | None = None
    attention: Attention | None = None
    num_hidden_layers: int
    layers_by_cache: dict[str, int]
    """How many layers keep what: full, sliding, chunked, latent, state, cross, shared."""
    num_attention_heads: int | None = None
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int | None = None
    parameters: int | None = None
    active_parameters: int | None = None
    """Those that one token uses, embeddings included."""
    parameters_by_part: dict[str, int] | None = None
    dtype: str | None = None
    """Of the weights."""
    weights_bytes: int | None = None
    weights_bytes_by_format: dict[str, int] | None = None
    """Where they are predicted: numbers, scales, and what a mix keeps in other formats."""
    bits_per_weight: float | None = None
    weights_source: Literal["config", "files"] | None = None
    """Predicted from the shape, or read off the headers of the files."""
    context: int
    batch: int
    tensor_parallel: int
    kv_dtype: str
    kv_bytes_per_token: int
    """One more token in all layers, before any window is full."""
    kv_bytes_per_sequence: int
    kv_state_bytes_per_sequence: int
    """The part of it that does not grow with the text."""
    kv_bytes: int
    activations_bytes: int | None = None
    total_bytes: int | None = None
    memory_bytes: int | None = None
    fits: bool | None = None
    largest_batch: int | None = None
    """Sequences of this context that memory_bytes holds; null where there is no bound too."""
    largest_context: int | None = None
    """Tokens of each of this many sequences that memory_bytes holds, likewise; the model may have fewer
    positions."""

    usd_per_mtok: float | None = None
    """Price of a million output tokens, in dollars where that is what an hour's price was in."""
    speed: SpeedEstimate | None = None
    cost: CostEstimate | None = None
    fleet: FleetEstimate | None = None

    @property
    def room_bytes(self) -> int:
        """What memory_bytes leaves for the cache."""
        return (self.memory_bytes or 0) - (self.weights_bytes or 0) - (self.activations_bytes or 0)
