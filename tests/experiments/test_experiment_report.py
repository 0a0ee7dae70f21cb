"""A report on a shop of ten shoppers, small enough to compute by hand."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import ibis
import pyarrow as pa
import pytest

from experiments.analysis.report import ExperimentReport, build_report
from experiments.analysis.statistics import Moments, compare_means, compute_sample_ratio_p_value
from experiments.definition import Experiment, Variant
from features.contracts.tables import EVENTS
from features.facts.exposures import SCHEMA

NOON = datetime(2018, 1, 1, 12, tzinfo=UTC)
END = NOON + timedelta(days=7)
HOUR = timedelta(hours=1)
VARIANTS = (Variant("champion", 0.5), Variant("buy_again", 0.5, "buy_again"))
TRIAL = Experiment(
    "trial", ("home",), VARIANTS, "champion", "trial", "they sell alike", status="stopped"
)


def exposed(unit, variant, at=NOON):
    return {"unit_id": unit, "variant": variant, "exposed_at": at, "n_exposures": 1}


def bought(amount, at=NOON + HOUR, kind="purchase", **ids):
    return {
        "event_type": kind,
        "occurred_at": at,
        "item_id": "i",
        "zone": "default",
        "line_amount_minor": amount,
        **ids,
    }


def run(exposures, events, experiment=TRIAL, as_of=END, **options) -> ExperimentReport:
    columns = [field.name for field in EVENTS.arrow]
    rows = [
        {name: event.get(name) for name in columns} | {"event_id": str(n)}
        for n, event in enumerate(events)
    ]
    shop = ibis.duckdb.connect()
    shop.con.register("events", pa.Table.from_pylist(rows, EVENTS.arrow))
    return build_report(
        experiment,
        pa.Table.from_pylist(exposures, SCHEMA),
        shop.table("events"),
        as_of=as_of,
        **options,
    )


@pytest.fixture
def shop():
    """Control earns 0, 100, ..., 400 a shopper and buy_again 100, ..., 500; one of the control buys
    nothing."""
    exposures = [exposed(f"c{n}", "champion") for n in range(5)] + [
        exposed(f"t{n}", "buy_again") for n in range(5)
    ]
    events = [bought(100 * n, user_id=f"c{n}") for n in range(1, 5)]
    events += [bought(100 * n + 100, user_id=f"t{n}") for n in range(4)]
    events += [
        bought(200, user_id="t4"),
        bought(300, user_id="t4", at=NOON + 30 * HOUR),
    ]  # 500 in two purchases
    return exposures, events


def test_differences_and_intervals_are_those_computed_by_hand(shop) -> None:
    report = run(*shop)
    control, treatment = report.variants
    assert (control.name, control.n, treatment.name, treatment.n) == ("champion", 5, "buy_again", 5)

    # Both variances are (200^2 + 100^2 + 0 + 100^2 + 200^2) / 4 = 25,000: standard error sqrt(2 *
    # 25,000 / 5) = 100, 8 degrees of freedom, whose 97.5 % point is 2.306004.
    assert control.metrics["revenue_per_unit"].mean == (0 + 100 + 200 + 300 + 400) / 5
    assert control.metrics["revenue_per_unit"].difference is None
    assert treatment.metrics["revenue_per_unit"].mean == (100 + 200 + 300 + 400 + 500) / 5
    revenue = treatment.metrics["revenue_per_unit"].difference
    assert revenue is not None
    assert revenue.value == 300 - 200
    assert revenue.low == pytest.approx(100 - 2.306004135 * 100)
    assert revenue.high == pytest.approx(100 + 2.306004135 * 100)

    # Conversion 4/5 against 5/5: variance of the control 5/4 * 0.8 * 0.2 = 0.2, the other's 0,
    # standard error sqrt(0.2 / 5) = 0.2, 4 degrees of freedom, whose 97.5 % point is 2.776445; t =
    # 1 has a closed form there.
    assert control.metrics["purchase_conversion"].mean == 4 / 5
    conversion = treatment.metrics["purchase_conversion"].difference
    assert conversion is not None
    assert conversion.value == pytest.approx(0.2)
    assert conversion.low == pytest.approx(0.2 - 2.776445105 * 0.2)
    assert conversion.high == pytest.approx(0.2 + 2.776445105 * 0.2)
    assert conversion.p_value == pytest.approx(1 - 2 * (3 / 8) / math.sqrt(5 / 4) * (1 - 1 / 15))

    assert report.sample_ratio_p_value == pytest.approx(1.0)
    assert report.verdict == "no decision: no difference in purchase_conversion beyond chance"


def test_only_purchases_from_the_first_exposure_until_now_count(shop) -> None:
    exposures, events = shop
    noise = [
        bought(9_000, user_id="c0", at=NOON - HOUR),  # before the exposure
        bought(9_000, user_id="c0", at=END),  # not yet
        bought(9_000, user_id="c0", kind="refund"),
        bought(None, user_id="c0", kind="view_item"),
        bought(9_000, user_id="stranger"),
        bought(9_000),  # of nobody
    ]
    again = [exposed("t3", "buy_again", NOON + 2 * HOUR), exposed("late", "buy_again", END)]
    assert run(exposures + again, events + noise) == run(exposures, events)


def test_a_purchase_at_the_instant_of_the_exposure_counts_and_one_without_amount_converts() -> None:
    exposures = [
        exposed(unit, variant)
        for unit, variant in (("a", "champion"), ("b", "champion"), ("c", "buy_again"))
    ]
    control = run(
        exposures, [bought(50, user_id="a", at=NOON), bought(None, user_id="b")]
    ).variants[0]
    assert control.metrics["purchase_conversion"].mean == 1
    assert control.metrics["revenue_per_unit"].mean == 50 / 2


def test_units_of_visitors_and_sessions_are_matched_by_the_chain() -> None:
    exposures = [exposed("v1", "champion"), exposed("s1", "champion"), exposed("u1", "buy_again")]
    events = [
        bought(10, visitor_id="v1", session_id="s9"),
        bought(20, session_id="s1"),
        bought(40, user_id="u1", visitor_id="v1"),  # v1 has logged in: this is u1's
    ]
    report = run(exposures, events)
    assert [variant.metrics["revenue_per_unit"].mean for variant in report.variants] == [
        (10 + 20) / 2,
        40,
    ]
    by_session = run([exposed("s9", "champion")], events, replace(TRIAL, unit="session"))
    assert by_session.variants[0].metrics["revenue_per_unit"].mean == 10


def test_units_of_several_or_unknown_variants_are_left_out_and_counted(shop) -> None:
    exposures, events = shop
    odd = [
        exposed("m", "champion"),
        exposed("m", "buy_again", NOON + HOUR),
        exposed("x", "retired"),
    ]
    report = run(exposures + odd, [*events, bought(7_000, user_id="m"), bought(7_000, user_id="x")])
    assert (report.n_mixed, report.n_unknown) == (1, 1)
    assert report.variants == run(exposures, events).variants


def test_an_uneven_split_blocks_the_verdict() -> None:
    # 40 against 80 where 60 were due: chi-square 20^2/60 + 20^2/60 = 13.33, p = 0.00026.
    exposures = [exposed(f"c{n}", "champion") for n in range(40)] + [
        exposed(f"t{n}", "buy_again") for n in range(80)
    ]
    report = run(exposures, [bought(100, user_id=f"t{n}") for n in range(80)])
    assert report.sample_ratio_p_value == pytest.approx(math.erfc(math.sqrt(40 / 3 / 2)))
    assert report.verdict == "no decision: sample ratio mismatch"


def test_verdicts(shop) -> None:
    exposures = [exposed(f"c{n}", "champion") for n in range(40)] + [
        exposed(f"t{n}", "buy_again") for n in range(40)
    ]
    of_treatment = [bought(100, user_id=f"t{n}") for n in range(30)] + [bought(100, user_id="c0")]
    of_control = [bought(100, user_id=f"c{n}") for n in range(30)]
    assert run(exposures, of_treatment).verdict == "buy_again beats champion on purchase_conversion"
    assert (
        run(exposures, of_control).verdict
        == "keep champion: better on purchase_conversion than buy_again"
    )
    running = replace(TRIAL, status="running")
    assert run(exposures, of_treatment, running).verdict == "no decision: still running"
    assert run(exposures[:41], []).verdict == "no decision: sample ratio mismatch"
    assert run([], []).verdict == "no decision: fewer than two units in a variant"


def test_a_report_is_plain_json(shop) -> None:
    for report in (run(*shop), run([], [])):
        plain = asdict(report) | {"as_of": report.as_of.isoformat()}
        values = json.loads(json.dumps(plain, allow_nan=False))
        assert values["as_of"] == "2018-01-08T12:00:00+00:00"
        assert [variant["name"] for variant in values["variants"]] == ["champion", "buy_again"]
    assert values["variants"][1]["n"] == 0
    assert values["variants"][1]["metrics"]["revenue_per_unit"] == {
        "mean": None,
        "difference": None,
    }
    assert values["sample_ratio_p_value"] is None


def test_welch_without_spread_and_without_units() -> None:
    flat, higher = Moments(3, 1.0, 0.0), Moments(3, 2.0, 0.0)
    assert compare_means(flat, flat) is not None
    assert compare_means(flat, flat).p_value == 1  # type: ignore[union-attr]
    assert compare_means(higher, flat).p_value == 0  # type: ignore[union-attr]
    assert compare_means(Moments(1, 1.0, None), flat) is None
    assert compare_means(flat, Moments(0, None, None)) is None


def test_the_sample_ratio_follows_the_weights() -> None:
    assert compute_sample_ratio_p_value([20, 80], [0.2, 0.8]) == pytest.approx(1.0)
    assert compute_sample_ratio_p_value([0, 0], [0.5, 0.5]) is None


def test_revenue_is_of_one_currency_and_conversion_of_all(shop) -> None:
    exposures, events = shop
    abroad = [
        bought(10_000, user_id="c0", zone="south"),
        bought(10_000, user_id="t0", zone="south"),
    ]
    report = run(exposures, [*events, *abroad], other_currency=("south",))
    control, treatment = report.variants
    assert report.other_currency == ("south",)
    assert control.metrics["revenue_per_unit"].mean == (0 + 100 + 200 + 300 + 400) / 5
    assert treatment.metrics["revenue_per_unit"].mean == (100 + 200 + 300 + 400 + 500) / 5
    assert (
        control.metrics["purchase_conversion"].mean == 5 / 5
    )  # the one who had bought nothing did so abroad
