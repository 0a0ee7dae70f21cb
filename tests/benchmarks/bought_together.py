"""What completes a cart, beside item-kNN and popularity: the last line of every test order of five
items or more.

`python -m tests.benchmarks.bought_together [TIME]` works on the state folder of SHOPWRIGHT_HOME;
the test window is the last 28 days of the data, or of what lies before TIME.
"""

from __future__ import annotations

from datetime import datetime

from configs.loading import load
from configs.settings import Settings
from features.facts.facts import Facts
from tests.benchmarks.printed import print_report
from training.recommendations.task import RecommendationsConfig, evaluate_carts
from training.results import OURS


def report(facts: Facts, settings: Settings, until: datetime | None = None) -> list[str]:
    """The lines to print: recall@10 and NDCG@10 of every method on the same orders, paired tests
    against ours."""
    config = load("models/recommendations", RecommendationsConfig, overlay=settings.config_dir)
    window, metrics = evaluate_carts(facts, settings, config, until=until, progress=lambda _: None)
    n = len(metrics.recall[OURS])
    title = f"last item of {n} orders of five items or more, {window.cut:%Y-%m-%d} to {window.end:%Y-%m-%d}, all ranked"
    return [title, *metrics.format_table(OURS, seed=settings.seed)]


if __name__ == "__main__":
    print_report(report)
