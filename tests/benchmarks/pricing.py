"""`make bench-pricing`: price response on held-out price changes, and on shops of known demand.

    python -m tests.benchmarks.pricing [--seeds 20] [--first-seed 1]

On the Complete Journey (of the state folder when that holds it, else a temporary one), and on
simulated shops of both forms of demand, confounded. Prints one line per target at the end. Exits 1
when a target is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Sequence

from experiments.simulator.parameters import Form
from serving.cli.evaluate import print_evaluation
from serving.cli.evaluation_data import COMPLETE_JOURNEY, open_data
from serving.cli.shop import Shop
from tests.benchmarks.simulated_pricing import ShopResult, evaluate_shop
from tests.benchmarks.targets import Target
from training.pricing.baselines import EMPIRICAL_BAYES
from training.pricing.task import PRIMARY, PricingTask
from training.run import TrainingRun, load_config

MIN_GAIN, MAX_POSITIVE = 0.05, 0.03
MIN_LEAST_SQUARES_ERROR, MAX_WMAPE, MIN_CAPTURED = 0.20, 0.08, 0.80


def evaluate_held_out_changes() -> list[Target]:
    """Evaluate on real price changes that the model has not seen, beside its baselines."""
    shop = Shop()
    own = not shop.facts.is_empty("promotions")
    with open_data(None, None if own else COMPLETE_JOURNEY, print) as data:
        task = PricingTask()
        run = TrainingRun(data.facts, data.settings, None, None, lambda _: None)
        evaluation = run.evaluate(task, load_config(task, data.settings))
    print_evaluation(evaluation)
    comparison, metrics = evaluation.comparison(PRIMARY), evaluation.metrics
    gain, positive = metrics["gain over empirical Bayes"], metrics["share positive elasticities"]
    low, high = (metrics[f"gain over empirical Bayes, {end} %"] for end in ("2.5", "97.5"))
    r2 = f"R2 {comparison.ours:.3f} against {comparison.baselines[EMPIRICAL_BAYES]:.3f}"
    interval = f"{low:+.1%} to {high:+.1%}, items drawn with replacement"
    clipped = f"share clipped {metrics['share clipped']:.1%}"
    return [
        Target(
            f"held-out price changes, at least {MIN_GAIN:.0%} above empirical Bayes",
            f"{r2}, {gain:+.1%} ({interval})",
            gain >= MIN_GAIN,
        ),
        Target(
            f"positive elasticities, at most {MAX_POSITIVE:.0%}",
            f"{positive:.1%} of {metrics['items judged']:.0f} items, {clipped}",
            positive <= MAX_POSITIVE,
        ),
    ]


def evaluate_simulated_shops(form: Form, seeds: Sequence[int]) -> list[Target]:
    """Evaluate on confounded simulated shops; print one line per shop."""
    print(
        f"\n{form}: error of least squares, of ours; WMAPE at ±10 % of the last year, of the "
        "response alone, from the forecast; share of the oracle's gain, gain in true profit, the "
        "oracle's; prices changed; seconds"
    )
    results: list[ShopResult] = []
    for seed in seeds:
        started = time.monotonic()
        result = evaluate_shop(form, seed)
        results.append(result)
        print(
            f"seed {seed:3d}  {result.least_squares:+.2f} {result.ours:+.2f}  "
            f"{result.wmape:.3f} {result.wmape_response:.3f} {result.wmape_forecast:.3f}  "
            f"{result.captured:6.1%} {result.gained:+.2%} {result.oracle:+.2%}  "
            f"{result.n_changes:3d}  {time.monotonic() - started:.0f}",
            flush=True,
        )
    least_squares = statistics.fmean(result.least_squares for result in results)
    ours = statistics.fmean(result.ours for result in results)
    wmape = statistics.fmean(result.wmape for result in results)
    wmape_response = statistics.fmean(result.wmape_response for result in results)
    wmape_forecast = statistics.fmean(result.wmape_forecast for result in results)
    captured = statistics.fmean(result.captured for result in results)
    worst = min(results, key=lambda result: result.gained)
    n_gained = sum(result.gained >= 0 for result in results)
    return [
        Target(
            f"{form}: least squares errs by {MIN_LEAST_SQUARES_ERROR:.2f}",
            f"{least_squares:+.2f} (ours {ours:+.2f})",
            abs(least_squares) >= MIN_LEAST_SQUARES_ERROR,
        ),
        Target(
            f"{form}: WMAPE at ±10 %, at most {MAX_WMAPE:.2f}",
            f"{wmape:.3f} (response alone {wmape_response:.3f}, "
            f"from the forecast {wmape_forecast:.3f})",
            wmape <= MAX_WMAPE,
        ),
        Target(
            f"{form}: share of the oracle's gain, at least {MIN_CAPTURED:.0%}",
            f"{captured:.1%}",
            captured >= MIN_CAPTURED,
        ),
        Target(
            f"{form}: true profit at least that of keeping prices, every seed",
            f"{n_gained} of {len(results)}, least {worst.gained:+.2%} (seed {worst.seed})",
            worst.gained >= 0,
        ),
    ]


def check_repetition(form: Form, seed: int) -> Target:
    """Check that the same data and seed give the same suggestions."""
    first, second = (evaluate_shop(form, seed).prices for _ in range(2))
    n_differing = sum(first[item_id] != second[item_id] for item_id in first)
    return Target(
        "same data, same seed: same prices to the cent",
        f"{n_differing} of {len(first)} differ",
        not n_differing,
    )


def main() -> int:
    """Print one line per target; return 1 when one is missed."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    targets = evaluate_held_out_changes()
    forms: tuple[Form, ...] = ("loglinear", "choice")
    for form in forms:
        targets += evaluate_simulated_shops(form, seeds)
    targets.append(check_repetition("loglinear", options.first_seed))
    print()
    for target in targets:
        print(target)
    return int(not all(target.met for target in targets))


if __name__ == "__main__":
    sys.exit(main())
