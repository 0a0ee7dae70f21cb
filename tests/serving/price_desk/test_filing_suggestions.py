from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from configs.zone_settings import ZoneSettings
from features.contracts.tables import TABLES, TIMESTAMP
from features.database import reading, transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from models.demand.uncertainty.aggregates import SPANS, AggregateDistributions, ItemSpread
from models.demand.uncertainty.counts import CountDistribution
from serving.audit.repository import AuditRecords
from serving.database.audit_log import SYSTEM, Decider
from serving.price_desk import decisions
from serving.price_desk.filing import file_suggestions
from serving.pricing_inputs.horizon_forecast import select_horizon
from serving.pricing_inputs.item_facts import read_item_terms
from tests.shops.price_desk import (
    NOW,
    SYSTEM_NOW,
    make_decider,
    make_suggestion,
    read_statuses,
    store_suggestions,
)


def refile(engine, *drafts):
    about, system = {"objective": "profit"}, Decider(SYSTEM, NOW, SYSTEM_NOW)
    with transaction(engine) as connection:
        return file_suggestions(connection, system, "run", "default", drafts, about)


def test_a_new_run_takes_the_place_of_what_still_waits(engine):
    waiting, decided, other = store_suggestions(
        engine,
        make_suggestion("milk"),
        make_suggestion("tea"),
        make_suggestion("milk", zone="north"),
    )
    with transaction(engine) as connection:
        decisions.reject(connection, make_decider(), decided)
    filed = refile(engine, make_suggestion("milk", 120), make_suggestion("tea", 120))
    assert (len(filed.ids), filed.superseded) == (2, 1)
    assert read_statuses(engine, [waiting, decided, other]) == [
        "superseded",
        "rejected",
        "submitted",
    ]
    assert read_statuses(engine, filed.ids) == ["submitted", "submitted"]
    with reading(engine) as connection:
        deeds = AuditRecords(connection).page()
    assert [deed.action for deed in deeds] == ["reject", "supersede", "suggest"]
    assert deeds[-1].details == {
        "zone": "default",
        "objective": "profit",
        "filed": 2,
        "superseded": 1,
    }


def test_a_run_without_suggestions_is_logged_where_it_supersedes(engine):
    assert refile(engine).ids == []
    with reading(engine) as connection:
        assert AuditRecords(connection).page() == []
    (waiting,) = store_suggestions(engine, make_suggestion("milk"))
    assert refile(engine).superseded == 1
    assert read_statuses(engine, [waiting]) == ["superseded"]
    with reading(engine) as connection:
        deeds = AuditRecords(connection).page()
    assert [deed.action for deed in deeds] == ["supersede", "suggest"]
    assert (deeds[-1].details["filed"], deeds[-1].details["superseded"]) == (0, 1)


