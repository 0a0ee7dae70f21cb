"""Agreement with tea-tasting on means, ratios and CUPED of simulated shops."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import tea_tasting as tt

from experiments.analysis.estimates import estimate_metric
from experiments.analysis.relative import compare_relative
from experiments.analysis.statistics import compare_means
from experiments.analysis.sums import UnitSums
from features.contracts.arrays import AnyArray
from tests.benchmarks.experiments.simulation import SEED
from tests.benchmarks.targets import Target

N_SHOPS = 50
N_UNITS = 2_000
DIGITS = 1e-6
METRICS: dict[str, tuple[tuple[str, ...], tt.RatioOfMeans]] = {
    "mean": (("value",), tt.Mean("value", use_t=True)),
    "mean with CUPED": (("value", "prior_value"), tt.Mean("value", "prior_value", use_t=True)),
    "ratio": (("value", "base"), tt.RatioOfMeans("value", "base", use_t=True)),
    "ratio with CUPED": (
        ("value", "base", "prior_value", "prior_base"),
        tt.RatioOfMeans("value", "base", "prior_value", "prior_base", use_t=True),
    ),
}


def measure_agreement() -> list[Target]:
    """Print the largest relative distance to tea-tasting by metric.

    Compared are both means, the difference and the relative difference with their intervals, and
    the p-value.
    """
    rng = np.random.default_rng(SEED)
    shops = [_draw_units(rng) for _ in range(N_SHOPS)]
    targets = []
    for name, (columns, metric) in METRICS.items():
        largest = 0.0
        for units in shops:
            ours, theirs = _analyse(units, columns), _ask_oracle(units, metric)
            largest = max(largest, float(np.max(np.abs(ours - theirs) / np.abs(theirs))))
        print(f"tea-tasting, {name}, {N_SHOPS} shops: largest relative distance {largest:.1e}")
        title = f"{name} agrees with tea-tasting to six digits"
        targets.append(Target(title, f"{largest:.1e}", largest <= DIGITS))
    return targets


def _draw_units(rng: np.random.Generator) -> dict[str, AnyArray]:
    """Return orders and revenue of units in two periods with users of their own taste and price."""
    taste, price = rng.gamma(1.0, 1.0, N_UNITS), rng.lognormal(3.0, 0.6, N_UNITS)
    variant = rng.integers(0, 2, N_UNITS)
    prior_base, base = rng.poisson(1 + taste), rng.poisson(1 + taste * (1 + 0.1 * variant))
    noise = rng.lognormal(0.0, 0.3, (2, N_UNITS))
    return {
        "variant": variant,
        "value": np.round(base * price * noise[0]).astype(int),
        "base": base,
        "prior_value": np.round(prior_base * price * noise[1]).astype(int),
        "prior_base": prior_base,
    }


def _analyse(units: dict[str, AnyArray], columns: tuple[str, ...]) -> AnyArray:
    sums = {
        code: UnitSums.from_units({name: units[name][units["variant"] == code] for name in columns})
        for code in (0, 1)
    }
    moments = estimate_metric({str(code): part for code, part in sums.items()})
    control, treatment = moments["0"], moments["1"]
    difference = compare_means(treatment, control)
    relative = compare_relative(treatment, control)
    if difference is None or relative is None or control.mean is None or treatment.mean is None:
        raise ValueError("a simulated shop has no revenue")
    values = (control.mean, treatment.mean, difference.value, difference.low, difference.high)
    shares = (relative.value, relative.low, relative.high, difference.p_value)
    return np.array([*values, *shares])


def _ask_oracle(units: dict[str, AnyArray], metric: tt.RatioOfMeans) -> AnyArray:
    result = tt.Experiment({"metric": metric}, variant="variant").analyze(pa.table(units))["metric"]
    values = (result.control, result.treatment, result.effect_size)
    interval = (result.effect_size_ci_lower, result.effect_size_ci_upper, result.rel_effect_size)
    relative = (result.rel_effect_size_ci_lower, result.rel_effect_size_ci_upper, result.pvalue)
    return np.array([*values, *interval, *relative])
