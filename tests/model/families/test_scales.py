"""Factors of embeddings, scores, branches and logits."""

from collections.abc import Callable

import pytest

from llmkit.errors import ConfigError
from llmkit.model.families.scales import GraniteScales, QueryScalar, RootOfWidth
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]


@pytest.mark.parametrize("scalar", [1, 9, 144, 168, 256, 20.5])
def test_scores_are_divided_by_the_root_of_the_scalar(scalar: float, keys: MakeKeys) -> None:
    found = QueryScalar().read(keys(query_pre_attn_scalar=scalar), {})
    assert found["attention_scale"] == pytest.approx(1 / scalar**0.5, rel=1e-12)
    written = QueryScalar().write({**found, "head_dim": 4})
    assert written["query_pre_attn_scalar"] == pytest.approx(scalar, rel=1e-12)
    assert isinstance(written["query_pre_attn_scalar"], type(scalar))
    assert QueryScalar().read(keys(), {}) == {"attention_scale": 1 / 16}


@pytest.mark.parametrize("scalar", [-1, 0.0])
def test_a_scalar_without_a_root_is_refused(scalar: float, keys: MakeKeys) -> None:
    with pytest.raises(ConfigError, match="query_pre_attn_scalar is not a number above 0"):
        QueryScalar().read(keys(query_pre_attn_scalar=scalar), {})


def test_gemmas_embeddings_are_multiplied_with_the_root_of_the_width(keys: MakeKeys) -> None:
    assert RootOfWidth().read(keys(), {"hidden_size": 49}) == {"embedding_scale": 7.0}
    assert RootOfWidth().write({"embedding_scale": 7.0}) == {}


def test_granite_multiplies_three_and_divides_the_logits(keys: MakeKeys) -> None:
    given = {"embedding_multiplier": 12.0, "residual_multiplier": 0.5}
    given |= {"attention_multiplier": 0.125, "logits_scaling": 8.0}
    found = GraniteScales().read(keys(**given), {})
    assert found == {
        **{"embedding_scale": 12.0, "residual_scale": 0.5, "attention_scale": 0.125, "logit_scale": 0.125}
    }
    assert GraniteScales().write({**found, "head_dim": 4}) == given
    assert (
        GraniteScales().write({**found, "attention_scale": 0.0, "head_dim": 4})["attention_multiplier"] == 0.5
    )
    with pytest.raises(ConfigError, match="logits_scaling is not a number other than 0"):
        GraniteScales().read(keys(logits_scaling=0), {})
