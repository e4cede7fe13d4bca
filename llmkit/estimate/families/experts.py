"""The MLP of a layer as a mixture of experts: a router, experts that a token uses some of, shared ones.

D hidden_size, F intermediate_size. Experts are named one by one where published files have them so, though
transformers 5 stacks them in memory.
"""

import msgspec

from llmkit.estimate.families.mlp import Mlp, MlpRule, write_gated, write_lfm2
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes
from llmkit.model.families.hunyuan import alike_in_all_layers
from llmkit.model.families.llama4 import LLAMA4_MLP, llama4_sparse
from llmkit.model.keys import Keys


class Experts(msgspec.Struct, frozen=True):
    """The routed experts of a layer."""

    hidden: int
    width: int
    """An expert's intermediate size."""
    count: int
    used: int
    """By one token."""

    @property
    def active(self) -> float:
        """The part of them that a token uses."""
        return self.used / self.count

    def write_one_by_one(
        self, sheet: Sheet, names: tuple[str | None, str, str] = ("gate_proj", "up_proj", "down_proj")
    ) -> None:
        """Tensors of each expert, gate, up and down under `names`; None: there is no gate."""
        shapes = ((self.width, self.hidden), (self.width, self.hidden), (self.hidden, self.width))
        modules = ("gate_proj", "up_proj", "down_proj")
        for name, (out, into), module in zip(names, shapes, modules, strict=True):
            if name is None:
                continue
            sheet.linear(
                f"experts.*.{name}", out, into, module, "experts", copies=self.count, active=self.active
            )

    def write_stacked(self, sheet: Sheet, *, bias: bool = False) -> None:
        """Two tensors for all experts, (experts, in, out)."""
        sizes = {
            "gate_up_proj": (self.hidden, 2 * self.width),
            "down_proj": (self.width, self.hidden),
        }
        for name, (into, out) in sizes.items():
            shape = (self.count, into, out)
            sheet.tensor(f"experts.{name}", shape, name, "experts", linear=True, active=self.active)
            if bias:
                shape_of_bias = (self.count, out)
                sheet.tensor(f"experts.{name}_bias", shape_of_bias, "bias", "experts", active=self.active)


def mixtral(keys: Keys, sizes: Sizes) -> Mlp:
    """w1 is the gate, w3 up, w2 down."""
    experts = _experts(keys, sizes, keys.whole("intermediate_size"))

    def write(layer: Sheet, number: int) -> None:
        sheet = layer.within("block_sparse_moe.")
        write_router(sheet, "gate", experts)
        experts.write_one_by_one(sheet, ("w1", "w3", "w2"))

    return Mlp(experts.used * experts.width, write)


def olmoe(keys: Keys, sizes: Sizes) -> Mlp:
    """Experts of intermediate_size in every layer."""
    experts = _experts(keys, sizes, keys.whole("intermediate_size"))

    def write(layer: Sheet, number: int) -> None:
        sheet = layer.within("mlp.")
        write_router(sheet, "gate", experts)
        experts.write_one_by_one(sheet)

    return Mlp(experts.used * experts.width, write)


def qwen_moe(*, shared: bool) -> MlpRule:
    """Qwen's experts in most layers; `shared`: one more that each token uses, behind a gate of its own."""

    def rule(keys: Keys, sizes: Sizes) -> Mlp:
        F = keys.whole("intermediate_size", "moe_intermediate_size")  # Qwen3.5 has no dense layers
        experts = _experts(keys, sizes, keys.whole("moe_intermediate_size"))
        own = keys.whole("shared_expert_intermediate_size") if shared else 0
        step, dense = keys.whole("decoder_sparse_step", default=1), keys.numbers("mlp_only_layers") or ()
        sparse = {n for n in range(sizes.layers) if n not in dense and (n + 1) % step == 0}
        return _one_by_one(sizes, sparse, F, experts, "shared_expert", own, gate=shared)

    return rule


