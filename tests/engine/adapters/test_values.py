"""What an adapter is known by."""

import torch

from llmkit.engine.adapters.values import Adapter, Addition, digest_of


def test_a_digest_changes_with_any_number_and_not_with_the_order() -> None:
    one, two = (Addition(torch.full((1, 2), x), torch.ones(1, 3)) for x in (1.0, 2.0))
    assert digest_of({"a": one, "b": two}) == digest_of({"b": two, "a": one})
    others = [
        {"a": two, "b": one},
        {"a": one},
        {"a": one, "c": two},
        {"a": one, "b": Addition(two.a, two.b, torch.ones(3))},
    ]
    assert len({digest_of(other) for other in [{"a": one, "b": two}, *others]}) == 5


def test_bytes_are_those_of_all_tensors() -> None:
    addition = Addition(torch.ones(2, 3), torch.ones(2, 5), torch.ones(5))
    assert Adapter("x", {"a": addition, "b": addition}, "").nbytes == 2 * 4 * (6 + 10 + 5)
