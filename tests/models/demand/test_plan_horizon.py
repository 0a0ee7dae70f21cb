from dataclasses import replace

import numpy as np
import pytest

from features.contracts.arrays import BoolArray, Float32Array
from models.demand.features import build_features, summarize_history
from models.demand.learner import FitConfig, TreesConfig, fit_trees
from models.demand.panel import DemandPanel
from models.demand.plan_horizon import PlanEnds, find_plan_ends, hide_unplanned_weeks
from tests.shops.demand_panels import make_panel
from training.demand.plan_views import PlanView, find_same_view, hide_plans_at

N_KNOWN, AHEAD = 30, 13


def plan(*planned: int, n_weeks: int = N_KNOWN + AHEAD) -> Float32Array:
    """A week's share of promoted items, 1 in the planned weeks."""
    weeks = np.zeros(n_weeks, np.float32)
    weeks[list(planned)] = 1
    return weeks


def with_plans(*kinds: Float32Array, zone: str = "") -> DemandPanel:
    """Every item of a zone (of all zones) is promoted in the planned weeks."""
    panel = make_panel(n_series=10, n_known=N_KNOWN, ahead=AHEAD)
    reach = np.zeros((len(kinds), 10, N_KNOWN + AHEAD), np.float32)
    reach[:, (panel.zones == zone) | (zone == "")] = np.stack(kinds)[:, None]
    return replace(panel, kinds=tuple(f"kind {n}" for n in range(len(kinds))), reach=reach)


def unknown_weeks(panel: DemandPanel, kind: int = 0, series: int = 0) -> list[int]:
    """Weeks of which the reach is unknown, 0 is the first one to come."""
    hidden = hide_unplanned_weeks(panel, find_plan_ends(panel))
    return (np.flatnonzero(np.isnan(hidden.reach[kind, series])) - N_KNOWN).tolist()


WEEKLY = list(range(N_KNOWN))
EVERY_FOURTH = list(range(0, N_KNOWN, 4))  # the last one in week 28


@pytest.mark.parametrize(
    ("planned", "unknown"),
    [
        ([*WEEKLY], range(13)),  # the shop never plans ahead
        ([*WEEKLY, 30, 31], range(2, 13)),
        ([*WEEKLY, *range(30, 43)], []),
        ([], []),  # the shop has no promotions at all
        ([*WEEKLY, 30, 42], [n for n in range(1, 13) if n != 12]),  # one early plan for Christmas
        ([*EVERY_FOURTH, 32, 36], range(7, 13)),  # pauses of four weeks are planned
        ([*EVERY_FOURTH], range(13)),
        ([31, 34], range(5, 13)),  # the first promotions of a shop
    ],
)
def test_plans_are_unknown_after_the_last_planned_week(
    planned: list[int], unknown: range | list[int]
) -> None:
    assert unknown_weeks(with_plans(plan(*planned))) == list(unknown)


def test_kinds_and_zones_end_each_by_themselves() -> None:
    panel = with_plans(plan(*WEEKLY), plan(*WEEKLY, *range(30, 43)))
    assert unknown_weeks(panel, kind=0) == list(range(13))
    assert unknown_weeks(panel, kind=1) == []
    north = with_plans(plan(*WEEKLY), zone="north")
    promoted = int(np.flatnonzero(north.zones == "north")[0])
    other = int(np.flatnonzero(north.zones == "south")[0])
    assert unknown_weeks(north, series=promoted) == list(range(13))
    assert unknown_weeks(north, series=other) == []  # the zone never has a promotion


def test_a_few_early_entries_do_not_make_a_week_planned() -> None:
    panel = with_plans(plan(*WEEKLY, 30))
    panel.reach[0, 3, 31:34] = 1  # of ten items, all of which are promoted in a usual week
    hidden = hide_unplanned_weeks(panel, find_plan_ends(panel))
    assert np.isnan(hidden.reach[0, 0, 31:]).all()
    assert (hidden.reach[0, 3, 31:34] == 1).all()  # what is planned is known all the same


