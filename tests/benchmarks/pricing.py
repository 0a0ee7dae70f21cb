"""`make bench-pricing`: price response on held-out price changes, and on shops of known demand.

    python -m tests.benchmarks.pricing [--seeds 20] [--first-seed 1] [--world real] [--form choice]
        [--quick] [--processes 2] [--keep FOLDER] [--set NAME=VALUE]

On the Complete Journey (of the state folder when that holds it, else a temporary one), and on
simulated shops of both forms of demand, confounded: of the world `standard`, and of the world
`real` with the history of costs known to the shop, only today's costs, and none. Prints one line
per shop, and one line per target at the end. Exits 1 when a target is missed.

--world       one world; `varied` only when it is named
--quick       three seeds, and simulated shops only
--processes   shops at a time, each on one thread; the results do not depend on it
--keep        a folder where imported tables and forecasts stay, for the next run with the same
              parameters; delete it after a change to the import or to demand
--set         another value of a parameter of every simulated shop (a number), to see what one
              difficulty costs; may be repeated
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from experiments.simulator.parameters import Form, ShopParameters
from experiments.simulator.worlds import VARIED, WORLDS, build_parameters
from serving.cli.evaluate import print_evaluation
from serving.cli.evaluation_data import COMPLETE_JOURNEY, open_data
from serving.cli.shop import Shop
from tests.benchmarks.simulated_pricing import OURS, Costs, ShopResult, evaluate_shop
from tests.benchmarks.simulated_pricing_targets import (
    Series,
    list_targets,
    list_world_targets,
    print_header,
    print_responses,
    print_shop,
)
from tests.benchmarks.simulated_shop_data import prepare_shop
from tests.benchmarks.targets import Target
from training.pricing.baselines import EMPIRICAL_BAYES, WITH_PROMOTIONS
from training.pricing.task import PRIMARY, PricingTask
from training.run import TrainingRun, load_config

MIN_GAIN, MAX_POSITIVE = 0.05, 0.03
SEEDS, QUICK_SEEDS = 20, 3
FORMS: tuple[Form, ...] = ("loglinear", "choice")


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
    n_items, clipped = metrics["items judged"], metrics["share clipped"]
    required = {EMPIRICAL_BAYES: MIN_GAIN, WITH_PROMOTIONS: 0.0}
    targets = []
    for name, least in required.items():
        low, high = (metrics[f"gain over {name}, {end} %"] for end in ("2.5", "97.5"))
        gain = metrics[f"gain over {name}"]
        targets.append(
            Target(
                f"held-out price changes, more than {least:.0%} above {name}, paired by item",
                f"R2 {comparison.ours:.4f} against {comparison.baselines[name]:.4f}, {gain:+.1%} "
                f"({low:+.1%} to {high:+.1%}, items drawn with replacement)",
                gain > least and low > 0,
            )
        )
    responses = {
        "regular prices": metrics["share positive elasticities"],
        "depth": metrics["share positive responses to depth"],
    }
    return targets + [
        Target(
            f"positive responses to {name}, at most {MAX_POSITIVE:.0%}",
            f"{share:.1%} of {n_items:.0f} items, share clipped {clipped:.1%}",
            share <= MAX_POSITIVE,
        )
        for name, share in responses.items()
    ]


def evaluate_simulated_shops(
    case: Case, seeds: Sequence[int], pool: ProcessPoolExecutor
) -> list[Series]:
    """Evaluate shops; print their lines as they are done, then ours beside the baselines."""
    print_header(f"{case.world}, {case.form}")
    results: list[list[ShopResult]] = []
    for of_seed in pool.map(case.evaluate, seeds):
        results.append(of_seed)
        for costs, shop in zip(case.knowledge_of_costs, of_seed, strict=True):
            print_shop(shop, costs)
    all_series = [
        Series(case.world, case.form, costs, [of_seed[index] for of_seed in results])
        for index, costs in enumerate(case.knowledge_of_costs)
    ]
    for series in all_series:
        print_responses(series)
    return all_series


@dataclass(frozen=True)
class Case:
    """One world and form of demand, with other values of some parameters; shops are kept here."""

    world: str
    form: Form
    changes: Mapping[str, float]
    kept: Path | None

    @property
    def knowledge_of_costs(self) -> tuple[Costs, ...]:
        """All costs; and in all worlds but the standard one also fewer."""
        return ("history",) if self.world == "standard" else ("history", "today", "none")

    def evaluate(self, seed: int) -> list[ShopResult]:
        """Return the results of one shop, by what it knows of costs."""
        warnings.simplefilter("ignore")
        parameters = replace(build_parameters(self.world, self.form, seed), **self.changes)
        prepared = prepare_shop(parameters, seed, self.kept)
        return [evaluate_shop(prepared, costs) for costs in self.knowledge_of_costs]


def check_repetition(case: Case, seed: int, pool: ProcessPoolExecutor) -> Target:
    """Check that the same data and seed give the same suggestions."""
    again = replace(case, kept=None)
    first, second = pool.map(again.evaluate, [seed, seed])
    prices, repeated = first[0].results[OURS].prices, second[0].results[OURS].prices
    n_differing = sum(prices[item_id] != repeated[item_id] for item_id in prices)
    return Target(
        "same data, same seed: same prices to the cent",
        f"{n_differing} of {len(prices)} differ",
        not n_differing,
    )


def open_pool(n_processes: int) -> ProcessPoolExecutor:
    """Return a pool of processes, each on one thread: a result depends on the seed alone."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"
    return ProcessPoolExecutor(n_processes, mp_context=get_context("spawn"))


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--world", choices=[*WORLDS, VARIED])
    parser.add_argument("--form", choices=FORMS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    return parser.parse_args()


def parse_change(text: str) -> tuple[str, float]:
    """Return name and value of a parameter, a number of the type that it has by default.

    >>> parse_change("n_weeks=52"), parse_change("announcement=0")
    (('n_weeks', 52), ('announcement', 0.0))
    """
    name, value = text.split("=")
    default = getattr(ShopParameters(), name)
    return name, type(default)(value)


def main() -> int:
    """Print one line per target; return 1 when one is missed."""
    warnings.simplefilter("ignore")
    options = parse_options()
    n_seeds = options.seeds or (QUICK_SEEDS if options.quick else SEEDS)
    seeds = range(options.first_seed, options.first_seed + n_seeds)
    changes = dict(parse_change(text) for text in options.set)
    worlds: list[str] = [options.world] if options.world else list(WORLDS)
    forms: list[Form] = [options.form] if options.form else list(FORMS)
    targets = [] if options.quick else evaluate_held_out_changes()
    with open_pool(options.processes) as pool:
        for world in worlds:
            of_world: list[Series] = []
            for form in forms:
                case = Case(world, form, changes, options.keep)
                of_world += evaluate_simulated_shops(case, seeds, pool)
            targets += [target for series in of_world for target in list_targets(series)]
            targets += list_world_targets(of_world)
        if not options.quick:
            targets.append(check_repetition(Case(worlds[0], forms[0], {}, None), seeds[0], pool))
    print()
    for target in targets:
        print(target)
    return int(not all(target.met for target in targets))


if __name__ == "__main__":
    sys.exit(main())
