"""The pricing task: fit a price response on earlier weeks, evaluate it on later ones, refit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from configs.settings import Settings
from experiments.price_panel import read_price_panel
from features.contracts.arrays import BoolArray
from features.contracts.errors import BadInput
from features.facts.facts import Facts
from models.pricing.response.elasticity import ElasticityModel
from models.pricing.response.fit import (
    ElasticityConfig,
    find_fitted_series,
    fit_elasticities,
    fit_with_residuals,
)
from models.pricing.response.panel import PricePanel, hold_prices
from training.non_inferiority import UnitValues
from training.pricing.baselines import Baselines
from training.pricing.change_values import ChangeWindow
from training.pricing.evaluate import (
    PRIMARY,
    add_placebo_tests,
    collect_held_out_changes,
    evaluate_predictions,
)
from training.pricing.measured_slopes import read_measured_slopes
from training.results import Evaluation, Trained
from training.splits import span_of_sales
from training.task import TIME, Progress

__all__ = ["PRIMARY", "PricingConfig", "PricingTask", "evaluate", "train"]


_MEANWHILE = (
    "strategies that need no response (cost_plus, competitor_index) suggest prices, and price "
    "tests (shopwright prices tests) find out what is not known"
)
_NOT_LEARNT = (
    "what serves: the responses that are usual in other shops and that margins imply, since those "
    f"of past prices here predict later changes no better than none; {_MEANWHILE}"
)
_BEHIND = (
    "what serves: the learnt responses all the same; how uncertain they are is part of every "
    "suggestion"
)
_BEHIND_BY_PROMOTIONS = (
    "what serves: the learnt responses all the same, since the baselines take what promotions do "
    "for the response to regular prices"
)


@dataclass(frozen=True)
class PricingConfig:
    """How a price response is fitted and evaluated.

    fit_share           earlier share of the weeks, on which the slopes are fitted; the price
                        changes of the later weeks are predicted
    min_selling_share   items are evaluated that sold in at least this share of all weeks; where
                        none of them changed its price, of the weeks from first sale to last
    """

    fit_share: float = 0.75
    min_selling_share: float = 0.9
    elasticity: ElasticityConfig = field(default_factory=ElasticityConfig)

    def __post_init__(self) -> None:
        if not 0 < self.fit_share < 1 or not 0 < self.min_selling_share <= 1:
            raise BadInput(
                "fit_share and min_selling_share are shares between 0 and 1", where="models/pricing"
            )


def train(
    facts: Facts,
    settings: Settings,
    config: PricingConfig,
    *,
    until: datetime | None,
    refit: bool = True,
    progress: Progress,
) -> Trained[ElasticityModel]:
    """Fit on the earlier weeks, evaluate on later price changes, and refit on all weeks.

    Where nothing can be evaluated, or the evaluation shows that nothing was learnt, the model has
    the responses that are usual in other shops and that margins imply. Raises TooLittleData
    without sales.
    """
    progress("weekly prices and units")
    end = span_of_sales(facts, until, settings).sold_until
    panel, week_starts = read_price_panel(facts, settings, end)
    if not find_fitted_series(panel, config.elasticity).any():
        reason = (
            f"no item sold at a price in {config.elasticity.min_weeks} weeks or more: no response "
            "to prices is known"
        )
        return _train_unevaluated(ElasticityModel.without_series(), end, reason)
    measured = read_measured_slopes(settings, week_starts, end)
    n_weeks = len(week_starts)
    n_fit = int(config.fit_share * n_weeks)
    evaluated = panel.select_series(panel.sold.sum(1) >= config.min_selling_share * n_weeks)
    progress("fitting price response on the earlier weeks")
    # Read anew: usual prices, margins and what is a price list must not know later weeks.
    earlier = panel if not n_fit else read_price_panel(facts, settings, week_starts[n_fit])[0]
    if not n_fit or not find_fitted_series(earlier, config.elasticity).any():
        reason = f"{n_weeks} weeks leave none to evaluate on: responses are those usually measured"
        return _train_unevaluated(fit_elasticities(panel, config.elasticity, measured), end, reason)
    fitted = fit_with_residuals(earlier, config.elasticity)
    changes = collect_held_out_changes(fitted.model, evaluated, n_fit, config.elasticity)
    if not len(changes.series):
        # Where items come and go, none of them may be on sale all the time.
        evaluated = panel.select_series(_find_steady_series(panel, n_fit, config))
        changes = collect_held_out_changes(fitted.model, evaluated, n_fit, config.elasticity)
    if not len(changes.series):
        reason = (
            f"of the {len(evaluated.item_ids):,} items that sold before and in "
            f"{config.min_selling_share:.0%} of their weeks, none changed its price by more than "
            f"{config.elasticity.min_change:.0%} in the last {n_weeks - n_fit} of {n_weeks} "
            "weeks, so price response cannot be evaluated"
        )
        return _train_unevaluated(fit_elasticities(panel, config.elasticity, measured), end, reason)
    baselines = Baselines.fit(evaluated.select_first_weeks(n_fit))
    evaluation = evaluate_predictions(
        fitted, evaluated, changes, baselines, week_starts[n_fit], settings.seed
    )
    progress("placebo tests")
    evaluation = add_placebo_tests(evaluation, fitted, config.elasticity, settings.seed)
    window = ChangeWindow(evaluated, n_fit, config.elasticity)
    at_cut, learnt = fitted.model, panel
    if not evaluation.passed:
        is_learnt = evaluation.comparisons[0].ours > 0
        behind = _BEHIND_BY_PROMOTIONS if changes.are_mostly_promotions else _BEHIND
        serving = behind if is_learnt else _NOT_LEARNT
        notes = (*evaluation.notes, *evaluation.failed_bars, serving)
        evaluation = replace(evaluation, failed_bars=(), notes=notes)
        if not is_learnt:
            at_cut = fit_elasticities(hold_prices(earlier), config.elasticity)
            learnt = hold_prices(panel)

    def measure(folder: Path | None) -> dict[str, UnitValues]:
        return window.measure(at_cut if folder is None else ElasticityModel.load(folder))

    if not refit:
        return Trained(evaluation, at_cut, at_cut, evaluation.cut, measure)
    progress("refitting on all data")
    served = fit_elasticities(learnt, config.elasticity, measured)
    return Trained(evaluation, at_cut, served, end, measure)


def _find_steady_series(panel: PricePanel, n_fit: int, config: PricingConfig) -> BoolArray:
    """Return the series (S,) that sold in enough of their weeks, and before the cut.

    Their weeks are those from the first sale to the last.
    """
    sold = panel.sold
    first, last = sold.argmax(1), panel.n_weeks - 1 - sold[:, ::-1].argmax(1)
    is_steady = sold.sum(1) >= config.min_selling_share * (last - first + 1)
    return np.asarray(is_steady & (sold[:, :n_fit].sum(1) >= config.elasticity.min_weeks))


def _train_unevaluated(
    model: ElasticityModel, end: datetime, reason: str
) -> Trained[ElasticityModel]:
    """Return a model that nothing was held out for, with what serves meanwhile in the notes."""
    evaluation = Evaluation(
        task="pricing",
        cut=end,
        primary=PRIMARY,
        comparisons=(),
        failed_bars=(),
        notes=(f"{reason}; {_MEANWHILE}",),
    )
    return Trained(evaluation, model, model, end, lambda _: {})


def evaluate(
    facts: Facts,
    settings: Settings,
    config: PricingConfig,
    *,
    until: datetime | None,
    split: str = TIME,  # noqa: ARG001
    progress: Progress,
) -> Evaluation:
    """Return the metrics on the later weeks; nothing is refitted."""
    return train(facts, settings, config, until=until, refit=False, progress=progress).evaluation


class PricingTask:
    """Price response, beside simpler slopes on held-out price changes."""

    name = "pricing"
    config = PricingConfig
    serves_behind = False
    protocol = ("fit_share", "min_selling_share")
    splits = (TIME,)
    train = staticmethod(train)
    evaluate = staticmethod(evaluate)
