"""Dense shops: some hundred people who buy often among two hundred items, as canonical tables.

Purchases are drawn one by one, week by week, from what each person wants: no model of this
repository is fitted or inverted. Three kinds differ in why people buy an item that is new to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from configs.settings import Settings
from features.contracts.seeds import generator
from features.facts.facts import Facts
from tests.shops.event_tables import make_event, make_table

END = datetime(2024, 5, 6, tzinfo=UTC)
Kind = Literal["tastes", "habits", "factors"]
KINDS: tuple[Kind, ...] = ("tastes", "habits", "factors")
# tastes: a taste over categories, and items of a category by their own appeal
# habits: the same, and most lines repeat something that the person had, the latest more often
# factors: continuous wants that cross the categories of the catalogue
_SHARE_REPEATED = {"tastes": 0.0, "habits": 0.6, "factors": 0.3}
_MEMORY = 40  # lines that a person may repeat


@dataclass(frozen=True)
class DenseShop:
    """What a shop is drawn from."""

    kind: Kind
    seed: int
    n_people: int = 300
    n_items: int = 200
    n_categories: int = 10
    n_weeks: int = 30
    lines: float = 4.0
    visits: float = 0.6

    def make_purchases(self) -> list[dict[str, Any]]:
        """Return the purchases before END; the same seed returns the same."""
        rng = generator(self.seed, f"dense shop {self.kind}")
        wants = self._draw_wants(rng)
        visit_rates = self.visits * rng.gamma(3.0, 1 / 3, self.n_people)
        share_repeated = _SHARE_REPEATED[self.kind]
        rows: list[dict[str, Any]] = []
        for person in range(self.n_people):
            memory: list[int] = []
            for week in range(self.n_weeks):
                for visit in range(rng.poisson(visit_rates[person])):
                    start = END - timedelta(weeks=self.n_weeks - week)
                    at = start + timedelta(hours=float(rng.uniform(8, 160)) - visit)
                    basket: set[int] = set()
                    for _ in range(1 + rng.poisson(self.lines - 1)):
                        if memory and rng.random() < share_repeated:
                            basket.add(memory[int(rng.integers(len(memory)))])
                        else:
                            basket.add(int(rng.choice(self.n_items, p=wants[person])))
                    memory = [*memory, *sorted(basket)][-_MEMORY:]
                    rows.extend(
                        make_event(
                            f"p{person:03}",
                            f"i{item:03}",
                            at,
                            event_id=f"{person} {week} {visit} {item}",
                            order_id=f"{person} {week} {visit}",
                        )
                        for item in sorted(basket)
                    )
        return rows

    def make_items(self) -> list[dict[str, Any]]:
        """Return the catalogue: items in categories of equal size."""
        return [
            {"item_id": f"i{item:03}", "category": f"Food > {item % self.n_categories}"}
            for item in range(self.n_items)
        ]

    def open(self, home: Path, *, until: datetime = END) -> tuple[Facts, Settings]:
        """Write the shop into a state folder, with the purchases before `until`."""
        settings = Settings(home=home, database_url=None, clock_start=END)
        facts = Facts(settings)
        facts.write(
            {
                "events": make_table(
                    "events", [row for row in self.make_purchases() if row["occurred_at"] < until]
                ),
                "items": make_table("items", self.make_items()),
            }
        )
        return facts, settings

    def _draw_wants(self, rng: np.random.Generator) -> np.ndarray:
        """Return the chance of each item for each person (people, items)."""
        appeal = rng.lognormal(0.0, 1.0, self.n_items)
        if self.kind == "factors":
            people = rng.normal(0.0, 1.0, (self.n_people, 6))
            items = rng.normal(0.0, 0.7, (self.n_items, 6))
            wants = appeal * np.exp(people @ items.T)
        else:
            tastes = rng.dirichlet(np.full(self.n_categories, 0.3), self.n_people)
            own = rng.lognormal(0.0, 0.5, (self.n_people, self.n_items))
            wants = appeal * own * (tastes[:, np.arange(self.n_items) % self.n_categories] + 0.01)
        return wants / wants.sum(1, keepdims=True)
