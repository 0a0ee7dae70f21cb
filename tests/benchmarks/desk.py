"""`make bench-desk`: seconds of the price desk on SQLite and PostgreSQL with a full queue.

    python -m tests.benchmarks.desk [--suggestions 100000] [--approved 10000]

The first page and every filter and order of the queue are read as the console reads them, several
times each; then suggestions are approved in one transaction. On SQLite the console then shows the
queue in a browser to ten people. Exits 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import SystemClock
from features.database import engine as open_engine
from features.database import transaction
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import SCOPES, Caller
from serving.database.migrate import upgrade
from serving.price_desk import decisions
from serving.price_desk.broken_rules import FACTS
from serving.price_desk.filters import SORT_KEYS, SuggestionFilter, SuggestionSort
from serving.price_desk.repository import NewSuggestion, Suggestions
from serving.price_desk.service import PriceDeskService
from tests.benchmarks.desk_browser import measure_browser
from tests.benchmarks.targets import Target, exit_with
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import NOW, make_opening_price, make_suggestion
from tests.shops.private_servers import POSTGRES_URL, open_schema

_PAGE_SECONDS, _APPROVAL_SECONDS = 0.3, 2.0
_REPEATS = 5
_PART = 10_000
_DEPARTMENTS, _TYPES = 20, 25
_RULES = ("ceiling", "max_change", "margin", "family", "none")
BEN = Caller("ben", "Ben", frozenset(SCOPES), is_person=True)
WAITING = SuggestionFilter(status=("submitted",))
# What a run stores with each of its suggestions, beside the facts of the item.
ABOUT = {
    "objective": "profit",
    "rules": "default",
    "horizon_weeks": 4,
    "held": False,
    "demand_model_version": "3",
    "price_model_version": "2",
    "elasticity": -2.1,
    "elasticity_error": 0.3,
    "unit_cost_minor": 60.0,
    "cost_source": "known",
    "competitor_price_minor": 104,
    "propensity": None,
    "strategy": "profit",
    "stage": "maturity",
    "flags": [],
}
FILTERS = {
    "first page": WAITING,
    "any status": SuggestionFilter(),
    "category": replace(WAITING, category="Department 03"),
    "category and its type": replace(WAITING, category="Department 03 > Type 07"),
    "evidence": replace(WAITING, evidence_grades=("A", "B")),
    "binding rule": replace(WAITING, binding_rule="ceiling"),
    "large changes": replace(WAITING, min_change=0.1),
    "large gains": replace(WAITING, min_gain_minor=4_500.0),
    "new since yesterday": replace(WAITING, created_since=NOW),
    "text in many titles": replace(WAITING, text="blue"),
    "text in one title": replace(WAITING, text="I000777"),
    "text in no title": replace(WAITING, text="no such words"),
    "proposer": replace(WAITING, proposed_by="anna"),
    "all together": replace(
        WAITING, category="Department 03", evidence_grades=("A",), min_change=0.05, text="red"
    ),
}


def main() -> None:
    """Measure both databases and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suggestions", type=int, default=100_000)
    parser.add_argument("--approved", type=int, default=10_000)
    arguments = parser.parse_args()
    targets: list[Target] = []
    for settings in _open_shops():
        opened = open_engine(settings)
        upgrade(opened)
        _fill(opened, arguments.suggestions)
        targets += _measure(settings, opened, arguments.approved)
        opened.dispose()
        if settings.database_url is None:
            targets += measure_browser(settings.home)
    exit_with(targets)


def _open_shops() -> Iterator[Settings]:
    """Yield an empty shop on SQLite, and one on PostgreSQL where a server answers."""
    with tempfile.TemporaryDirectory() as folder:
        yield Settings(home=Path(folder) / "home")
        with open_schema(POSTGRES_URL) as url:
            if url is None:
                sys.exit(f"no PostgreSQL answers at {POSTGRES_URL}")
            database_url = url.render_as_string(hide_password=False)
            yield Settings(home=Path(folder) / "postgresql", database_url=database_url)


def _fill(opened: sa.Engine, n_suggestions: int) -> None:
    """File suggestions as runs file them, one per item, with waterfall and details."""
    rng = np.random.default_rng(1)
    started = time.perf_counter()
    for start in range(0, n_suggestions, _PART):
        rows = [_draft(number, rng) for number in range(start, min(start + _PART, n_suggestions))]
        with transaction(opened) as connection:
            Ledger(connection).append([make_opening_price(row.item_id) for row in rows])
            Suggestions(connection).add(rows)
    print(f"{opened.dialect.name}: filed in {time.perf_counter() - started:.1f} s", flush=True)