def test_reduced_prices_have_a_horizon_and_list_prices_stay() -> None:
    panel = make_panel(n_series=10, n_known=N_KNOWN, ahead=AHEAD)
    list_price = np.full((10, N_KNOWN + AHEAD), 200.0, np.float32)
    offer = list_price.copy()
    offer[:5, :N_KNOWN:2] = 150
    offer[5:, 1:N_KNOWN:2] = 150
    panel = replace(panel, list_price=list_price, offer_price=offer)
    hidden = hide_unplanned_weeks(panel, find_plan_ends(panel))
    assert hidden.offer_price is not None
    assert hidden.list_price is not None
    assert np.isnan(hidden.offer_price[:, N_KNOWN:]).all()
    assert np.array_equal(hidden.offer_price[:, :N_KNOWN], offer[:, :N_KNOWN])
    assert (hidden.forecast_prices(3) == 200).all()  # the price that the ledger plans
    permanent = replace(panel, offer_price=np.minimum(offer, 150))
    assert find_plan_ends(permanent).reductions.min() == N_KNOWN + AHEAD


def test_a_known_plan_of_no_promotion_differs_from_an_unknown_one() -> None:
    panel = make_panel(n_series=400, n_known=40, seed=8)  # a mailer doubles a fifth of the weeks
    config = FitConfig(max_rows=40_000, trees=TreesConfig(n_trees=60, min_rows=20))
    trees = fit_trees(panel, config, 5)
    none = replace(panel, reach=np.where(np.arange(53) >= 40, 0, panel.reach).astype(np.float32))
    unknown = hide_unplanned_weeks(none, find_plan_ends(none))
    all_ = replace(panel, reach=np.where(np.arange(53) >= 40, 1, panel.reach).astype(np.float32))
    steps = range(1, 5)
    absent, average, present = (
        float(trees.predict(plans, steps)[:, :, 0].sum()) for plans in (none, unknown, all_)
    )
    # A fifth of the weeks is promoted: units are 1 without, 1.2 on average and 2 with a mailer.
    assert absent / average == pytest.approx(1 / 1.2, abs=0.05)
    assert present / average == pytest.approx(2 / 1.2, abs=0.12)


def test_an_unknown_plan_reaches_the_features_as_unknown() -> None:
    panel = make_panel(n_known=N_KNOWN)
    hidden = hide_unplanned_weeks(panel, replace_ends(panel, N_KNOWN + 2), hide_plans=True)
    past = summarize_history(hidden, N_KNOWN)
    for step, known in ((2, True), (3, False), (4, False)):
        names, matrix = build_features(hidden, past, step)
        is_known: BoolArray = np.isfinite(matrix)
        assert is_known[:, names.index("reach:mailer")].all() == known
        assert is_known[:, names.index("reach_category:mailer")].all() == known
        assert is_known[:, names.index("reach_before:mailer")].all() == (step < 4)
        assert is_known[:, names.index("mean_similar")].all()


def replace_ends(panel: DemandPanel, week: int) -> PlanEnds:
    ends = find_plan_ends(panel)
    return replace(ends, promotions=np.full_like(ends.promotions, week))


@pytest.mark.parametrize(
    ("planned", "as_known"),
    [
        (WEEKLY, PlanView.NONE),
        ([*WEEKLY, 30, 31], PlanView.AS_KNOWN),
        (list(range(N_KNOWN + AHEAD)), PlanView.FULL),
        ([], PlanView.FULL),
    ],
)
def test_views_that_know_the_same_are_one(planned: list[int], as_known: PlanView) -> None:
    ends = find_plan_ends(with_plans(plan(*planned)))
    assert find_same_view(ends, N_KNOWN, AHEAD, PlanView.AS_KNOWN) is as_known
    expected = PlanView.NONE if planned else PlanView.FULL
    assert find_same_view(ends, N_KNOWN, AHEAD, PlanView.NONE) is expected


def test_a_past_origin_knows_as_many_weeks_as_the_shop_plans_now() -> None:
    panel = with_plans(plan(*WEEKLY, 30, 31))
    ends = find_plan_ends(panel)
    origin = 20

    def count_known(plans: PlanView) -> int:
        past = hide_plans_at(panel.truncate(origin), ends, N_KNOWN, plans)
        return int(np.isfinite(past.reach[0, 0, origin:]).sum())

    assert count_known(PlanView.FULL) == N_KNOWN + 2 - origin
    assert count_known(PlanView.AS_KNOWN) == 2
    assert count_known(PlanView.NONE) == 0
