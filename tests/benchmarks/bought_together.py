"""Cart completion beside item-kNN and popularity, on every test order of at least five items.

    python -m tests.benchmarks.bought_together [TIME]

The last line of each order is held out. The data are those of SHOPWRIGHT_HOME; the test window is
the last 28 days of the data, or of the data before TIME.
"""

from __future__ import annotations

from datetime import datetime

from configs.loading import load
from configs.settings import Settings
from features.facts.facts import Facts
from tests.benchmarks.report_command import print_report
from training.recommendations.task import RecommendationsConfig, evaluate_carts
from training.results import OURS


def report_carts(facts: Facts, settings: Settings, until: datetime | None = None) -> list[str]:
    """Return a line per method: recall@10, NDCG@10 and paired tests against ours."""
    config = load("models/recommendations", RecommendationsConfig, overlay=settings.config_dir)
    window, metrics = evaluate_carts(facts, settings, config, until=until, progress=lambda _: None)
    n = len(metrics.recall[OURS])
    title = (
        f"last item of {n} orders of five items or more, "
        f"{window.cut:%Y-%m-%d} to {window.end:%Y-%m-%d}, all ranked"
    )
    return [title, *metrics.format_table(OURS, seed=settings.seed)]


if __name__ == "__main__":
    print_report(report_carts)
