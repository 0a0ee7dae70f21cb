"""Fits a price response: to regular prices, to the depth of reductions, and to being announced.

What else explains prices and units is taken out first, predicted from other weeks (`double_ml`);
the responses of each item are then shrunk towards its category's and department's
(`shrink_responses`). Units are fitted as counts. How items of a nest take from each other is either
log-linear, or that of shoppers who choose one of them (`choice_form`), or nothing: the form that
predicts better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import AnyArray, BoolArray, Float64Array, Int64Array
from features.contracts.categories import codes
from features.contracts.errors import BadInput
from models.pricing.response.choice_form import ChoiceEffect
from models.pricing.response.controls import build_controls
from models.pricing.response.cross_weights import choose_cross_weights
from models.pricing.response.double_ml import Residuals, fit_control_effects, residualise
from models.pricing.response.elasticity import ALONE, CHOICE, LOG_LINEAR, ElasticityModel
from models.pricing.response.evidence import grade_evidence, measure_evidence
from models.pricing.response.foreseen_demand import ForeseenDemand, measure_foreseen_demand
from models.pricing.response.group_regression import Levels, apply_coefficients
from models.pricing.response.instruments import correct_slopes
from models.pricing.response.log_linear_form import LogLinearEffect
from models.pricing.response.margin_evidence import MarginEvidence, read_margins
from models.pricing.response.margins import UsualProfits
from models.pricing.response.nest_coefficients import NestEffect, OwnFit
from models.pricing.response.nest_gains import NestGains, shift_regular
from models.pricing.response.nests import build_nests
from models.pricing.response.own_responses import OwnResponses, fit_own_responses
from models.pricing.response.panel import PricePanel
from models.pricing.response.randomised import (
    MeasuredSlopes,
    UncertainSlopes,
    add_measured_slopes,
    hide_test_weeks,
    select_measured,
)
from models.pricing.response.shrink_responses import ShrunkenResponses, shrink_responses
from models.pricing.response.treatments import (
    ANNOUNCED,
    DEPTH,
    REGULAR,
    centre_treatments,
    combine_treatments,
)
from models.pricing.response.working_response import (
    WorkingResponse,
    build_count_response,
    build_log_response,
    measure_misfits,
)

_SCORING_STEPS = 4  # the first on log units, the others on counts
# Further ones for each form of the nests, from the fit without nests on: what the nest does and the
# responses depend on each other.
_FORM_STEPS, _SETTLED_STEPS = 9, 2


@dataclass(frozen=True)
class ElasticityConfig:
    """How a price response is fitted.

    noise             variance of log units beyond the Poisson part 1 / units
    min_weeks         selling weeks that a response needs
    min_change        a reduction is deeper than this, in log price; so are held-out changes
    category_depths   levels of the category path towards which responses are shrunk
    n_folds           blocks of weeks; each is predicted by models fitted on the others
    """

    noise: float = 0.1
    min_weeks: int = 8
    min_change: float = 0.05
    category_depths: tuple[int, ...] = (2, 1)
    n_folds: int = 4


@dataclass(frozen=True)
class FittedElasticities:
    """A model, and the panel and residuals that its responses were last fitted on."""

    model: ElasticityModel
    panel: PricePanel
    residuals: Residuals


def fit_elasticities(
    panel: PricePanel, config: ElasticityConfig, tested: MeasuredSlopes | None = None
) -> ElasticityModel:
    """Fit all series that sold in at least `min_weeks` weeks. BadInput when there is none.

    `tested`: what price tests measured in weeks of the panel.
    """
    return fit_with_residuals(panel, config, tested).model


def find_fitted_series(panel: PricePanel, config: ElasticityConfig) -> BoolArray:
    """Return the series (S,) that sold in enough weeks for a response."""
    return np.asarray(panel.sold.sum(1) >= config.min_weeks)


def fit_with_residuals(
    panel: PricePanel, config: ElasticityConfig, tested: MeasuredSlopes | None = None
) -> FittedElasticities:
    """Fit as `fit_elasticities` does, and return what the responses were fitted on as well."""
    with_tests = panel
    if tested is not None:
        panel = hide_test_weeks(panel, tested)
    sells_enough = find_fitted_series(panel, config)
    if not sells_enough.any():
        raise BadInput(
            f"no item sold in {config.min_weeks} weeks or more, so no price response can be fitted",
            hint="Import more history, or lower min_weeks with --set",
        )
    panel = panel.select_series(sells_enough)
    with_tests = with_tests.select_series(sells_enough)
    fitter = _Fitter(panel, config)
    fit = fitter.fit_best_form()
    margins = fitter.read_margins(fit)
    shrunken = margins.shrunken
    correction, variance = correct_slopes(panel, fit.residuals, fitter.levels, shrunken.mean)
    responses, covariance = shrunken.mean.copy(), shrunken.covariance.copy()
    responses[:, REGULAR] += correction
    covariance[:, REGULAR, REGULAR] += variance
    nest = NestGains.build(fit.nest, fitter.nests, margins)
    foreseen = measure_foreseen_demand(
        panel, fit.residuals, fit.unexplained, fitter.levels, responses.mean(0)
    )
    columns = _describe_responses(fit, nest, responses, covariance, foreseen)
    slopes = UncertainSlopes(
        mean=columns["elasticity"],
        variance=columns["error"] ** 2,
        shop_error=columns["own_share"] * np.hypot(shrunken.shop_error, np.sqrt(variance)),
        category_error=columns["own_share"] * shrunken.category_error,
        category=fitter.finest_groups,
    )
    if tested is not None:
        slopes = add_measured_slopes(slopes, *select_measured(panel, tested))
    columns |= _replace_slopes(columns, slopes)
    columns |= _describe_cross(nest, columns)
    evidence = measure_evidence(with_tests, config.min_change)
    columns |= {
        "n_changes": evidence.n_regular_changes,
        "n_reductions": evidence.n_reductions,
        "lowest": evidence.lowest,
        "highest": evidence.highest,
        "grade": grade_evidence(columns["elasticity"], columns["error"], evidence),
    }
    model = ElasticityModel(
        panel.item_ids,
        panel.zones,
        controls=fit.residuals.controls.names,
        form=fit.form,
        **columns,
    )
    return FittedElasticities(model, panel, fit.residuals)


def _replace_slopes(
    columns: Mapping[str, AnyArray], slopes: UncertainSlopes
) -> dict[str, AnyArray]:
    """Return the columns that hold the response to a regular price, with these slopes."""
    responses = columns["responses"].copy()
    own_share = columns["own_share"]
    responses[:, REGULAR] += (slopes.mean - columns["elasticity"]) / own_share
    return {
        "responses": responses,
        "elasticity": slopes.mean,
        "error": np.sqrt(slopes.variance),
        "shop_error": slopes.shop_error,
        "category_error": slopes.category_error,
    }


def _describe_responses(
    fit: _FormFit,
    nest: NestGains,
    responses: Float64Array,
    covariance: Float64Array,
    foreseen: ForeseenDemand,
) -> dict[str, AnyArray]:
    """Return the columns of a model: elasticities, lifts and what nests do to each other.

    `responses` predict units as they were sold; the responses to reductions are without the demand
    that was foreseen.
    """
    elasticity = foreseen.take_from(responses) * nest.kept
    variance = np.diagonal(covariance, axis1=1, axis2=2) + foreseen.error**2
    own_error = np.sqrt(variance) * nest.kept
    by_nest = nest.move_elasticities(responses[:, REGULAR])
    return {
        "responses": responses,
        "elasticity": elasticity[:, REGULAR],
        "error": np.hypot(own_error[:, REGULAR], by_nest),
        "depth": elasticity[:, DEPTH],
        "depth_error": own_error[:, DEPTH],
        "announced": elasticity[:, ANNOUNCED],
        "announced_error": own_error[:, ANNOUNCED],
        "own_share": nest.kept[:, REGULAR],
        "own": fit.own.estimate[:, REGULAR] * nest.kept[:, REGULAR],
        "own_responses": fit.own.estimate,
        "effects": fit.effects,
        "family": nest.nests.names,
        "share": nest.nests.share,
        "inside": nest.inside,
        "inside_regular": nest.inside_regular,
        "pull": nest.cross_weights,
        "pulls": nest.pulls,
    }


def _describe_cross(nest: NestGains, columns: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Return the columns of the cross elasticities, given the final responses."""
    slopes, error = columns["responses"][:, REGULAR], columns["error"]
    by_nest = np.clip(nest.move_elasticities(slopes), -error, error)
    own_error = np.sqrt(error**2 - by_nest**2)
    cross = nest.find_cross(slopes, own_error / columns["own_share"])
    cross_error = np.sqrt(cross.by_own**2 + cross.common**2 + cross.alone**2)
    covariance = own_error * cross.by_own + by_nest * cross.common
    return {
        "cross_received": nest.received,
        "cross_sent": cross.sent,
        "cross_error": cross_error,
        "cross_correlation": covariance / np.maximum(error * cross_error, 1e-12),
    }


