"""Settings of the baselines, searched with as many trials and on the same windows as the rankers'.

    python -m training.recommendations.baseline_tuning TIME [TRIALS [METHOD ...]]

The data are those of SHOPWRIGHT_HOME. Each trial fits one baseline at the cuts of the two windows
that end at TIME, and measures the mean NDCG@10 of their users in both tasks. The first trials are
the present settings, the others are points of a Halton sequence. It prints the best settings
of each task as YAML, for configs/models/recommendations.yaml.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import yaml
from scipy.stats import qmc

from configs.loading import build
from configs.settings import Settings
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.clock import parse_time
from features.contracts.histories import UserHistory
from features.contracts.seeds import generator
from features.facts.facts import Facts
from features.online.histories import Tables, compute_offline_histories, compute_offline_items
from models.ranking.model import TASKS, RankingTask
from models.retrieval.interactions import WEIGHTINGS, Interactions, find_positions
from training.recommendations.baseline_config import BaselinesConfig
from training.recommendations.baselines import (
    BaselineData,
    FittedBaselines,
    MethodConfig,
    measure_popularity,
)
from training.recommendations.metrics import ndcgs
from training.recommendations.purchases import read_purchases
from training.recommendations.snapshots import find_relevant_items
from training.recommendations.task import RecommendationsTask
from training.run import load_config
from training.splits import Window, windows

K = 10
N_TEST_WINDOWS = 2
METHODS = ("buy_again", "tifu_knn", "item_knn", "als", "bpr", "ease")


@dataclass(frozen=True)
class Range:
    """Values from `low` to `high`, on a log scale where `log`; whole numbers where both are."""

    low: float
    high: float
    log: bool = False

    def pick(self, share: float) -> float:
        """Return the value at `share` (0..1) of the range."""
        if self.log:
            value = float(self.low * (self.high / self.low) ** share)
        else:
            value = self.low + (self.high - self.low) * share
        is_whole = isinstance(self.low, int) and isinstance(self.high, int)
        return round(value) if is_whole else float(f"{value:.3g}")


Space = Mapping[str, Range | Sequence[str]]
SPACES: Mapping[str, Space] = {
    "buy_again": {"decay_per_week": Range(0.8, 1.0)},
    "tifu_knn": {
        "decay_per_week": Range(0.85, 1.0),
        "n_neighbors": Range(10, 900, log=True),
        "own_weight": Range(0.0, 1.0),
    },
    "item_knn": {
        "n_neighbors": Range(20, 500, log=True),
        "k1": Range(0.1, 100.0, log=True),
        "b": Range(0.0, 1.0),
        "weighting": WEIGHTINGS,
    },
    "als": {
        "n_factors": Range(16, 192, log=True),
        "l2": Range(0.01, 10.0, log=True),
        "alpha": Range(1.0, 100.0, log=True),
        "n_iterations": Range(5, 20),
        "min_buyers": Range(1, 5),
    },
    "bpr": {
        "n_factors": Range(16, 128, log=True),
        "learning_rate": Range(0.005, 0.2, log=True),
        "l2": Range(0.0001, 0.1, log=True),
        "n_iterations": Range(20, 80),
        "min_buyers": Range(1, 20),
    },
    "ease": {
        "n_items": Range(2000, 8000),
        "l2": Range(50.0, 5000.0, log=True),
        "weighting": WEIGHTINGS,
    },
}


@dataclass(frozen=True)
class TunedMethod:
    """The best settings of one baseline in one task, and the mean NDCG@10 of the given ones."""

    method: str
    task: RankingTask
    config: MethodConfig
    best: float
    given: float


@dataclass(frozen=True)
class TestWindow:
    """One window: what the baselines know at its cut, and what was bought in it.

    rows       int64 (users,), of the evaluated users in the matrix
    relevant   by task, the positions of each evaluated user's relevant items
    """

    data: BaselineData
    rows: Int64Array
    relevant: Mapping[RankingTask, Sequence[Int64Array]]

    def measure(self, config: MethodConfig) -> dict[RankingTask, Float64Array]:
        """Return NDCG at K by task of each user who has a relevant item in it."""
        ranked = list(FittedBaselines(self.data).rank(config, self.rows, TASKS, K))
        values: dict[RankingTask, Float64Array] = {}
        for task in TASKS:
            n_relevant = np.array([len(items) for items in self.relevant[task]])
            hits = np.zeros((len(ranked), K), bool)
            for row, best in enumerate(ranked):
                hits[row, : len(best[task])] = np.isin(best[task], self.relevant[task][row])
            values[task] = ndcgs(hits, n_relevant, K)[n_relevant > 0]
        return values


def tune_baselines(
    test_windows: Sequence[TestWindow],
    given: BaselinesConfig,
    n_trials: int,
    seed: int,
    *,
    methods: Sequence[str] = METHODS,
    progress: Callable[[str], None],
) -> Iterator[TunedMethod]:
    """Yield the best settings of each of `methods` in each task, the first of equal ones."""
    for method in methods:
        configs: list[MethodConfig] = [getattr(given.of(task), method) for task in TASKS]
        trials = list(dict.fromkeys(configs))
        trials += draw_configs(method, configs[0], n_trials - len(trials), seed)
        values: list[dict[RankingTask, float]] = []
        for config in trials:
            by_window = [window.measure(config) for window in test_windows]
            values.append(
                {
                    task: float(np.concatenate([scores[task] for scores in by_window]).mean())
                    for task in TASKS
                }
            )
            shown = " ".join(f"{task} {value:.4f}" for task, value in values[-1].items())
            progress(f"{method}: {shown} {config}")
        for number, task in enumerate(TASKS):
            of_task = [value[task] for value in values]
            best, given_trial = int(np.argmax(of_task)), trials.index(configs[number])
            yield TunedMethod(method, task, trials[best], of_task[best], of_task[given_trial])


def draw_configs(method: str, given: MethodConfig, n: int, seed: int) -> list[MethodConfig]:
    """Return `n` settings from the space of a method; the rest of each is that of `given`."""
    space = SPACES[method]
    if n < 1:
        return []
    rng = generator(seed, f"baseline {method}")
    points = qmc.Halton(len(space), rng=rng).random(n)
    configs: list[MethodConfig] = []
    for point in points.tolist():
        drawn = {
            name: values.pick(share)
            if isinstance(values, Range)
            else values[int(share * len(values))]
            for (name, values), share in zip(space.items(), point, strict=True)
        }
        configs.append(build({**asdict(given), **drawn}, type(given), where=method))
    return configs


class _Known(NamedTuple):
    """The users and items that are known at a cut."""

    histories: Mapping[str, UserHistory]
    interactions: Interactions


def make_test_window(facts: Tables, window: Window, seed: int) -> TestWindow:
    """Return what is known at the cut of `window`, and what was bought in it."""
    histories = compute_offline_histories(facts, window.cut)
    interactions = Interactions.from_histories(histories)
    data = BaselineData(
        interactions=interactions,
        purchases=read_purchases(facts, window.cut, interactions),
        popularity=measure_popularity(compute_offline_items(facts, window.cut), interactions),
        seed=seed,
    )
    by_task = find_relevant_items(facts, window, _Known(histories, interactions))
    users = sorted(by_task["all"])
    rows = {user: row for row, user in enumerate(interactions.user_ids)}
    index = {item_id: position for position, item_id in enumerate(interactions.item_ids)}
    relevant = {
        task: [
            find_positions(index, np.array(sorted(by_task[task].get(user, ())), object))
            for user in users
        ]
        for task in TASKS
    }
    return TestWindow(data, find_positions(rows, np.array(users, object)), relevant)


def main(until: datetime, n_trials: int, methods: Sequence[str]) -> None:
    """Tune the baselines and print their settings as YAML."""
    settings = Settings()
    facts = Facts(settings)
    config = load_config(RecommendationsTask(), settings)
    test_windows = [
        make_test_window(facts, window, settings.seed)
        for window in windows(until, N_TEST_WINDOWS, config.window_weeks, settings.timezone)
    ]
    tuned = tune_baselines(
        test_windows,
        config.baselines,
        n_trials,
        settings.seed,
        methods=methods,
        progress=lambda text: print(f"# {text}", flush=True),
    )
    by_task: dict[RankingTask, dict[str, object]] = {task: {} for task in TASKS}
    for result in tuned:
        by_task[result.task][result.method] = asdict(result.config)
        print(
            f"# {result.method}, {result.task} items: NDCG@{K} {result.best:.4f}, "
            f"{result.given:.4f} with the present settings",
            flush=True,
        )
    print(yaml.safe_dump({"baselines": by_task}, sort_keys=False, default_flow_style=None))


if __name__ == "__main__":
    n_trials = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    main(parse_time(sys.argv[1], where="TIME"), n_trials, sys.argv[3:] or METHODS)
