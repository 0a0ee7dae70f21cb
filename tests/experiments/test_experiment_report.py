"""A report on a shop of ten shoppers, small enough to compute by hand."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import pyarrow as pa
import pytest

from configs.settings import Settings
from experiments.analysis.report import ExperimentReport, ReportInputs, build_report
from experiments.analysis.statistics import (
    Moments,
    compare_means,
    compare_with_margin,
    compute_sample_ratio_p_value,
)
from experiments.definition import Experiment, NonInferiority, Variant
from experiments.metrics import load_metrics
from features.contracts.tables import EVENTS
from features.facts.exposures import LINKS, SCHEMA

SHIPPED = load_metrics(Settings(home=Path("unused")))
NOON = datetime(2018, 1, 1, 12, tzinfo=UTC)
END = NOON + timedelta(days=7)
HOUR = timedelta(hours=1)
VARIANTS = (Variant("champion", 0.5), Variant("buy_again", 0.5, "buy_again"))
TRIAL = Experiment(
    "trial",
    ("home",),
    VARIANTS,
    "champion",
    "trial",
    "they sell alike",
    status="stopped",
    stopped_at=NOON + timedelta(days=1),
    attribution_days=6,
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
    inputs = ReportInputs(
        exposures=pa.Table.from_pylist(exposures, SCHEMA), events=shop.table("events"), **options
    )
    return build_report(experiment, inputs, SHIPPED, as_of=as_of)


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
    assert report.verdict.text == "no decision: no difference in purchase_conversion beyond chance"


def test_only_purchases_from_the_first_exposure_until_now_count(shop) -> None:
    exposures, events = shop
    noise = [
        bought(9_000, user_id="c0", at=END),  # not yet
        bought(None, user_id="c0", kind="view_item"),
        bought(9_000, user_id="stranger"),
        bought(9_000),  # of nobody
    ]
    again = [exposed("t3", "buy_again", NOON + 2 * HOUR), exposed("late", "buy_again", END)]
    assert run(exposures + again, events + noise) == run(exposures, events)
    before = bought(9_000, user_id="c0", at=NOON - HOUR)
    means = [
        [variant.metrics["revenue_per_unit"].mean for variant in report.variants]
        for report in (run(exposures, events), run(exposures, [*events, before]))
    ]
    assert means[0] == means[1]


def test_refunds_are_subtracted_from_revenue_and_not_from_conversion(shop) -> None:
    exposures, events = shop
    control = run(exposures, events).variants[0]
    refund = bought(100, user_id="c1", kind="refund")
    after = run(exposures, [*events, refund]).variants[0]
    assert control.metrics["revenue_per_unit"].mean == (0 + 100 + 200 + 300 + 400) / 5
    assert after.metrics["revenue_per_unit"].mean == (0 + 0 + 200 + 300 + 400) / 5
    assert after.metrics["purchase_conversion"] == control.metrics["purchase_conversion"]


def linked(visitor, user, at=NOON + HOUR):
    return {"visitor_id": visitor, "user_id": user, "linked_at": at}


def test_a_visitor_who_signs_in_is_one_unit_and_one_who_met_two_variants_is_left_out(shop) -> None:
    exposures, events = shop
    later = NOON + HOUR
    exposures = [
        *exposures,
        exposed("kept-v", "buy_again"),
        exposed("kept-u", "buy_again", later),
        exposed("mixed-v", "champion"),
        exposed("mixed-u", "buy_again", later),
    ]
    events = [
        *events,
        bought(300, visitor_id="kept-v", at=NOON),  # before the sign-in
        bought(600, user_id="kept-u", visitor_id="kept-v", at=later),
        bought(9_000, user_id="mixed-u", at=later),
    ]
    links = [linked("kept-v", "kept-u"), linked("mixed-v", "mixed-u")]
    report = run(exposures, events, links=pa.Table.from_pylist(links, LINKS))
    control, treatment = report.variants
    assert (control.n, treatment.n, report.n_mixed) == (5, 6, 1)
    revenue = treatment.metrics["revenue_per_unit"].mean
    assert revenue == (100 + 200 + 300 + 400 + 500 + (300 + 600)) / 6
    assert control.metrics == run(*shop).variants[0].metrics

    # A link made after the stop changes nothing that was counted.
    late = [linked("kept-v", "kept-u", END), linked("mixed-v", "mixed-u", END)]
    assert run(exposures, events, links=pa.Table.from_pylist(late, LINKS)) == run(exposures, events)


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
    assert report.verdict.text == "no decision: sample ratio mismatch"


def test_verdicts(shop) -> None:
    exposures = [exposed(f"c{n}", "champion") for n in range(40)] + [
        exposed(f"t{n}", "buy_again") for n in range(40)
    ]
    of_treatment = [bought(100, user_id=f"t{n}") for n in range(30)] + [bought(100, user_id="c0")]
    of_control = [bought(100, user_id=f"c{n}") for n in range(30)]
    assert (
        run(exposures, of_treatment).verdict.text
        == "buy_again beats champion on purchase_conversion"
    )
    assert (
        run(exposures, of_control).verdict.text
        == "keep champion: better on purchase_conversion than buy_again"
    )
    running = replace(TRIAL, status="running", stopped_at=None)
    assert run(exposures, of_treatment, running).verdict.text == "no decision: still running"
    assert run(exposures[:41], []).verdict.text == "no decision: sample ratio mismatch"
    assert run([], []).verdict.text == "no decision: fewer than two units in a variant"


def test_a_stopped_experiment_says_the_same_a_year_later(shop) -> None:
    exposures, events = shop
    stop = TRIAL.stopped_at
    assert stop is not None
    late = [
        *(bought(100_000, user_id=f"c{n}", at=END + HOUR) for n in range(5)),
        bought(100_000, user_id="after", at=stop + 2 * HOUR),
    ]
    after = [exposed("after", "champion", stop + HOUR)]
    first = run(exposures, events)
    assert first.counted_until == END == stop + timedelta(days=6)
    again = run(exposures + after, events + late, as_of=END + timedelta(days=365))
    assert replace(again, as_of=first.as_of) == first


def test_purchases_in_the_attribution_window_count_and_the_verdict_waits_for_its_end(shop) -> None:
    exposures, events = shop
    stop = TRIAL.stopped_at
    assert stop is not None
    inside = [bought(500, user_id="c0", at=END - HOUR)]
    before = run(exposures, events, as_of=stop + HOUR)
    assert before.verdict.text == "no decision: events count until 2018-01-08 12:00 UTC"
    assert before.counted_until == stop + HOUR
    control = run(exposures, events + inside).variants[0]
    assert control.metrics["revenue_per_unit"].mean == (500 + 100 + 200 + 300 + 400) / 5


def test_an_experiment_that_stopped_without_a_time_stopped_at_its_last_exposure(shop) -> None:
    exposures, events = shop
    exposures = [*exposures, exposed("last", "champion", NOON + 3 * HOUR)]
    untimed = replace(TRIAL, stopped_at=None, attribution_days=1)
    report = run(exposures, events, untimed)
    assert report.stopped_at == NOON + 3 * HOUR
    assert report.counted_until == NOON + 27 * HOUR


def sells(n_control: int, n_treatment: int, of: int = 1000) -> tuple[list, list]:
    """Return exposures and purchases of two variants of `of` units each."""
    arms = (("c", "champion", n_control), ("t", "buy_again", n_treatment))
    exposures = [exposed(f"{key}{n}", name) for key, name, _ in arms for n in range(of)]
    events = [bought(100, user_id=f"{key}{n}") for key, _, sold in arms for n in range(sold)]
    return exposures, events


NOT_WORSE = replace(TRIAL, non_inferiority=NonInferiority(margin=0.1))


def test_a_loss_of_the_margin_is_ruled_out_by_hand() -> None:
    report = run(*sells(500, 495), NOT_WORSE)
    (result,) = report.non_inferiority_results
    assert result.test is not None
    # .495 - .9 * .5 = .045; variances n / (n - 1) * p (1 - p)
    error = math.sqrt((0.495 * 0.505 + 0.81 * 0.5 * 0.5) / 999)
    assert result.test.p_value == pytest.approx(
        math.erfc(0.045 / error / math.sqrt(2)) / 2, rel=0.03
    )  # with some 2,000 degrees of freedom t is nearly normal
    assert result.test.change == pytest.approx(-0.01)
    assert result.shown
    assert report.verdict.text == (
        "buy_again is not worse than champion: it loses less than 10% of purchase_conversion"
    )


def test_the_lower_end_is_the_margin_at_which_the_test_would_turn() -> None:
    treatment, control = Moments(400, 9.0, 16.0), Moments(500, 10.0, 25.0)
    test = compare_with_margin(treatment, control, 0.2)
    assert test is not None
    at_the_end = compare_with_margin(treatment, control, -test.low)
    assert at_the_end is not None
    assert at_the_end.p_value == pytest.approx(0.05)
    assert test.low < test.change == pytest.approx(-0.1)


def test_a_loss_that_may_reach_the_margin_is_not_ruled_out() -> None:
    report = run(*sells(500, 470), NOT_WORSE)
    assert report.non_inferiority_results[0].shown is False
    assert report.verdict.text == (
        "no decision: a loss of 10% of purchase_conversion against champion is not ruled out"
    )


def test_a_better_variant_is_called_better_whatever_the_margin() -> None:
    report = run(*sells(400, 600), NOT_WORSE)
    assert report.verdict.text == "buy_again beats champion on purchase_conversion"
    assert report.non_inferiority_results[0].shown


def test_a_worse_variant_is_told_as_worse_where_the_margin_is_not_kept() -> None:
    report = run(*sells(500, 300), NOT_WORSE)
    assert report.verdict.text == "keep champion: better on purchase_conversion than buy_again"


def test_a_margin_needs_units_and_a_mean_above_nothing() -> None:
    report = run(*sells(0, 10), NOT_WORSE)
    assert report.non_inferiority_results[0].test is None
    assert report.non_inferiority_results[0].shown is None
    assert compare_with_margin(Moments(1, 1.0, None), Moments(5, 1.0, 1.0), 0.1) is None


def test_equal_variants_without_spread_are_not_worse() -> None:
    same = Moments(5, 1.0, 0.0)
    test = compare_with_margin(same, same, 0.1)
    assert test is not None
    assert test.p_value == 0.0
    assert test.low == pytest.approx(0.0, abs=1e-9)


def test_a_report_is_plain_json(shop) -> None:
    for report in (run(*shop), run([], [])):
        times = ("as_of", "counted_until", "stopped_at")
        plain = asdict(report) | {name: getattr(report, name).isoformat() for name in times}
        values = json.loads(json.dumps(plain, allow_nan=False))
        assert values["as_of"] == "2018-01-08T12:00:00+00:00"
        assert [variant["name"] for variant in values["variants"]] == ["champion", "buy_again"]
    assert values["variants"][1]["n"] == 0
    revenue = values["variants"][1]["metrics"]["revenue_per_unit"]
    assert (revenue["mean"], revenue["difference"], revenue["relative"]) == (None, None, None)
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
