"""What margins say of slopes and of nests together."""

import numpy as np
import pytest

from models.pricing.response.margin_evidence import read_margins
from models.pricing.response.own_responses import fit_own_responses
from models.pricing.response.treatments import REGULAR, combine_treatments

N_GROUPS, OF_GROUP = 6, 20
TREE = [np.repeat(np.arange(N_GROUPS), OF_GROUP)]


def fit_own(slope):
    """Own responses of series whose regular slope is `slope`, well known."""
    rng = np.random.default_rng(8)
    n, n_weeks = N_GROUPS * OF_GROUP, 120
    announced = (rng.random((n, n_weeks)) < 0.3) * 1.0
    depth = -announced * rng.uniform(0.1, 0.4, (n, n_weeks))
    treatments = np.stack([0.1 * rng.normal(size=(n, n_weeks)), depth, announced])
    units = combine_treatments(np.tile([slope, slope, 0.0], (n, 1)), treatments)
    units += 0.2 * rng.normal(size=units.shape)
    return fit_own_responses(np.ones((n, n_weeks)), treatments, units)


def imply(errors):
    """Margins fit a slope of -2 at the expected diversion, and one of -2.5 one error above it."""
    return np.full(N_GROUPS, -2.0 - 0.5 * errors)


def test_margins_that_fit_no_slope_at_the_expected_diversion_move_the_diversion():
    evidence = read_margins(fit_own(-2.5), TREE, imply, nested=True)
    assert evidence.shift == pytest.approx(0.9, abs=0.25)
    assert evidence.spread < 0.7  # it is known better than from the sales of the nest
    assert evidence.shrunken.mean[:, REGULAR].mean() == pytest.approx(-2.5, abs=0.1)
    # Where the nests gain more, own slopes are steeper.
    assert (evidence.moved <= 0).all()


def test_without_nests_margins_say_only_something_of_slopes():
    evidence = read_margins(fit_own(-2.5), TREE, lambda _: np.full(N_GROUPS, -2.5), nested=False)
    assert (evidence.shift, evidence.spread) == (0.0, 1.0)
    assert not evidence.moved.any()


def test_unknown_margins_say_nothing_of_the_nests():
    unknown = np.full(N_GROUPS, np.nan)
    evidence = read_margins(fit_own(-2.5), TREE, lambda _: unknown, nested=True)
    assert evidence.shift == pytest.approx(0.0, abs=1e-9)
    assert evidence.spread == pytest.approx(1.0, abs=0.1)
