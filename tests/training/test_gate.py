"""A new model replaces the champion only where it surely loses less than the margins."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.facts.facts import Facts
from models.registry import EVALUATED, Registry
from training.gate import (
    GateConfig,
    PricingMargins,
    Reference,
    Verdict,
    carry_over,
    decide,
    renew,
    replace_stand_in,
)
from training.non_inferiority import (
    PairedLoss,
    UnitValues,
    compute_pass_rate,
    measure_loss,
    widen_error,
)
from training.results import Comparison, Evaluation, Trained
from training.run import TrainingReport, TrainingRun

CUT = datetime(2024, 5, 6, tzinfo=UTC)


def scores(amounts: list[float] | np.ndarray, ids: list[str] | None = None) -> UnitValues:
    """NDCG of users "0", "1", ... unless `ids` are given."""
    amounts = np.asarray(amounts, float)
    units = np.array(ids or [str(n) for n in range(len(amounts))], object)
    return UnitValues("NDCG@10", "users", units, amounts, np.ones(len(amounts)), "higher")


def a_loss(loss: float, error: float, n_units: int = 1001) -> PairedLoss:
    return PairedLoss(
        metric="NDCG@10",
        unit="users",
        candidate=0.4 * (1 - loss),
        reference=0.4,
        loss=loss,
        error=error,
        equal_error=error,
        n_units=n_units,
    )


class TestPairedLoss:
    def test_a_share_lost_by_everyone_is_lost_without_error(self) -> None:
        before = scores([0.1, 0.5, 0.9])
        loss = measure_loss(replace(before, amounts=before.amounts * 0.98), before)
        assert loss.loss == pytest.approx(0.02)
        assert loss.error == pytest.approx(0.0, abs=1e-12)

    def test_the_error_of_a_mean_over_users_is_that_of_the_linearised_ratio(self) -> None:
        # Ratio (.5 + .3) / (.5 + .5) = .8; residuals .5 - .4 and .3 - .4, over the sum 1.0:
        # .1 and -.1, standard deviation .1 * sqrt(2), times sqrt(2) = .2.
        loss = measure_loss(scores([0.5, 0.3]), scores([0.5, 0.5]))
        assert loss.error == pytest.approx(0.2)

    def test_rows_of_one_user_are_one_unit(self) -> None:
        whole = measure_loss(scores([0.5, 0.3]), scores([0.5, 0.5]))
        ids = ["a", "a", "b"]
        parts = measure_loss(scores([0.2, 0.3, 0.3], ids), scores([0.25, 0.25, 0.5], ids))
        assert parts.n_units == 2
        assert (parts.loss, parts.error) == pytest.approx((whole.loss, whole.error))

    def test_errors_are_lost_where_they_grow(self) -> None:
        units = np.array([10.0, 30.0])
        ids = np.array(["a", "b"], object)
        before = UnitValues("WMAPE", "series", ids, np.array([4.0, 6.0]), units, "lower")
        after = replace(before, amounts=np.array([5.0, 6.0]))
        assert measure_loss(after, before).loss == pytest.approx(11 / 10 - 1)
        assert before.value == pytest.approx(10 / 40)

    def test_a_bias_is_lost_by_its_size(self) -> None:
        units = np.array([10.0, 30.0])
        ids = np.array(["a", "b"], object)
        before = UnitValues("bias", "series", ids, np.array([1.0, 1.0]), units, "nearer")
        low = replace(before, amounts=np.array([-3.0, -1.0]))
        assert measure_loss(low, before).loss == pytest.approx(4 / 40 - 2 / 40)
        assert measure_loss(before, low).loss == pytest.approx(-2 / 40)

    def test_the_error_of_a_bias_knows_that_the_sign_may_be_another(self) -> None:
        rng = np.random.default_rng(5)
        noise = rng.normal(0, 1, 400)
        ids, ones = np.arange(400), np.ones(400)
        far = UnitValues("bias", "series", ids, 9 + noise, ones, "nearer")
        near = UnitValues("bias", "series", ids, noise - noise.mean(), ones, "nearer")
        # Far from 0 both move together: 9 + e and 10 + e.
        assert measure_loss(replace(far, amounts=10 + noise), far).error == pytest.approx(
            0.0, abs=1e-6
        )
        # From -.05 - e to .05 - e: |b'| - |b| lies between -.1 and .1, and e has an error of .05.
        loss = measure_loss(
            replace(near, amounts=near.amounts + 0.05), replace(near, amounts=near.amounts - 0.05)
        )
        assert loss.loss == pytest.approx(0.0, abs=1e-9)
        assert 0.05 < loss.error < 0.1
        assert loss.equal_error == pytest.approx(0.0, abs=1e-9)

    def test_other_units_are_never_paired(self) -> None:
        with pytest.raises(ValueError, match="same units"):
            measure_loss(scores([0.5], ["a"]), scores([0.5], ["b"]))

    def test_one_user_shows_nothing_unless_nothing_changed(self) -> None:
        assert measure_loss(scores([0.4]), scores([0.5])).bound_above(0.05) == math.inf
        assert measure_loss(scores([0.5]), scores([0.5])).bound_above(0.05) == 0.0

    def test_the_interval_misses_a_true_loss_at_its_level(self) -> None:
        rng = np.random.default_rng(3)
        n_missed, n_drawn = 0, 600
        for _ in range(n_drawn):
            before = rng.beta(0.7, 1.05, 200)
            after = 0.9 * before + rng.normal(0, 0.1, 200)
            loss = measure_loss(scores(after), scores(before))
            n_missed += loss.bound_above(0.05) < 0.1
        # 5 % of 600, and three standard errors of .9 %
        assert n_missed / n_drawn == pytest.approx(0.05, abs=0.027)

    def test_an_equal_model_passes_nine_times_in_ten_where_the_margin_is_widened_for_it(
        self,
    ) -> None:
        assert compute_pass_rate(widen_error(0.01, 0.05), 0.01, 0.05) == pytest.approx(0.9)


CONFIG = GateConfig()


def decided(
    champion: PairedLoss, anchor: PairedLoss | None = None, config: GateConfig = CONFIG
) -> Verdict:
    beside = Reference("7", {"all_items": champion})
    best = beside if anchor is None else Reference("3", {"all_items": anchor})
    return decide("recommendations", beside, best, config)


class TestDecision:
    def test_a_loss_that_is_surely_within_the_margin_passes(self) -> None:
        assert decided(a_loss(0.01, 0.001)).promote

    def test_a_loss_that_may_be_larger_than_the_margin_does_not_pass(self) -> None:
        # 1 % + 2.41 errors of .5 % may be 2.2 %, above 2 %
        verdict = decided(a_loss(0.01, 0.005))
        assert not verdict.promote
        assert "an equal model passes" in verdict.reason

    def test_a_refusal_says_which_metric_by_how_much_how_sure_and_what_to_try(self) -> None:
        reason = decided(a_loss(0.05, 0.004, n_units=2000)).reason
        for part in ("NDCG@10 0.3800 against 0.4000 of version 7", "5.0% worse", "2,000 users"):
            assert part in reason
        # 98.4 % interval: .05 -+ 2.41 * .004
        assert "98.4% interval of the loss +4.0% to +6.0%, 2.0% allowed" in reason
        assert "measurably worse, look at" in reason

    def test_too_few_users_are_named_with_the_number_that_would_do(self) -> None:
        # (2.4089 + 1.2816) * .02 / .02 = 3.69 times the error: 13.62 * 300 = 4,086 users
        reason = decided(a_loss(0.0, 0.02, n_units=300)).reason
        assert "with about 4,100 users in 90%" in reason

    def test_one_metric_that_loses_is_enough_for_a_refusal(self) -> None:
        losses = {"all_items": a_loss(-0.05, 0.001), "new_items": a_loss(0.2, 0.01)}
        beside = Reference("7", losses)
        verdict = decide("recommendations", beside, beside, CONFIG)
        assert not verdict.promote
        assert [test.passed for test in verdict.tests] == [True, False]

    def test_small_steps_do_not_add_up_beyond_the_margin(self) -> None:
        verdict = decided(a_loss(0.01, 0.001), anchor=a_loss(0.025, 0.001))
        assert not verdict.promote
        assert "of version 3" in verdict.reason

    def test_the_anchor_moves_only_to_a_model_that_is_measurably_better(self) -> None:
        assert decided(a_loss(-0.01, 0.02)).anchor == "7"
        assert decided(a_loss(-0.01, 0.001)).anchor is None

    def test_a_lost_anchor_leaves_the_losses_that_the_champion_carries(self) -> None:
        beside = Reference("7", {"all_items": a_loss(0.01, 0.003)})
        best = carry_over(beside, {"all_items": (0.012, 0.004)}, "3")
        assert best.losses["all_items"].loss == pytest.approx(0.022)
        assert best.losses["all_items"].error == pytest.approx(0.005)
        assert not decide("recommendations", beside, best, CONFIG).promote

    def test_a_small_shop_may_widen_its_margins_to_its_errors(self) -> None:
        small = a_loss(0.0, 0.02, n_units=300)
        assert not decided(small).promote
        assert decided(small, config=GateConfig(widen_to=4.0)).promote
        assert not decided(a_loss(0.09, 0.02), config=GateConfig(widen_to=4.0)).promote
        # never beyond its limit: 3.7 * .05 = 18 % would be needed, 8 % are allowed
        assert not decided(a_loss(0.0, 0.05), config=GateConfig(widen_to=4.0)).promote

    def test_a_champion_whose_forecasts_run_out_is_renewed_by_what_is_not_measurably_worse(
        self,
    ) -> None:
        undecided, worse = decided(a_loss(0.01, 0.005)), decided(a_loss(0.05, 0.004))
        assert renew(undecided, 4.0, CONFIG).promote
        assert "does not know the last 4 weeks" in renew(undecided, 4.0, CONFIG).reason
        assert not renew(undecided, 3.0, CONFIG).promote
        assert not renew(worse, 12.0, CONFIG).promote

    def test_what_stood_in_for_such_a_model_is_replaced_by_what_is_not_measurably_worse(
        self,
    ) -> None:
        replaced = replace_stand_in(decided(a_loss(0.01, 0.005)))
        assert replaced.promote
        assert replaced.anchor is None
        assert not replace_stand_in(decided(a_loss(0.05, 0.004))).promote

    def test_a_metric_without_units_decides_nothing(self) -> None:
        nothing = a_loss(math.nan, math.inf, n_units=0)
        beside = Reference("7", {"all_items": a_loss(0.0, 0.001), "carts": nothing})
        assert decide("recommendations", beside, beside, CONFIG).promote

    def test_margins_and_levels_out_of_range_are_refused(self) -> None:
        with pytest.raises(BadInput, match="above 0"):
            GateConfig(pricing=PricingMargins(r2=0.0))
        with pytest.raises(BadInput, match="anchor_level"):
            GateConfig(anchor_level=0.2)


N_SERIES = 400


@dataclass(frozen=True)
class AConfig:
    error: float = 1.0
    horizon: int = 4


@dataclass
class AModel:
    """A "demand model" with the same relative error for each series."""

    error: float

    def save(self, folder: Path) -> None:
        (folder / "error.txt").write_text(str(self.error))


@dataclass
class ATask:
    """Trains to the error of its config; the noise of the series differs from cut to cut."""

    cut: datetime
    passed: bool = True
    metric: str = "WMAPE"
    n_held_out: int = 4
    has_enough: bool = True
    name: str = "demand"
    config: type[AConfig] = AConfig
    protocol: tuple[str, ...] = ("horizon",)
    splits: tuple[str, ...] = ("time",)
    serves_behind: bool = False
    measured: list[str] = field(default_factory=list)

    def train(
        self,
        facts: object,
        settings: object,
        config: AConfig,
        *,
        refit: bool,
        **_: object,
    ) -> Trained[AModel]:
        comparison = Comparison(self.metric, config.error, {"SES": 9.0}, "lower", "SES")
        bars = () if self.passed else (f"does not beat its baseline: {comparison.describe()}",)
        comparisons = (comparison,) if self.has_enough else ()
        evaluation = Evaluation("demand", self.cut, self.metric, comparisons, bars)
        noise = np.random.default_rng(int(self.cut.timestamp())).normal(0, 0.01, N_SERIES)

        def measure(folder: Path | None) -> dict[str, UnitValues]:
            if self.metric != "WMAPE":  # a model of another kind
                return {}
            text = None if folder is None else (folder / "error.txt").read_text()
            self.measured.append("candidate" if folder is None else folder.name)
            error = config.error if text is None else float(text)
            amounts = error * (1 + (0 if text is None else 1) * noise)
            ids, ones = np.arange(N_SERIES), np.ones(N_SERIES)
            return {"wmape": UnitValues("WMAPE", "series", ids, amounts, ones, "lower")}

        model = AModel(config.error)
        until = self.cut + timedelta(weeks=self.n_held_out) if refit else self.cut
        return Trained(evaluation, model, model, until, measure)


@dataclass
class Shop:
    """Trainings of one shop, each at a later cut."""

    settings: Settings
    registry: Registry
    weeks: int = 0

    def train(
        self, error: float, *, after: int = 1, horizon: int = 4, **task: Any
    ) -> TrainingReport:
        self.weeks += after
        self.task = ATask(CUT + timedelta(weeks=self.weeks), **task)
        run = TrainingRun(Facts(self.settings), self.settings, self.registry, None, lambda _: None)
        return run.train(self.task, AConfig(error, horizon))  # type: ignore[arg-type]

    def champion(self) -> str:
        champion = self.registry.find_champion("demand")
        assert champion is not None
        return champion.version


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    settings = Settings(home=tmp_path)
    return Shop(settings, Registry(settings.mlflow_url, settings.home))


def test_the_first_model_is_measured_against_its_baselines_alone(shop: Shop) -> None:
    report = shop.train(1.0)
    assert report.verdict.promote
    assert shop.task.measured == []


def test_the_champion_itself_is_measured_on_the_candidate_s_window(shop: Shop) -> None:
    shop.train(1.0)
    report = shop.train(1.05, after=4)  # the champion was fitted until this cut
    assert shop.task.measured == ["model", "candidate"]
    assert not report.verdict.promote
    assert "as it serves" in report.verdict.reason
    (test,) = report.verdict.tests
    assert test.paired.loss == pytest.approx(0.05, abs=0.002)


def test_a_champion_that_has_seen_the_window_is_measured_as_fitted_before(shop: Shop) -> None:
    shop.train(1.0)
    report = shop.train(1.0, after=1)
    assert shop.task.measured == [EVALUATED, "candidate"]
    assert report.verdict.promote
    assert "has seen the test data" in report.verdict.reason


def test_five_trainings_in_a_row_never_lose_more_than_the_margin(shop: Shop) -> None:
    error = 1.0
    shop.train(error)
    for _ in range(5):
        report = shop.train(error * 1.006)
        error = error * 1.006 if report.verdict.promote else error
    assert 1.0 < error <= 1.02  # 1.006 ** 4 is 1.024
    assert shop.registry.find_champion("demand").tags["anchor"] == "1"  # type: ignore[union-attr]


def test_a_version_without_files_is_fitted_anew_where_its_configuration_differs(
    shop: Shop,
) -> None:
    first = shop.train(1.0)
    folder = shop.registry.fetch_files(first.version, EVALUATED)
    shutil.rmtree(folder)
    report = shop.train(1.1)
    assert not report.verdict.promote
    assert "its configuration fitted at the same cut" in report.verdict.reason


def test_a_candidate_measured_on_older_data_is_refused(shop: Shop) -> None:
    shop.train(1.0, after=4)
    assert "older data" in shop.train(0.5, after=-1).verdict.reason
    assert shop.champion() == "1"


def test_what_cannot_be_measured_beside_a_champion_of_another_metric_does_not_replace_it(
    shop: Shop,
) -> None:
    champion = shop.train(1.0).version.version
    report = shop.train(1.0, metric="hits")
    assert not report.verdict.promote
    assert "cannot be compared with the champion, which was evaluated by WMAPE" in (
        report.verdict.reason
    )
    assert shop.champion() == champion


def test_a_champion_of_another_metric_is_older_where_its_data_end_earlier(shop: Shop) -> None:
    shop.train(1.0, metric="hits")
    assert "measured on older data" in shop.train(1.0, after=-1).verdict.reason
    assert shop.train(1.0, after=0, n_held_out=5).verdict.promote  # until the same week


def test_a_model_that_nothing_was_held_out_for_makes_way_for_one_that_was_measured(
    shop: Shop,
) -> None:
    shop.train(1.0, after=4, n_held_out=0, has_enough=False)  # fitted on all data
    assert shop.train(1.0, after=-3).verdict.promote
    assert shop.champion() == "2"
    assert "older data" in shop.train(1.0, after=-1).verdict.reason


def test_a_measured_champion_stays_where_nothing_can_be_evaluated(shop: Shop) -> None:
    shop.train(1.0, after=4)
    report = shop.train(1.1, has_enough=False)  # another configuration
    assert not report.verdict.promote
    assert "nothing can be evaluated on these data; champion 1 was measured" in (
        report.verdict.reason
    )
    assert shop.champion() == "1"
    assert shop.train(1.0, has_enough=False, after=0).verdict.promote  # the champion's
    assert not shop.train(1.1, has_enough=False, after=0).verdict.promote
    assert shop.champion() == "3"
    assert not shop.train(1.1).verdict.promote  # measurably worse


def test_a_measured_champion_whose_forecasts_run_out_is_renewed_by_what_was_not_evaluated(
    shop: Shop,
) -> None:
    shop.train(1.0)
    assert not shop.train(1.1, has_enough=False, after=3).verdict.promote
    report = shop.train(1.1, has_enough=False, after=1)
    assert report.verdict.promote
    assert "does not know the last 4 weeks" in report.verdict.reason


def test_a_candidate_behind_its_baseline_is_refused_before_any_comparison(shop: Shop) -> None:
    shop.train(1.0)
    task = ATask(CUT + timedelta(weeks=2), passed=False)
    run = TrainingRun(Facts(shop.settings), shop.settings, shop.registry, None, lambda _: None)
    report = run.train(task, AConfig(20.0))  # type: ignore[arg-type]
    assert not report.verdict.promote
    assert "does not beat its baseline: WMAPE 20.0000 against 9.0000 of SES" in (
        report.verdict.reason
    )


def test_what_is_behind_its_baseline_serves_only_where_nothing_of_its_kind_does(
    shop: Shop,
) -> None:
    refused = shop.train(20.0, passed=False)
    assert not refused.verdict.promote
    first = shop.train(20.0, passed=False, serves_behind=True)
    assert first.verdict.promote
    assert first.verdict.reason.startswith("the first of its kind serves, although it is")
    assert "WMAPE 20.0000 against 9.0000 of SES" in first.verdict.reason
    assert not shop.train(20.0, passed=False, serves_behind=True).verdict.promote
    assert shop.champion() == first.version.version


def test_a_champion_whose_metric_is_not_recorded_is_no_stand_in(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.train(1.0)
    champion = shop.registry.find_champion("demand")
    assert champion is not None
    tags = {name: value for name, value in champion.tags.items() if name != "metric"}
    older = replace(champion, tags=tags)
    monkeypatch.setattr(Registry, "find_champion", lambda *_: older)
    assert not shop.train(20.0, passed=False, serves_behind=True).verdict.promote
