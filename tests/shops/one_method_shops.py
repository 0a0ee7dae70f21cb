"""Shops in which one simple method ranks best, as canonical tables.

Purchases are drawn one by one: no model of this repository is fitted or inverted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from configs.settings import Settings
from features.contracts.seeds import generator
from features.facts.facts import Facts
from tests.shops.event_tables import make_event, make_table

END = datetime(2024, 5, 6, tzinfo=UTC)
N_WEEKS = 24
N_CLUBS = 31
Kind = Literal["clubs", "series"]


@dataclass(frozen=True)
class OneMethodShop:
    """What a shop is drawn from.

    clubs     each of 31 clubs reads 16 of 31 titles. Every two titles have 8 clubs in common: a
              title says nothing of another one, and people who read the same say all
    series    everybody follows five of five hundred short series, and buys bestsellers between
    members   of each club, or people for each 31
    """

    kind: Kind
    seed: int
    members: int

    def make_purchases(self) -> list[dict[str, Any]]:
        """Return the purchases before END; the same seed returns the same."""
        rng = generator(self.seed, f"shop of {self.kind}")
        draw = self._draw_clubs if self.kind == "clubs" else self._draw_series
        return [
            make_event(
                f"p{person:03}",
                f"i{item:04}",
                END - timedelta(weeks=weeks),
                event_id=f"{person} {item} {weeks}",
                order_id=f"{person} {weeks}",
            )
            for person, item, weeks in draw(rng)
        ]

    def open(self, home: Path, *, until: datetime = END) -> tuple[Facts, Settings]:
        """Write the shop into a state folder, with the purchases before `until`."""
        settings = Settings(home=home, database_url=None, clock_start=END)
        facts = Facts(settings)
        rows = [row for row in self.make_purchases() if row["occurred_at"] < until]
        items = [
            {"item_id": item_id, "category": "Books"}
            for item_id in sorted({row["item_id"] for row in rows})
        ]
        facts.write({"events": make_table("events", rows), "items": make_table("items", items)})
        return facts, settings

    def _draw_clubs(self, rng: np.random.Generator) -> list[tuple[int, int, float]]:
        bits = np.array(list(product((0, 1), repeat=5)))[1:]
        is_title = (bits @ bits.T) % 2 == 1  # (clubs, titles)
        rows: list[tuple[int, int, float]] = []
        for person in range(N_CLUBS * self.members):
            titles = np.flatnonzero(is_title[person % N_CLUBS])
            n_bought = rng.poisson(0.75 * N_WEEKS)
            bought = rng.choice(titles, n_bought).tolist()
            weeks = rng.uniform(0, N_WEEKS, n_bought).tolist()
            rows += zip([person] * n_bought, bought, weeks, strict=True)
        return rows

    def _draw_series(self, rng: np.random.Generator) -> list[tuple[int, int, float]]:
        n_series, n_followed, length, n_best = 500, 5, 6, 40
        appeal = rng.lognormal(0.0, 0.7, n_best)
        rows: list[tuple[int, int, float]] = []
        for person in range(N_CLUBS * self.members):
            for series in rng.choice(n_series, n_followed, replace=False).tolist():
                week = rng.uniform(2, N_WEEKS + 6)
                for volume in rng.permutation(length).tolist():
                    week -= rng.exponential(3.0)
                    if 0 < week < N_WEEKS:
                        rows.append((person, n_best + series * length + volume, week))
            for _ in range(rng.poisson(12)):
                best = int(rng.choice(n_best, p=appeal / appeal.sum()))
                rows.append((person, best, float(rng.uniform(0, N_WEEKS))))
        return rows