def lfm2(keys: Keys, sizes: Sizes) -> Mlp:
    """Experts in all layers but the first, named as Mixtral's are."""
    D, F = sizes.hidden_size, keys.whole("intermediate_size", default=7168)
    width = keys.whole("moe_intermediate_size", default=1792)
    experts = Experts(
        D, width, keys.whole("num_experts", default=32), keys.whole("num_experts_per_tok", default=4)
    )
    keys.known("num_local_experts")
    sparse = set(range(keys.count("num_dense_layers", 2), sizes.layers))
    keys.known("use_expert_bias")  # a buffer, as DeepSeek's is

    def write(layer: Sheet, number: int) -> None:
        sheet = layer.within("feed_forward.")
        if number not in sparse:
            write_lfm2(sheet, D, F)
            return
        write_router(sheet, "gate", experts)
        experts.write_one_by_one(sheet, ("w1", "w3", "w2"))

    return Mlp(_width(sizes, sparse, F, experts, 0), write)


def deepseek(*, first_dense: int, shared: int) -> MlpRule:
    """DeepSeek's experts after some dense layers; how many, and how many experts are shared, by default.

    The router's correction bias is a buffer and no parameter, and the layers for multi-token prediction are
    not part of the language model: neither is counted.
    """

    def rule(keys: Keys, sizes: Sizes) -> Mlp:
        keys.known("num_nextn_predict_layers", "num_mtp_layers")
        kinds = keys.words("mlp_layer_types")  # GLM-4.7-Flash
        if keys.whole("moe_layer_freq", default=1) != 1:
            keys.wrong("moe_layer_freq", "1")
        F = keys.whole("intermediate_size")
        experts = _experts(keys, sizes, keys.whole("moe_intermediate_size"), "n_routed_experts")
        own = experts.width * keys.count("n_shared_experts", shared)
        sparse = set(range(keys.count("first_k_dense_replace", first_dense), sizes.layers))
        if kinds is not None:
            sparse = {layer for layer, kind in enumerate(kinds) if kind == "sparse"}
        return _one_by_one(sizes, sparse, F, experts, "shared_experts", own)

    return rule


def ernie(keys: Keys, sizes: Sizes) -> Mlp:
    """Experts in a range of layers, beside shared ones."""
    F, width = keys.whole("intermediate_size"), keys.whole("moe_intermediate_size", default=1536)
    count = keys.whole("moe_num_experts", "num_experts", default=64)
    experts = Experts(sizes.hidden_size, width, count, keys.whole("moe_k", "num_experts_per_tok", default=6))
    start, step = keys.count("moe_layer_start_index", 1), keys.whole("moe_layer_interval", default=1)
    given = keys.config.get("moe_layer_end_index")
    keys.known("moe_layer_end_index", "num_nextn_predict_layers")
    end = sizes.layers - 1 if given in (None, -1) else keys.count("moe_layer_end_index", 0)
    sparse = {n for n in range(start, min(end + 1, sizes.layers)) if (n + 1) % step == 0}
    own = width * keys.count("moe_num_shared_experts", 2)
    return _one_by_one(sizes, sparse, F, experts, "shared_experts", own)


def hunyuan(keys: Keys, sizes: Sizes) -> Mlp:
    """Experts and a shared one of the same width in every layer."""
    F, count = keys.whole("intermediate_size"), keys.whole("num_experts", "num_local_experts", default=1)
    used = alike_in_all_layers(keys, "moe_topk") or keys.whole("num_experts_per_tok", default=1)
    keys.known("moe_intermediate_size", "num_shared_expert")
    experts = Experts(sizes.hidden_size, F, count, used)

    def write(layer: Sheet, number: int) -> None:
        sheet = layer.within("mlp.")
        write_router(sheet, "gate.wg", experts)
        experts.write_one_by_one(sheet)
        write_gated(sheet, "shared_mlp", sizes.hidden_size, F)

    return Mlp((used + 1) * F, write)


def granite(keys: Keys, sizes: Sizes) -> Mlp:
    """Two tensors for all experts of a layer."""
    experts = _experts(keys, sizes, keys.whole("intermediate_size"), "num_local_experts")
    return Mlp(experts.used * experts.width, lambda layer, _: write_granite(layer, experts))


