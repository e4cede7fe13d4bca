"""Costs: the row worked out for an H100, and fleets counted by hand."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.cost import (
    FleetSettings,
    cost_per_million_tokens,
    find_price,
    load_prices,
    plan_fleet,
)
from llmkit.estimate.devices import devices
from llmkit.estimate.roofline import RooflineSettings, roofline

CROWD = FleetSettings(
    users=10_000,
    concurrency=0.02,
    tokens_per_second_per_user=20.0,
    replica_tokens_per_second=2449.0,
    replica_sessions=51,
    price_per_hour=2.5,
)


def test_a_million_tokens_of_llama_3_8b_cost_28_cents_on_an_h100(llama_3_8b: Architecture) -> None:
    bound = roofline(llama_3_8b, devices()["h100"], RooflineSettings(prompt_tokens=8192, batch=51))
    assert f"{cost_per_million_tokens(2.5, bound.tokens_per_second):.3f}" == "0.284"


def test_a_token_a_second_makes_3600_an_hour() -> None:
    assert cost_per_million_tokens(3.6, 1.0) == 1000.0
    assert cost_per_million_tokens(3.6, 1.0, utilisation=0.25) == 4000.0


def test_sessions_decide_where_a_replica_holds_few() -> None:
    fleet = plan_fleet(CROWD)
    # 200 at once: 200 / 51 is 3.9 replicas to hold them, 4000 / 2449 is 1.6 to serve them
    assert (fleet.sessions, fleet.tokens_per_second) == (200, 4000.0)
    assert (fleet.replicas, fleet.gpus, fleet.bound) == (4, 4, "sessions")
    assert (fleet.cost_per_hour, fleet.cost_per_month) == (10.0, 7300.0)


def test_tokens_decide_where_users_are_fast_and_replicas_half_used() -> None:
    fleet = plan_fleet(replace(CROWD, tokens_per_second_per_user=40.0, utilisation=0.5, replica_gpus=2))
    # 8000 / 1224.5 is 6.5
    assert (fleet.replicas, fleet.gpus, fleet.bound) == (7, 14, "tokens")
    assert fleet.cost_per_month == 14 * 2.5 * 730


def test_a_fleet_without_a_price_has_no_cost() -> None:
    fleet = plan_fleet(replace(CROWD, price_per_hour=None))
    assert (fleet.replicas, fleet.cost_per_hour, fleet.cost_per_month) == (4, None, None)


@pytest.mark.parametrize(
    ("users", "concurrency", "sessions"), [(1000, 0.07, 70), (1000, 0.0701, 71), (1, 0.01, 1)]
)
def test_sessions_are_whole_and_rounded_up_but_not_for_a_float(
    users: int, concurrency: float, sessions: int
) -> None:
    assert plan_fleet(replace(CROWD, users=users, concurrency=concurrency)).sessions == sessions


def test_replicas_that_are_just_enough_are_enough() -> None:
    exact = replace(
        CROWD, users=51, concurrency=1.0, tokens_per_second_per_user=0.1, replica_tokens_per_second=1.7
    )
    assert plan_fleet(exact).replicas == 3  # 5.1 / 1.7, which floats make a little more


@pytest.mark.parametrize(
    "wrong",
    [
        *({"users": 0}, {"concurrency": 0.0}, {"concurrency": 1.5}, {"tokens_per_second_per_user": 0.0}),
        *({"replica_tokens_per_second": 0.0}, {"replica_sessions": 0}, {"replica_gpus": 0}),
        *({"utilisation": 0.0}, {"price_per_hour": -1.0}),
    ],
)
def test_a_number_out_of_range_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} is not"):
        replace(CROWD, **wrong)


def test_costs_need_a_price_and_a_rate() -> None:
    for arguments in ((0.0, 1.0), (1.0, 0.0)):
        with pytest.raises(ConfigError, match="is not above 0"):
            cost_per_million_tokens(*arguments)
    with pytest.raises(ConfigError, match="utilisation"):
        cost_per_million_tokens(1.0, 1.0, utilisation=1.1)


def test_prices_are_lines_of_a_table(tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    with pytest.raises(MissingError, match="no such file"):
        load_prices(table)
    table.write_text("h100 = 2.5\na100-80 = 1\n")
    prices = load_prices(table)
    assert prices == {"h100": 2.5, "a100-80": 1}
    assert find_price("H100", prices) == 2.5
    with pytest.raises(ConfigError, match=r"^no price for 'h1000' \(prices: h100, a100-80\)$") as caught:
        find_price("h1000", prices)
    assert caught.value.hint == "did you mean h100?"
    with pytest.raises(ConfigError) as caught:
        find_price("l4", {})
    assert caught.value.hint == "add a line to the table of prices: l4 = NUMBER"


@pytest.mark.parametrize("line", ["h100 = 'two'", "h100 = 0", "h100 = true", "[h100]\nprice = 2"])
def test_a_price_that_is_no_number_is_named(tmp_path: Path, line: str) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(line)
    with pytest.raises(ConfigError, match="h100 is not a number above 0"):
        load_prices(table)
    table.write_text("h100 =")
    with pytest.raises(DataError, match="not TOML"):
        load_prices(table)
