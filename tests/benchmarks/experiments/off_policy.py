"""Off-policy estimates against the exact value of the policy: how often the 95 % interval holds it.

    python -m tests.benchmarks.experiments.off_policy [--runs 1000]

Slates come from `fill_slate` with exploration, and the probabilities of log and target from
`compute_propensities`: those of the product. As the pool is small, all slates of each kind of
shopper are listed, so that the value of a policy is a sum and not an estimate. Targets are set
where the stated assumption of a level is true; the others are printed to show what a wrong
assumption costs.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from experiments.off_policy.estimators import (
    Method,
    RewardModel,
    estimate_value,
)
from experiments.off_policy.logged_slates import Level, LoggedSlates
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from models.ranking.slate.assemble import Exploration, SlatePlan, compute_propensities
from models.ranking.slate.diversity import CategorySimilarity
from tests.benchmarks.experiments.shopper_model import (
    ACTIVITY,
    READINGS,
    Reading,
    ShownSlates,
    compute_mean_clicks,
    compute_visit_shares,
    draw_clicks,
    draw_visits,
)
from tests.benchmarks.targets import Target, exit_with

N_KINDS = 40  # of shoppers by taste
N_ITEMS, N_CATEGORIES, N_RANKS = 7, 3, 4
N_SHOPPERS = 1_500
LOW, HIGH = 0.93, 0.97
LOGGING = Exploration(share=0.5, pool=N_ITEMS)
_SEED = 17


@dataclass(frozen=True)
class World:
    """Kinds of shoppers, and every slate that the log can show them.

    rows         (slates, K) position of the items among the candidates, which are best first
    attraction   (kinds, items); category (kinds, items)
    logged       (kinds, slates, K) probabilities of the log
    targets      the same of each policy to evaluate, by its name
    """

    rows: Int64Array
    attraction: Float64Array
    category: Int64Array
    logged: Float64Array
    targets: dict[str, Float64Array]


@dataclass(frozen=True)
class Case:
    """One estimator on one policy and one way to read."""

    reading: Reading
    policy: str
    method: Method
    level: Level

    @property
    def is_assumed(self) -> bool:
        """Whether the assumption of the level is true."""
        return self.level == "slate" or (self.level == "cascade" and self.reading == "from the top")


def build_world(rng: np.random.Generator) -> World:
    """Return kinds of shoppers with their tastes, and the policies.

    The logged ranker knows the tastes roughly, the better one knows them well.
    """
    utility = np.sort(rng.normal(0, 1, (N_KINDS, N_ITEMS)), axis=1)[:, ::-1]
    taste = 0.7 * utility + 0.7 * rng.normal(0, 1, utility.shape)
    attraction = 1 / (1 + np.exp(1.4 - 0.8 * taste))
    category = rng.integers(0, N_CATEGORIES, utility.shape)
    rows = np.array(list(itertools.permutations(range(N_ITEMS), N_RANKS)))
    targets: defaultdict[str, list[list[list[float]]]] = defaultdict(list)
    logged = []
    for kind in range(N_KINDS):
        log = _make_plan(utility[kind], LOGGING)
        better = 0.5 * (utility[kind] + taste[kind])
        plans = {
            "less exploration": replace(log, exploration=replace(LOGGING, share=0.1)),
            "another ranker": _reorder(log, better),
            "more diversity": replace(
                log,
                diversity=0.3,
                similarity=CategorySimilarity([f"c{n}" for n in category[kind]]),
            ),
        }
        logged.append([compute_propensities(log, row, N_RANKS) for row in rows.tolist()])
        for name, plan in plans.items():
            targets[name].append(_list_propensities(plan, rows, name, better))
    world = World(
        rows,
        attraction,
        category,
        np.array(logged),
        {name: np.array(values) for name, values in targets.items()},
    )
    for probabilities in (world.logged, *world.targets.values()):
        assert np.allclose(probabilities.prod(axis=2).sum(axis=1), 1)
    return world


def _make_plan(utility: Float64Array, exploration: Exploration) -> SlatePlan:
    relevance = 2 / (1 + np.exp(utility.max() - utility))
    return SlatePlan(relevance, exploration=exploration, weights=np.sqrt(relevance))


def _reorder(plan: SlatePlan, scores: Float64Array) -> SlatePlan:
    """Return the plan of another ranker, whose candidates are in the order of its scores."""
    order = np.argsort(-scores, kind="stable")
    relevance = np.sort(plan.relevance)[::-1]
    return replace(
        plan, relevance=relevance, weights=plan.weights[order] if plan.weights is not None else None
    )


def _list_propensities(
    plan: SlatePlan, rows: Int64Array, name: str, scores: Float64Array
) -> list[list[float]]:
    """Return the probabilities of all slates; another ranker has its own order of candidates."""
    if name == "another ranker":
        order = np.argsort(-scores, kind="stable")
        rows = np.argsort(order)[rows]
    return [compute_propensities(plan, row, N_RANKS) for row in rows.tolist()]


def compute_values(world: World, target: Float64Array, reading: Reading) -> float:
    """Return the exact mean clicks of a slate under a policy."""
    chance = target.prod(axis=2)  # [kinds, slates]
    value = 0.0
    for kind in range(N_KINDS):
        shown = ShownSlates(world.attraction[kind][world.rows], world.category[kind][world.rows])
        for share, activity in zip(compute_visit_shares(), ACTIVITY, strict=True):
            clicks = compute_mean_clicks(shown, np.full(len(world.rows), activity), reading)
            value += share * float(chance[kind] @ clicks.sum(1)) / N_KINDS
    return value


@dataclass(frozen=True)
class Log:
    """Logged slates: kind of shopper and number of the slate (n,), clicks (n, K), the unit (n,)."""

    kind: Int64Array
    slate: Int64Array
    clicks: Float64Array
    unit: Int64Array


def draw_log(world: World, reading: Reading, rng: np.random.Generator) -> Log:
    """Return what N_SHOPPERS shoppers were shown, and where they clicked."""
    visits = draw_visits(N_SHOPPERS, rng)
    kind = rng.integers(0, N_KINDS, N_SHOPPERS)[visits.shopper]
    cumulated = np.cumsum(world.logged.prod(axis=2), axis=1)  # [kinds, slates]
    draws = rng.random(len(kind)) * cumulated[kind, -1]
    slate = (cumulated[kind] < draws[:, None]).sum(1)
    rows = world.rows[slate]
    shown = ShownSlates(
        np.take_along_axis(world.attraction[kind], rows, 1),
        np.take_along_axis(world.category[kind], rows, 1),
    )
    clicks = draw_clicks(shown, ACTIVITY[visits.kind], reading, rng)
    return Log(kind, slate, clicks, visits.shopper)


def fit_reward_model(world: World, log: Log, chances: Float64Array) -> RewardModel:
    """Return a rough model, clicks by category and rank: it knows neither shopper nor slate.

    chances   (kinds, slates, K, categories) the target's chance of a category, given the ranks
              before
    """
    rows = world.rows[log.slate]
    category = np.take_along_axis(world.category[log.kind], rows, 1)
    rates = np.zeros((N_RANKS, N_CATEGORIES))
    for rank, number in itertools.product(range(N_RANKS), range(N_CATEGORIES)):
        clicks = log.clicks[category[:, rank] == number, rank]
        rates[rank, number] = clicks.mean() if len(clicks) else 0.0
    logged = rates[np.arange(N_RANKS), category]
    target = (chances[log.kind, log.slate] * rates).sum(2)
    return RewardModel(logged, target)


def compute_category_chances(world: World, target: Float64Array) -> Float64Array:
    """Return (kinds, slates, K, categories): the chance of a category at a rank, given the ranks
    before."""
    axes = tuple(range(N_ITEMS, N_ITEMS - N_RANKS, -1))  # candidates left at each rank
    chances = np.zeros((*target.shape, N_CATEGORIES))
    for kind, rank in itertools.product(range(N_KINDS), range(N_RANKS)):
        by_path = target[kind, :, rank].reshape(axes)
        category = world.category[kind][world.rows[:, rank]].reshape(axes)
        for number in range(N_CATEGORIES):
            # The later ranks repeat the values of this one.
            total = np.where(category == number, by_path, 0.0).sum(rank, keepdims=True)
            chances[kind, :, rank, number] = np.broadcast_to(total, axes).ravel()
    return chances


ESTIMATORS: tuple[tuple[Method, Level], ...] = (
    ("ips", "slate"),
    ("snips", "slate"),
    ("dr", "slate"),
    ("snips", "cascade"),
    ("dr", "cascade"),
    ("snips", "position"),
)


@dataclass
class Outcome:
    """What the runs of a case gave."""

    n_covered: int = 0
    n_refused: int = 0
    errors: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)


def run_cases(n_runs: int) -> dict[Case, tuple[float, Outcome]]:
    """Return the true value and the outcome of every case."""
    world = build_world(generator(_SEED, "world"))
    outcomes: dict[Case, tuple[float, Outcome]] = {}
    chances = {
        name: compute_category_chances(world, values) for name, values in world.targets.items()
    }
    for reading in READINGS:
        truths = {
            name: compute_values(world, target, reading) for name, target in world.targets.items()
        }
        for run in range(n_runs):
            log = draw_log(world, reading, generator(_SEED, f"{reading}:{run}"))
            for name, target in world.targets.items():
                slates = LoggedSlates(
                    unit=log.unit,
                    shown=np.ones(log.clicks.shape, bool),
                    logged=world.logged[log.kind, log.slate],
                    target=target[log.kind, log.slate],
                    reward=log.clicks,
                )
                model = fit_reward_model(world, log, chances[name])
                for method, level in ESTIMATORS:
                    case = Case(reading, name, method, level)
                    truth, outcome = outcomes.setdefault(case, (truths[name], Outcome()))
                    _add_run(outcome, truth, slates, case, model)
    return outcomes


def _add_run(
    outcome: Outcome, truth: float, slates: LoggedSlates, case: Case, model: RewardModel
) -> None:
    try:
        estimate = estimate_value(slates, case.method, case.level, model)
    except BadInput:
        outcome.n_refused += 1
        return
    outcome.n_covered += estimate.low <= truth <= estimate.high
    outcome.errors.append(estimate.value - truth)
    outcome.widths.append(estimate.high - estimate.low)
    outcome.sizes.append(estimate.overlap.effective_size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print coverage, bias and width by case; exit with 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    options = parser.parse_args(arguments)
    print(f"{options.runs} logs of {N_SHOPPERS:,} shoppers; assumption true where marked *")
    outcomes = run_cases(options.runs)
    targets = []
    for case, (truth, outcome) in outcomes.items():
        name = f"{case.reading}, {case.policy}: {case.method} by {case.level}"
        n_estimated = options.runs - outcome.n_refused
        if not n_estimated:
            print(f"{name}: refused in all runs")
            continue
        covered = outcome.n_covered / n_estimated
        bias = float(np.mean(outcome.errors)) / truth
        width = float(np.mean(outcome.widths)) / truth / 2
        size = float(np.mean(outcome.sizes))
        mark = "*" if case.is_assumed else " "
        print(
            f"{mark} {name:<58} covered {covered:6.1%}  bias {bias:+6.1%}  +-{width:5.1%}  "
            f"effective size {size:5.0f}  refused {outcome.n_refused}"
        )
        if case.is_assumed:
            measured = f"{covered:.1%}"
            targets.append(
                Target(f"{name} in {LOW:.0%}-{HIGH:.0%}", measured, LOW <= covered <= HIGH)
            )
    exit_with(targets)


if __name__ == "__main__":
    main()