def forecasts(*rows):
    names = ["unique_id", "zone", "ds", "mean", "p10", "p50", "p90"]
    types = [pa.string(), pa.string(), TIMESTAMP, *[pa.float64()] * 4]
    table = [dict(zip(names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(table, pa.schema(list(zip(names, types, strict=True))))


class WeeklyForecasts:
    """A demand model as prices read it."""

    def __init__(self, forecasts, aggregates=None):
        self.forecasts, self.aggregates = forecasts, aggregates


@pytest.mark.parametrize("late", [timedelta(0), timedelta(hours=3)])
def test_the_forecast_of_a_horizon_is_the_sum_of_its_weeks(late):
    weeks = [NOW + timedelta(weeks=n) for n in range(-1, 4)]
    table = forecasts(
        *(("milk", "default", week, 2.0, 1.0, 2.0, 4.0) for week in weeks),
        *(("tea", "default", week, 1.0, 0.0, 1.0, 2.0) for week in weeks[:2]),  # too short
        *(("milk", "north", week, 9.0, 9.0, 9.0, 9.0) for week in weeks),
    )
    model = WeeklyForecasts(table)  # of an earlier release: it has no distribution of sums
    found = select_horizon(model, "default", NOW + late, weeks=3)
    assert found.item_ids == ["milk"]
    assert np.array_equal(
        np.stack([found.mean, found.p10, found.p50, found.p90]), [[6.0], [3.0], [6.0], [12.0]]
    )
    assert select_horizon(model, "south", NOW, weeks=3).item_ids == []
    assert found.mean is found.mean  # summed once, however many items ask for their own


def test_the_interval_of_a_horizon_is_that_of_the_sum():
    """Four independent Poisson weeks: the sum is Poisson, not four times as wide as a week."""
    poisson = CountDistribution((), (1e-6,), ((),))
    spread = ItemSpread(poisson, poisson)
    weeks = [NOW + timedelta(weeks=n) for n in range(4)]
    p10, p50, p90 = stats.poisson.ppf((0.1, 0.5, 0.9), 25.0)
    table = forecasts(*(("milk", "default", week, 25.0, p10, p50, p90) for week in weeks))
    model = WeeklyForecasts(table, AggregateDistributions((spread,) * len(SPANS), {}))
    found = select_horizon(model, "default", NOW, weeks=4)
    expected = stats.poisson.ppf((0.1, 0.5, 0.9), 100.0)
    assert [found.p10[0], found.p50[0], found.p90[0]] == pytest.approx(expected, abs=1)
    assert found.p90[0] - found.p10[0] < 0.6 * 4 * (p90 - p10)
    one = select_horizon(model, "default", NOW, weeks=1)
    assert [one.p10[0], one.p50[0], one.p90[0]] == [p10, p50, p90]


def test_a_cost_is_the_zones_own_then_the_shops_then_the_items_then_assumed(engine, settings):
    tax = {"south": ZoneSettings(prices_include_tax=True, tax_rate=0.25)}
    settings = settings.model_copy(update={"zones": tax, "assumed_margin": 0.4})
    facts = Facts(settings)

    def cost(item, zone, days, minor):
        return {
            "item_id": item,
            "zone": zone,
            "valid_from": NOW + timedelta(days=days),
            "unit_cost_minor": minor,
        }

    facts.write(
        {
            "items": pa.Table.from_pylist(
                [
                    {"item_id": "milk", "title": "Milk", "category": "Food", "unit_cost_minor": 10},
                    {"item_id": "rice", "unit_cost_minor": 20},
                ],
                TABLES["items"].arrow,
            ),
            "costs": pa.Table.from_pylist(
                [
                    cost("milk", "default", -1, 30),
                    cost("milk", "south", -9, 40),
                    cost("milk", "south", -5, 41),
                    cost("milk", "south", 5, 99),  # not yet
                    cost("salt", "default", -1, 50),
                    cost("salt", "north", -1, 60),
                ],
                TABLES["costs"].arrow,
            ),
        }
    )
    store_suggestions(
        engine, *(make_suggestion(item, zone="south") for item in ("milk", "rice", "salt", "tea"))
    )
    with reading(engine) as connection:
        prices = Ledger(connection).find_current(["milk", "rice", "salt", "tea"], "south", NOW)
    terms = read_item_terms(facts, settings, prices, "south", NOW)
    assert {item: (each.unit_cost_minor, each.cost_assumed) for item, each in terms.items()} == {
        "milk": (41.0, False),
        "rice": (20.0, False),
        "salt": (50.0, False),
        "tea": (100 / 1.25 * (1 - 0.4), True),
    }
    kronor = settings.model_copy(update={"zones": {"south": ZoneSettings(currency="SEK")}})
    terms_of_another_currency = read_item_terms(facts, kronor, prices, "south", NOW)
    assert {
        item: (each.unit_cost_minor, each.cost_assumed)
        for item, each in terms_of_another_currency.items()
    } == {
        "milk": (41.0, False),  # the zone's own
        **dict.fromkeys(("rice", "salt", "tea"), (100 * (1 - 0.4), True)),
    }
    assert (terms["milk"].title, terms["milk"].category, terms["tea"].category) == (
        "Milk",
        "Food",
        "",
    )


def test_an_assumed_cost_does_not_follow_the_prices_that_rest_on_it(engine, settings):
    store_suggestions(engine, make_suggestion("tea", zone="default"))
    with reading(engine) as connection:
        raised = Ledger(connection).find_current(["tea"], "default", NOW)
    opening = {
        "tea": raised["tea"].list_price_minor - 20
    }  # what the shop itself asked before the desk raised it
    terms = read_item_terms(Facts(settings), settings, raised, "default", NOW, opening)
    assert terms["tea"].unit_cost_minor == pytest.approx(
        opening["tea"] * (1 - settings.assumed_margin)
    )
    assert terms["tea"].cost_assumed


def test_a_run_leaves_the_prices_of_an_import_that_wait(engine):
    (held,) = store_suggestions(engine, make_suggestion("milk", 10, proposed_by="import"))
    assert refile(engine, make_suggestion("milk")).superseded == 0
    assert read_statuses(engine, [held]) == ["submitted"]
