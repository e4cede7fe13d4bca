"""Which tensor of one model is which of another."""

from llmkit.workflows.diff.names import embedding_of, pair_names

BODY = [
    "embed_tokens.weight",
    *(f"layers.{n}.{m}.weight" for n in range(2) for m in ("mlp.up_proj", "input_layernorm")),
    "norm.weight",
]


def prefixed(before: str, names: list[str] = BODY) -> list[str]:
    return [before + name for name in names]


def test_equal_names_pair_and_the_rest_is_listed_in_the_order_of_its_file() -> None:
    found = pair_names(["c", "a", "x.z", "x.b"], ["a", "q", "c"])
    assert found.pairs == [("c", "c"), ("a", "a")]
    assert (found.only_a, found.only_b, found.prefix) == (["x.z", "x.b"], ["q"], None)


def test_names_that_differ_by_a_prefix_pair_behind_it() -> None:
    found = pair_names(BODY, prefixed("model."))
    assert found.pairs == [(name, f"model.{name}") for name in BODY]
    assert found.prefix is not None
    assert (found.prefix.a, found.prefix.b, found.prefix.tensors) == ("", "model.", len(BODY))
    turned = pair_names(prefixed("model."), BODY)
    assert turned.prefix is not None and (turned.prefix.a, turned.prefix.b) == ("model.", "")


def test_two_prefixes_may_stand_against_each_other_and_what_has_no_counterpart_is_left() -> None:
    found = pair_names(
        [*prefixed("model.language_model."), "lm_head.weight"],
        [*prefixed("language_model.model."), "extra.weight"],
    )
    assert found.prefix is not None
    assert (found.prefix.a, found.prefix.b) == ("model.language_model.", "language_model.model.")
    assert len(found.pairs) == len(BODY)
    assert (found.only_a, found.only_b) == (["lm_head.weight"], ["extra.weight"])


def test_another_layer_or_another_module_is_no_prefix() -> None:
    layers = pair_names(["model.layers.0.mlp.up.weight"], ["model.layers.1.mlp.up.weight"])
    assert layers.prefix is None and layers.pairs == []
    modules = pair_names(["lm_head.weight"], ["norm.weight"])
    assert modules.prefix is None and modules.only_a == ["lm_head.weight"]


def test_a_few_accidents_among_many_unlike_names_are_no_prefix() -> None:
    mine = [f"a{n}.b{n}.weight" for n in range(10)] + ["x.norm.weight"]
    other = [f"c{n}.d{n}.weight" for n in range(10)] + ["y.norm.weight"]
    assert pair_names(mine, other).prefix is None


def test_each_counterpart_is_taken_once() -> None:
    found = pair_names(prefixed("model."), [*prefixed("base_model.model.model."), *prefixed("other.")])
    assert len({other for _, other in found.pairs}) == len(found.pairs) == len(BODY)
    assert len(found.only_b) == len(BODY)


def test_a_head_knows_its_embedding() -> None:
    names = ["model.embed_tokens.weight", "lm_head.weight"]
    assert embedding_of("lm_head.weight", names) == "model.embed_tokens.weight"
    assert embedding_of("lm_head.weight", ["transformer.wte.weight"]) == "transformer.wte.weight"
    assert embedding_of("embed_out.weight", ["gpt_neox.embed_in.weight"]) == "gpt_neox.embed_in.weight"
    assert embedding_of("model.norm.weight", names) is None
    assert embedding_of("lm_head.weight", ["model.norm.weight"]) is None
