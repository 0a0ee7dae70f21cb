"""`make bench-sessions`: public sets of shops that are browsed, beside tuned baselines.

    python -m tests.benchmarks.public_sets --data FOLDER [--sessions N]

FOLDER holds yoochoose-100k-train.txt and yoochoose-100k-validation.txt (SessionId, ItemId, Time;
tab-separated): a week of clicks without a purchase. They are not part of this repository. The model
is fitted on the sessions of the first file and evaluated at every position of those of the second,
all items ranked; then N of these sessions are sent to a server over HTTP, whose slates must be
those of the evaluation. Where FOLDER holds video-games.txt (user and item of each purchase, in the
order of time), each buyer's last purchase is predicted too. One line per target at the end; it
exits with 1 when one is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.loading import load
from configs.settings import Settings
from features.contracts.recommendations import RecommendationQuery
from features.contracts.visits import Visits
from features.facts.facts import Facts
from features.online.materialize import materialize
from features.online.past_visits import EPOCH, compute_offline_visits
from features.sources.folder import import_folder
from models.registry import Registry
from serving.cli.evaluate import print_evaluation
from tests.benchmarks import bought_once
from tests.benchmarks.targets import Target, exit_with
from tests.shops.served_shop import run_shop
from training.recommendations.config import RecommendationsConfig
from training.recommendations.snapshots import TrainingContext
from training.recommendations.task import RecommendationsTask
from training.recommendations.visit_baselines import (
    ASSOCIATION_RULES,
    ITEM_KNN,
    POPULARITY,
    SEQUENTIAL_RULES,
    SESSION_KNN,
)
from training.recommendations.visit_evaluation import HIT_RATE, MRR, make_history
from training.recommendations.visit_part import evaluate_sessions
from training.recommendations.visit_training import split_visits
from training.recommendations.young_shop import fit_without_rankers
from training.results import OURS, Evaluation
from training.run import TrainingRun

FILES = ("yoochoose-100k-train.txt", "yoochoose-100k-validation.txt")
_LEVEL = 0.01
_FIRST_LOOKS = ("after look 1", "after look 2", "after look 3")
_SLATE = 20


@dataclass(frozen=True)
class BrowsedShop:
    """The imported clicks, and the first instant of the sessions to predict."""

    facts: Facts
    settings: Settings
    config: RecommendationsConfig
    cut: datetime
    end: datetime


@contextmanager
def open_shop(folder: Path) -> Iterator[BrowsedShop]:
    """Yield a temporary shop of both files."""
    clicks = [pd.read_csv(folder / name, sep="\t") for name in FILES]
    cut, end = (
        datetime.fromtimestamp(seconds, UTC)
        for seconds in (clicks[1]["Time"].min(), clicks[1]["Time"].max() + 1)
    )
    with tempfile.TemporaryDirectory() as temporary:
        home, tables = Path(temporary) / "home", Path(temporary) / "tables"
        tables.mkdir()
        _write_events(pd.concat(clicks), tables)
        settings = Settings(home=home, database_url=None, clock_start=end)
        facts = Facts(settings)
        import_folder(tables, facts, settings, now=end, progress=print)
        config = load("models/recommendations", RecommendationsConfig)
        yield BrowsedShop(facts, settings, config, cut, end)


def _write_events(clicks: pd.DataFrame, folder: Path) -> None:
    at = pd.to_datetime((clicks["Time"] * 1000).round().astype("int64"), unit="ms", utc=True)
    events = pd.DataFrame(
        {
            "event_type": "view_item",
            "occurred_at": at.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "session_id": clicks["SessionId"].astype(str),
            "item_id": clicks["ItemId"].astype(str),
        }
    )
    events.to_csv(folder / "events.csv", index=False)
    items = pd.DataFrame({"item_id": sorted(events["item_id"].unique())})
    items.to_csv(folder / "items.csv", index=False)


def check_next_items(evaluation: Evaluation) -> list[Target]:
    """Check the next item against every rival, and the first looks of strangers."""
    targets = []
    for metric in (MRR, HIT_RATE):
        comparison = evaluation.comparison(metric)
        for name in (SESSION_KNN, SEQUENTIAL_RULES, ASSOCIATION_RULES):
            value, p_value = comparison.baselines[name], comparison.p_values[name]
            measured = f"{comparison.ours:.4f} against {value:.4f}, p = {p_value:.2g}"
            is_above = comparison.ours > value and p_value < _LEVEL
            title = f"{metric}, all positions, above {name}, corrected p < {_LEVEL}"
            targets.append(Target(title, measured, is_above))
    table = next(table for table in evaluation.tables if "MRR" in table.title)
    for look in _FIRST_LOOKS:
        column = table.columns.index(look)
        ours = table.rows[OURS][column].value
        for name in (POPULARITY, ITEM_KNN):
            value = table.rows[name][column].value
            title = f"MRR@20 of strangers {look}, above {name}"
            targets.append(Target(title, f"{ours:.4f} against {value:.4f}", ours > value))
    return targets


def check_slates_over_http(shop: BrowsedShop, n_sessions: int) -> list[Target]:
    """Train and serve the shop, send sessions over HTTP, and compare each slate.

    Prints how long an answer to a visit takes, beside one to somebody of whom nothing is known.
    """
    registry = Registry(shop.settings.mlflow_url, shop.settings.home)
    run = TrainingRun(shop.facts, shop.settings, registry, shop.end, lambda _: None)
    run.train(RecommendationsTask(), shop.config)
    materialize(shop.facts, shop.settings, shop.end)
    visits = split_visits(compute_offline_visits(shop.facts, shop.end), shop.cut)[1]
    chosen = np.random.default_rng(0).permutation(len(visits))[:n_sessions].tolist()
    is_equal: list[bool] = []
    seconds: dict[str, list[float]] = {"in a visit": [], "of whom nothing is known": []}
    for served in run_shop(shop.settings):
        recommender = served.server.served_models.recommender().recommender
        for visit in chosen:
            for n in range(1, int(visits.lengths[visit]) + 1):
                session = f"bench{visit}"
                _send_look(served, session, visits, visit, n)
                unknown = f"unknown{visit}.{n}"
                seconds["of whom nothing is known"].append(_ask_for_slate(served, unknown)[1])
                answer, taken = _ask_for_slate(served, session)
                seconds["in a visit"].append(taken)
                history = make_history(visits.take_first(visit, n))
                query = RecommendationQuery(history, "home", _SLATE)
                (slate,) = recommender.recommend_columns([query])
                is_equal.append(answer == slate.item_ids.tolist())
    for who, taken_by_each in seconds.items():
        print(f"home for somebody {who}: p50 {1000 * np.median(taken_by_each):.2f} ms", flush=True)
    title = f"slates over HTTP of {len(chosen)} sessions are those of the evaluation"
    measured = f"{sum(is_equal):,} of {len(is_equal):,} slates"
    return [Target(title, measured, all(is_equal))]


def _send_look(served: Any, session: str, visits: Visits, visit: int, n: int) -> None:
    """Send look `n` of a visit as an event."""
    last = visits.starts[visit] + n - 1
    event = {
        "event_type": "view_item",
        "occurred_at": (EPOCH + timedelta(milliseconds=int(visits.at_ms[last]))).isoformat(),
        "session_id": session,
        "item_id": visits.item_ids[visits.items[last]],
    }
    served.client.post("/v1/events", json={"events": [event]}).raise_for_status()


def _ask_for_slate(served: Any, session: str) -> tuple[list[str], float]:
    """Return the slate of `home`, and the seconds until it came."""
    body = {"placement": "home", "session_id": session, "count": _SLATE}
    started = time.perf_counter()
    answer = served.client.post("/v1/recommendations", json=body)
    taken = time.perf_counter() - started
    return [item["item_id"] for item in answer.json()["items"]], taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    parser.add_argument("--sessions", type=int, default=200, help="sent over HTTP")
    options = parser.parse_args()
    missing = options.data is None or not all((options.data / name).exists() for name in FILES)
    if missing:
        print(f"No public sets: --data FOLDER must hold {' and '.join(FILES)}.")
        sys.exit(0 if options.data is None else 2)
    started = time.monotonic()
    with open_shop(options.data) as shop:
        context = TrainingContext(shop.facts, shop.settings, shop.config, print)
        model = fit_without_rankers(context, shop.cut)
        evaluation = evaluate_sessions(context, model, shop.end, shop.cut)
        print_evaluation(evaluation, in_full=True)
        targets = check_next_items(evaluation)
        print(f"fitted and evaluated in {time.monotonic() - started:.0f} s", flush=True)
        targets += check_slates_over_http(shop, options.sessions)
    if (options.data / bought_once.FILE).exists():
        targets += bought_once.check_last_purchases(options.data)
    exit_with(targets)


if __name__ == "__main__":
    main()
