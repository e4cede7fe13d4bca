"""Mamba (arXiv:2312.00752) and Mamba-2 (arXiv:2405.21060): no attention, a state of fixed size in each layer.

D hidden_size, N state_size, R time_step_rank. A layer's state is
width * N numbers, and the last kernel - 1 inputs of the convolution.
"""

from collections.abc import Callable

from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Reader, Sizes, assemble
from llmkit.model.config_states import Mamba2Config
from llmkit.model.keys import Keys


def read_mamba(keys: Keys, prefix: str) -> Architecture:
    """The architecture of a Mamba config.json.

    Raises:
        ConfigError: a key is missing or has a wrong value.
    """
    sizes = _sizes(keys)
    D, N = sizes.hidden_size, keys.whole("state_size", default=16)
    width = keys.whole("intermediate_size", default=_width(keys, sizes))
    kernel, biased, conv_biased = _convolution(keys)
    automatic = keys.config.get("time_step_rank", "auto") == "auto"
    keys.known("time_step_rank")
    R = -(-D // 16) if automatic else keys.whole("time_step_rank")

    def write(sheet: Sheet) -> None:
        sheet.tensor("A_log", (width, N), "other", "attention")
        sheet.tensor("D", (width,), "other", "attention")
        _write_convolution(sheet, width, kernel, conv_biased)
        sheet.linear("in_proj", 2 * width, D, "in_proj", "attention", bias=biased)
        sheet.linear("x_proj", R + 2 * N, width, "other", "attention")
        sheet.linear("dt_proj", width, R, "other", "attention", bias=True)
        sheet.linear("out_proj", D, width, "out_proj", "attention", bias=biased)

    state = LayerCache(kind="state", recurrent=width * N, conv=width * (kernel - 1))
    return _read(keys, sizes, prefix, write, state, width, tied=True)


def read_mamba2(keys: Keys, prefix: str) -> Architecture:
    """The architecture of a Mamba-2 config.json.

    Raises:
        ConfigError: a key is missing or has a wrong value.
    """
    sizes = _sizes(keys)
    kernel, biased, conv_biased = _convolution(keys)
    heads, head_dim = keys.whole("num_heads", default=128), keys.whole("head_dim", default=64)
    if (width := _width(keys, sizes)) != heads * head_dim:
        keys.wrong("num_heads", f"{width} / head_dim ({head_dim})")
    mamba = Mamba2Config(
        layers=tuple(range(sizes.layers)),
        num_heads=heads,
        head_dim=head_dim,
        num_groups=keys.whole("n_groups", default=8),
        state_size=keys.whole("state_size", default=128),
        kernel=kernel,
        conv_bias=conv_biased,
        bias=biased,
    )
    keys.known("chunk_size", "time_step_rank", "intermediate_size")

    def write(sheet: Sheet) -> None:
        write_mamba2(sheet, sizes.hidden_size, mamba)

    return _read(keys, sizes, prefix, write, mamba2_cache(mamba), width, tied=False)


def write_mamba2(sheet: Sheet, hidden: int, mamba: Mamba2Config) -> None:
    """The tensors of one layer's module."""
    for name in ("dt_bias", "A_log", "D"):
        sheet.tensor(name, (mamba.num_heads,), "other", "attention")
    _write_convolution(sheet, mamba.convolved, mamba.kernel, mamba.conv_bias)
    rows = mamba.width + mamba.convolved + mamba.num_heads
    sheet.linear("in_proj", rows, hidden, "in_proj", "attention", bias=mamba.bias)
    if mamba.norm:
        sheet.norm("norm", mamba.width)
    sheet.linear("out_proj", hidden, mamba.width, "out_proj", "attention", bias=mamba.bias)


def mamba2_cache(mamba: Mamba2Config) -> LayerCache:
    """What a layer keeps of a text: a matrix for each head, and the convolution's last inputs."""
    return LayerCache(
        kind="state", recurrent=mamba.width * mamba.state_size, conv=mamba.convolved * (mamba.kernel - 1)
    )


def _read(
    keys: Keys,
    sizes: Sizes,
    prefix: str,
    write: Callable[[Sheet], None],
    state: LayerCache,
    width: int,
    *,
    tied: bool,
) -> Architecture:
    """The parts that both share; `tied` is the class's default."""
    tied = keys.flag("tie_word_embeddings", tied)
    table = (sizes.vocab_size, sizes.hidden_size)
    sheet = Sheet(prefix)
    sheet.tensor("backbone.embeddings.weight", table, "embed_tokens", "embeddings")
    for number in range(sizes.layers):
        layer = sheet.within(f"backbone.layers.{number}.", number)
        layer.norm("norm", sizes.hidden_size)
        write(layer.within("mixer."))
    sheet.norm("backbone.norm_f", sizes.hidden_size)
    if not tied:
        sheet.linear("lm_head", *table, "lm_head", "head")
    return assemble(keys, sizes, sheet, (state,) * sizes.layers, tied=tied, mlp_width=width)


def _sizes(keys: Keys) -> Sizes:
    keys.known("pad_vocab_size_multiple")  # vocab_size is padded already
    return Sizes(
        hidden_size=keys.whole("hidden_size"),
        vocab_size=keys.whole("vocab_size"),
        layers=keys.whole("num_hidden_layers"),
        heads=0,
        kv_heads=0,
        head_dim=0,
        max_positions=None,
    )


def _width(keys: Keys, sizes: Sizes) -> int:
    return keys.whole("expand", default=2) * sizes.hidden_size


def _convolution(keys: Keys) -> tuple[int, bool, bool]:
    """Tokens it spans; whether the projections have a bias, and whether the convolution has."""
    kernel = keys.whole("conv_kernel", default=4)
    return kernel, keys.flag("use_bias"), keys.flag("use_conv_bias", True)


def _write_convolution(sheet: Sheet, channels: int, kernel: int, biased: bool) -> None:
    sheet.tensor("conv1d.weight", (channels, 1, kernel), "conv1d", "attention")
    if biased:
        sheet.tensor("conv1d.bias", (channels,), "bias", "attention")


READERS: dict[str, Reader] = {"mamba": read_mamba, "mamba2": read_mamba2}