def _draft(number: int, rng: np.random.Generator) -> NewSuggestion:
    """Return a suggestion of the size that a run stores."""
    price = int(rng.integers(92, 109))
    gain = float(rng.gamma(0.8, 1_000))
    department, kind = number % _DEPARTMENTS, number // _DEPARTMENTS % _TYPES
    effect = {"p10": gain - 50, "p50": gain, "p90": gain + 50}
    step = {"rule": "optimum", "before_minor": 100, "after_minor": price, "hard": False}
    return make_suggestion(
        f"i{number:06}",
        price,
        category=f"Department {department:02} > Type {kind:02} > Shelf",
        title=f"{rng.choice(['Red', 'Blue', 'Green', 'White'])} article no. {number}",
        expected={
            name: {**effect, "against_keeping": effect} for name in ("units", "revenue", "profit")
        },
        waterfall=[{**step, "note": f"rule {rule}"} for rule in range(6)],
        details={**ABOUT, FACTS: _note_facts(number)},
        gain_minor=gain,
        evidence_grade=str(rng.choice(list("ABCD"))),
        binding_rule=str(rng.choice(_RULES)),
        proposed_by=str(rng.choice(["system"] * 9 + ["anna"])),
    )


def _note_facts(number: int) -> dict[str, object]:
    """Return what a run notes of the item of a suggestion, for the rules of later days."""
    return {
        "item_id": f"i{number:06}",
        "zone": "default",
        "brand": f"Brand {number % 300}",
        "currency": "EUR",
        "list_price_minor": 100,
        "current_price_minor": 100,
        "unit_cost_minor": 60.0,
        "cost_source": "known",
        "tax_divisor": 1.0,
        "n_regular_changes": 3,
        "lowest_tried_minor": 80,
        "highest_tried_minor": 124,
        "opening_list_price_minor": 100,
        "map_minor": None,
        "competitor_minor": 104,
        "law_floor_minor": None,
        "days_since_change": 60,
    }


def _measure(settings: Settings, opened: sa.Engine, n_approved: int) -> list[Target]:
    desk = PriceDeskService(settings, opened, FixedClock(NOW), SystemClock(), PLAIN_RULES)
    name = opened.dialect.name
    pages = [
        *((f"filter: {label}", criteria, SuggestionSort()) for label, criteria in FILTERS.items()),
        *(
            (f"order: {key}{' descending' * down}", WAITING, SuggestionSort(key, bool(down)))
            for key in SORT_KEYS
            for down in (0, 1)
        ),
    ]
    slowest, slowest_label = 0.0, ""
    for label, criteria, sort in pages:
        seconds = _time_p95(lambda c=criteria, s=sort: desk.read_page(c, s))  # type: ignore[misc]
        print(f"{name}: {label}: {seconds * 1_000:.0f} ms", flush=True)
        if seconds > slowest:
            slowest, slowest_label = seconds, label
    last = _time_p95(lambda: desk.read_page(WAITING, offset=99_900))
    print(f"{name}: the last page: {last * 1_000:.0f} ms", flush=True)
    approval = _time_approval(desk, opened, n_approved)
    return [
        Target(
            f"{name}: a page of the queue, p95 of the slowest filter or order "
            f"({slowest_label}), <= {_PAGE_SECONDS * 1_000:.0f} ms",
            f"{slowest * 1_000:.0f} ms",
            slowest <= _PAGE_SECONDS,
        ),
        Target(
            f"{name}: approval of {n_approved:,} in one transaction, <= {_APPROVAL_SECONDS:.0f} s",
            f"{approval:.2f} s",
            approval <= _APPROVAL_SECONDS,
        ),
    ]


def _time_p95(read: Callable[[], object]) -> float:
    return float(np.quantile([_time(read) for _ in range(_REPEATS)], 0.95))


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _time_approval(desk: PriceDeskService, opened: sa.Engine, n_approved: int) -> float:
    page = desk.read_page(WAITING, limit=n_approved)
    ids = [suggestion.id for suggestion in page.suggestions]
    decider = desk.decider(BEN, "pricing.approve", "the benchmark")

    def approve() -> None:
        with transaction(opened) as connection:
            result = decisions.decide_many(connection, decider, "approve", ids=ids)
        if len(result.changed) != n_approved:
            raise RuntimeError(f"only {len(result.changed):,} of {n_approved:,} are approved")

    return _time(approve)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
