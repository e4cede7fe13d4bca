"""The report as JSON: base units in its keys, and null for what is not known."""

import msgspec

from llmkit.workflows.kv_estimate.report import KVEstimate

BARE = KVEstimate(
    model=None,
    num_hidden_layers=2,
    layers_by_cache={"full": 2},
    num_key_value_heads=1,
    head_dim=4,
    context=8,
    batch=1,
    tensor_parallel=1,
    kv_dtype="bfloat16",
    kv_bytes_per_token=32,
    kv_bytes_per_sequence=256,
    kv_state_bytes_per_sequence=0,
    kv_bytes=256,
)


def test_what_is_not_known_is_null_and_sizes_have_their_unit() -> None:
    report = msgspec.json.decode(msgspec.json.encode(BARE))
    assert report["schema"] == "llmkit.kv-estimate/1"
    unknown = ("weights_bytes", "total_bytes", "parameters", "fits", "speed", "cost", "fleet")
    assert {report[name] for name in unknown} == {None}
    sizes = [name for name, value in report.items() if isinstance(value, int) and value >= 32]
    assert sizes and all("bytes" in name for name in sizes)


def test_room_is_what_the_memory_leaves_for_the_cache() -> None:
    one = msgspec.structs.replace(BARE, memory_bytes=100, weights_bytes=60, activations_bytes=7)
    assert one.room_bytes == 33