def write_granite(layer: Sheet, experts: Experts) -> None:
    """The tensors of a layer of Granite's experts."""
    sheet = layer.within("block_sparse_moe.")
    write_router(sheet, "router.layer", experts)
    D, F, N = experts.hidden, experts.width, experts.count
    stacks = (("input_linear", "gate_up_proj", (N, 2 * F, D)), ("output_linear", "down_proj", (N, D, F)))
    for name, module, shape in stacks:
        sheet.tensor(f"{name}.weight", shape, module, "experts", linear=True, active=experts.active)


def gpt_oss(keys: Keys, sizes: Sizes) -> Mlp:
    """All experts in one tensor, with biases; gate and up are interleaved."""
    experts = _experts(keys, sizes, keys.whole("intermediate_size"))
    keys.known("experts_per_token")  # num_experts_per_tok once more

    def write(layer: Sheet, number: int) -> None:
        sheet = layer.within("mlp.")
        write_router(sheet, "router", experts, bias=True)
        experts.write_stacked(sheet, bias=True)

    return Mlp(experts.used * experts.width, write)


def llama4(keys: Keys, sizes: Sizes) -> Mlp:
    """Experts in one tensor and a shared one, in some layers."""
    D, F = sizes.hidden_size, keys.whole("intermediate_size_mlp", default=LLAMA4_MLP)
    width, sparse = keys.whole("intermediate_size"), set(llama4_sparse(keys, sizes.layers))
    if not sparse:
        keys.known("num_local_experts", "num_experts_per_tok")
        return Mlp(F, lambda layer, _: write_gated(layer, "feed_forward", D, F))
    experts = _experts(keys, sizes, width)

    def write(layer: Sheet, number: int) -> None:
        if number not in sparse:
            write_gated(layer, "feed_forward", D, F)
            return
        sheet = layer.within("feed_forward.")
        write_router(sheet, "router", experts)
        experts.write_stacked(sheet)
        write_gated(sheet, "shared_expert", D, experts.width)

    return Mlp(_width(sizes, sparse, F, experts, experts.width), write)


def _one_by_one(
    sizes: Sizes,
    sparse: set[int],
    dense_width: int,
    experts: Experts,
    shared_name: str,
    shared: int,
    *,
    gate: bool = False,
) -> Mlp:
    """Experts one by one in the layers `sparse`, beside a shared one of a width that may have a gate."""

    def write(layer: Sheet, number: int) -> None:
        if number not in sparse:
            write_gated(layer, "mlp", experts.hidden, dense_width)
            return
        sheet = layer.within("mlp.")
        write_router(sheet, "gate", experts)
        experts.write_one_by_one(sheet)
        write_gated(sheet, shared_name, experts.hidden, shared)
        if gate:
            sheet.linear(f"{shared_name}_gate", 1, experts.hidden, "router", "router")

    return Mlp(_width(sizes, sparse, dense_width, experts, shared), write)


def _experts(keys: Keys, sizes: Sizes, width: int, first: str = "num_experts") -> Experts:
    """The routed experts; transformers reads either name, and adds the other."""
    count = keys.whole(first, "num_local_experts", "num_experts")
    used = keys.whole("num_experts_per_tok")
    if used > count:
        keys.wrong("num_experts_per_tok", f"at most the number of experts, {count}")
    return Experts(sizes.hidden_size, width, count, used)


def write_router(sheet: Sheet, name: str, experts: Experts, *, bias: bool = False) -> None:
    """The matrix that gives a layer's experts their scores."""
    sheet.linear(name, experts.count, experts.hidden, "router", "router", bias=bias)


def _width(sizes: Sizes, sparse: set[int], dense_width: int, experts: Experts, shared: int) -> int:
    """The widest activation of a token in a dense layer, in the experts it uses, or in the shared one."""
    routed = max(experts.used * experts.width, shared) if sparse else 0
    return max(routed, dense_width if len(sparse) < sizes.layers else 0)
