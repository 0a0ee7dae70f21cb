"""`make bench-pricing`: price response on held-out price changes and on shops of which demand is
known.

    python -m tests.benchmarks.pricing [--seeds 20] [--first-seed 1]

On the Complete Journey (of the state folder when that holds it, else a temporary one), and on
simulated shops of both forms of demand, confounded. One line a target at the end. Exits 1 when a
target is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Sequence

from serving.cli.evaluate import print_evaluation
from serving.cli.evaluated_data import COMPLETE_JOURNEY, opened_data
from serving.cli.shop import Shop
from tests.benchmarks.simulated_pricing import Judged, judge
from tests.benchmarks.targets import Target
from training.pricing.baselines import EMPIRICAL_BAYES
from training.pricing.task import PRIMARY, PricingTask
from training.run import TrainingRun, load_config

GAIN, MOST_POSITIVE = 0.05, 0.03
LEAST_SQUARES, WMAPE, CAPTURED = 0.20, 0.08, 0.80


def held_out() -> list[Target]:
    """Real price changes that the model has not seen, beside its baselines."""
    shop = Shop()
    own = not shop.facts.is_empty("promotions")
    with opened_data(None, None if own else COMPLETE_JOURNEY, print) as data:
        task = PricingTask()
        run = TrainingRun(data.facts, data.settings, None, None, lambda _: None)
        found = run.evaluate(task, load_config(task, data.settings))
    print_evaluation(found)
    whole, metrics = found.comparison(PRIMARY), found.metrics
    gain, positive = metrics["gain over empirical Bayes"], metrics["share positive elasticities"]
    ends = [metrics[f"gain over empirical Bayes, {end} %"] for end in ("2.5", "97.5")]
    r2 = f"R2 {whole.ours:.3f} against {whole.baselines[EMPIRICAL_BAYES]:.3f}"
    interval = f"{ends[0]:+.1%} to {ends[1]:+.1%}, items drawn with replacement"
    return [
        Target(
            f"held-out price changes, at least {GAIN:.0%} above empirical Bayes",
            f"{r2}, {gain:+.1%} ({interval})",
            gain >= GAIN,
        ),
        Target(
            f"positive elasticities, at most {MOST_POSITIVE:.0%}",
            f"{positive:.1%} of {metrics['items judged']:.0f} items, share clipped {metrics['share clipped']:.1%}",
            positive <= MOST_POSITIVE,
        ),
    ]


def simulated(form: str, seeds: Sequence[int]) -> list[Target]:
    """Confounded simulated shops, one line each; what must hold over all of them."""
    print(
        f"\n{form}: error of least squares, of ours; WMAPE at ±10 % of the last year, of the response alone, from the "
        "forecast; share of the oracle's gain, gain in true profit, the oracle's; prices changed; seconds"
    )
    found: list[Judged] = []
    for seed in seeds:
        started = time.monotonic()
        each = judge(form, seed)  # type: ignore[arg-type]
        found.append(each)
        print(
            f"seed {seed:3d}  {each.least_squares:+.2f} {each.ours:+.2f}  {each.wmape:.3f} {each.wmape_response:.3f} "
            f"{each.wmape_forecast:.3f}  {each.captured:6.1%} {each.gained:+.2%} {each.oracle:+.2%}  "
            f"{each.n_changes:3d}  {time.monotonic() - started:.0f}",
            flush=True,
        )
    plain = statistics.fmean(each.least_squares for each in found)
    ours = statistics.fmean(each.ours for each in found)
    wmape = statistics.fmean(each.wmape for each in found)
    captured = statistics.fmean(each.captured for each in found)
    least = min(found, key=lambda each: each.gained)
    others = ", ".join(
        f"{name} {statistics.fmean(getattr(each, field) for each in found):.3f}"
        for name, field in (
            ("response alone", "wmape_response"),
            ("from the forecast", "wmape_forecast"),
        )
    )
    return [
        Target(
            f"{form}: least squares errs by {LEAST_SQUARES:.2f}",
            f"{plain:+.2f} (ours {ours:+.2f})",
            abs(plain) >= LEAST_SQUARES,
        ),
        Target(
            f"{form}: WMAPE at ±10 %, at most {WMAPE:.2f}",
            f"{wmape:.3f} ({others})",
            wmape <= WMAPE,
        ),
        Target(
            f"{form}: share of the oracle's gain, at least {CAPTURED:.0%}",
            f"{captured:.1%}",
            captured >= CAPTURED,
        ),
        Target(
            f"{form}: true profit at least that of keeping prices, every seed",
            f"{sum(each.gained >= 0 for each in found)} of {len(found)}, least {least.gained:+.2%} (seed {least.seed})",
            least.gained >= 0,
        ),
    ]


def repeated(form: str, seed: int) -> list[Target]:
    """The same data and seed give the same suggestions."""
    first, second = (judge(form, seed).prices for _ in range(2))  # type: ignore[arg-type]
    differing = sum(first[item] != second[item] for item in first)
    return [
        Target(
            "same data, same seed: same prices to the cent",
            f"{differing} of {len(first)} differ",
            not differing,
        )
    ]


def main() -> int:
    """Prints one line a target; 1 when one is missed."""
    warnings.simplefilter("ignore")
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=20)
    arguments.add_argument("--first-seed", type=int, default=1)
    given = arguments.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    targets = held_out()
    for form in ("loglinear", "choice"):
        targets += simulated(form, seeds)
    targets += repeated("loglinear", given.first_seed)
    print()
    for target in targets:
        print(target)
    return int(not all(target.met for target in targets))


if __name__ == "__main__":
    sys.exit(main())