@dataclass(frozen=True)
class _FormFit:
    """A fit of one form of the nests.

    response      the working response of the next step
    effects       (S, F) effects of the controls
    unexplained   (S, W) log units that nothing explains
    misfits       (S,) how badly units are predicted by fits on other weeks (`measure_misfits`)
    nest          what the nest adds to log units; None where nothing does
    """

    form: str
    residuals: Residuals
    own: OwnResponses
    shrunken: ShrunkenResponses
    effects: Float64Array
    response: WorkingResponse
    unexplained: Float64Array
    misfits: Float64Array
    nest: NestEffect | None


def _is_better(misfits: Float64Array, others: Float64Array) -> bool:
    """Return whether the first misfits (S,) are smaller by more than one standard error."""
    gain = others - misfits
    return float(gain.sum()) > float(np.sqrt(len(gain)) * gain.std())


class _Fitter:
    """Fits one panel: first without nests, then each form of them from there on."""

    def __init__(self, panel: PricePanel, config: ElasticityConfig) -> None:
        self._panel = panel
        self._config = config
        self._log_response = build_log_response(panel, config.noise)
        self._tree: Sequence[Int64Array] = [
            codes(panel.category, depth) for depth in config.category_depths
        ]
        self.levels = Levels.from_panel(panel, config.category_depths)
        self.finest_groups = self._tree[0] if self._tree else np.zeros(len(panel.units), np.int64)
        self.nests = build_nests(panel)
        self._treatments = centre_treatments(panel)

    def fit_best_form(self) -> _FormFit:
        """Return the fit of the choice form, or of another that predicts units better.

        The choice form never moves more units within a nest than an item gains or loses.

        Items of families that the shop names replace each other, the question is how; whether the
        items of a category do is to be seen.
        """
        alone = self._fit(ALONE, self._log_response, None, _SCORING_STEPS)
        if not self.nests.nested.any():
            return alone
        cross_weights = choose_cross_weights(
            self._panel, self.nests, self.levels, alone.unexplained, alone.residuals.weights
        )
        choice = ChoiceEffect.start(self.nests, self.levels, self._treatments)
        log_linear = LogLinearEffect.start(
            self.nests, self.levels, cross_weights, self._treatments, alone.shrunken.mean
        )
        best = self._fit(CHOICE, alone.response, choice, _FORM_STEPS)
        others = [self._fit(LOG_LINEAR, alone.response, log_linear, _FORM_STEPS)]
        if not self.nests.declared.any():
            others.append(alone)
        for other in others:
            if _is_better(other.misfits, best.misfits):
                best = other
        return best

    def read_margins(self, fit: _FormFit) -> MarginEvidence:
        """Return the responses with the evidence of the shop's usual margins; the same without."""
        profits = UsualProfits.measure(self._panel, self.nests)
        if profits is None or not self._tree:
            return MarginEvidence.without(fit.shrunken)
        n = len(self._panel.units)

        def imply_slopes(errors: float) -> Float64Array:
            kept, gained = np.ones(n), np.zeros(n)
            if fit.nest is not None:
                regular = shift_regular(fit.nest, errors)
                kept, gained = fit.nest.find_kept_and_gained(regular, profits)
            return profits.imply_slopes(self._tree[0], kept, gained)

        return read_margins(fit.own, self._tree, imply_slopes, nested=fit.nest is not None)

    def _fit(
        self, form: str, response: WorkingResponse, nest: NestEffect | None, n_steps: int
    ) -> _FormFit:
        panel = self._panel
        controls = build_controls(panel)
        centred_controls = _centre_weeks(controls[1])
        of_nest = np.zeros(panel.units.shape)
        n_near = 0  # steps in which the nest hardly moved: units are then predicted as well
        for step in range(n_steps):
            alone = WorkingResponse(response.values - of_nest, response.weights)
            residuals = residualise(panel, alone, self.levels, controls, self._config.n_folds)
            own, shrunken, effects = self._fit_responses(residuals)
            explained = combine_treatments(shrunken.mean, residuals.treatments)
            explained += apply_coefficients(effects, residuals.controls.residual)
            unexplained = residuals.units - explained
            fitted = residuals.level + explained + of_nest
            missed = residuals.units_residual - combine_treatments(
                shrunken.mean, residuals.treatments_residual
            )
            predicted = response.values - missed
            is_last = step + 1 == n_steps
            if nest is not None:
                before = nest
                utility = combine_treatments(shrunken.mean, self._treatments)
                utility += apply_coefficients(effects, centred_controls)
                own_fit = OwnFit(shrunken.mean, utility)
                nest = before.update(own_fit, residuals, unexplained)
                of_nest = nest.predict(own_fit)
                n_near = n_near + 1 if nest.is_near(before) else 0
                is_last = is_last or n_near == _SETTLED_STEPS
            response = build_count_response(panel, fitted, self._config.noise)
            if is_last:
                break
        return _FormFit(
            form=form,
            residuals=residuals,
            own=own,
            shrunken=shrunken,
            effects=effects,
            response=response,
            unexplained=unexplained,
            misfits=measure_misfits(panel, predicted, self._config.noise),
            nest=nest,
        )

    def _fit_responses(
        self, residuals: Residuals
    ) -> tuple[OwnResponses, ShrunkenResponses, Float64Array]:
        """Return own and shrunken responses, and the effects of the controls (S, F).

        First on the residuals of units and prices: right on average, whatever the controls do to
        both. From these follow the effects of the controls, which many series share and which are
        known well. With these taken from the units, each series' responses are fitted on all
        changes of its prices, also those that come with a promotion: more precise, and as unbiased.
        """
        first = fit_own_responses(
            residuals.weights, residuals.treatments_residual, residuals.units_residual
        )
        first_mean = shrink_responses(first, self._tree).mean
        first_effects = fit_control_effects(residuals, first_mean, self.levels)
        net_units = residuals.units - apply_coefficients(first_effects, residuals.controls.residual)
        own = fit_own_responses(residuals.weights, residuals.treatments, net_units)
        shrunken = shrink_responses(own, self._tree)
        return own, shrunken, fit_control_effects(residuals, shrunken.mean, self.levels)


def _centre_weeks(controls: Float64Array) -> Float64Array:
    """Return controls (F, S, W) less the mean of each series."""
    return np.asarray(controls - controls.mean(2, keepdims=True))
