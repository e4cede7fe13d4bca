"""GPT-2: learned positions, q, k and v in one matrix stored as (in, out), biases everywhere."""

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Reader, Sizes, assemble, plain_cache, split_heads
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import no_window

POSITIONS = ("learned", "sinusoidal")
"""llmkit's own models may have sinusoidal positions: their table is in the file, and is no parameter."""


def read_gpt2(keys: Keys, prefix: str) -> Architecture:
    """The architecture of a GPT-2 config.json.

    Raises:
        ConfigError: a key is missing or has a wrong value.
    """
    D, heads = keys.whole("n_embd", "hidden_size"), keys.whole("n_head", "num_attention_heads")
    sizes = Sizes(
        hidden_size=D,
        vocab_size=keys.whole("vocab_size"),
        layers=keys.whole("n_layer", "num_hidden_layers"),
        heads=heads,
        kv_heads=heads,
        head_dim=split_heads(keys, D, heads),
        max_positions=keys.whole("n_positions", "max_position_embeddings", "n_ctx", default=1024),
    )
    F = keys.whole("n_inner", default=4 * D)
    position = keys.word("position_embedding_type", default="learned")
    if position not in POSITIONS:
        keys.wrong("position_embedding_type", " or ".join(POSITIONS))
    no_window(keys, sizes.layers)
    tied = keys.flag("tie_word_embeddings", True)

    sheet = Sheet(prefix)
    sheet.tensor("transformer.wte.weight", (sizes.vocab_size, D), "embed_tokens", "embeddings")
    table, learnt = (sizes.max_positions or 0, D), position == "learned"
    sheet.tensor("transformer.wpe.weight", table, "embed_positions", "positions", learnt=learnt)
    for number in range(sizes.layers):
        _write_layer(sheet.within(f"transformer.h.{number}.", number), D, F)
    sheet.norm("transformer.ln_f", D, bias=True)
    if not tied:
        sheet.linear("lm_head", sizes.vocab_size, D, "lm_head", "head")
    caches = (plain_cache(sizes, "full", 0),) * sizes.layers
    return assemble(keys, sizes, sheet, caches, tied=tied, mlp_width=F)


def _write_layer(layer: Sheet, hidden: int, width: int) -> None:
    for norm in ("ln_1", "ln_2"):
        layer.norm(norm, hidden, bias=True)
    layer.linear("attn.c_attn", 3 * hidden, hidden, "qkv_proj", "attention", bias=True, transposed=True)
    layer.linear("attn.c_proj", hidden, hidden, "o_proj", "attention", bias=True, transposed=True)
    layer.linear("mlp.c_fc", width, hidden, "up_proj", "mlp", bias=True, transposed=True)
    layer.linear("mlp.c_proj", hidden, width, "down_proj", "mlp", bias=True, transposed=True)


READERS: dict[str, Reader] = {"gpt2": read_gpt2}
