"""The numbers in the frame, and the warnings that they count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

from features.contracts.errors import NotFound
from models.registry import CHALLENGER, CHAMPION, PASSED, REFUSED, Version
from serving.access import EVERYWHERE, Area
from serving.console.notices import CountService, read_notices
from serving.console.texts import choose_texts
from serving.models.service import ModelService

WAITING = {"Food > Dairy": 3, "Food > Bakery": 2, "": 1}


@dataclass
class Shop:
    """As much of a server as is counted; `calls` says how often each part was read."""

    rows: list[Any] = field(default_factory=list)
    refused: list[Version] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.conditions = SimpleNamespace(faults={"webhooks": SimpleNamespace(reason="no answer")})
        self.readiness = SimpleNamespace(missing=dict, degraded=dict)
        self.models = SimpleNamespace(list_refused=lambda: self.refused)
        self.effects = SimpleNamespace(list_warnings=lambda _zone: ["a batch"])
        self.inventory = SimpleNamespace(list_items=self.list_items)
        self.price_desk = SimpleNamespace(count_suggestions=self.count_suggestions)

    def list_items(self, _zone: str) -> tuple[None, Any]:
        if not self.rows:
            raise NotFound("no forecasts")
        return None, SimpleNamespace(rows=self.rows)

    def count_suggestions(self, _criteria: object, _by: str) -> dict[str, int]:
        self.calls["waiting"] += 1
        return WAITING


def make_row(title: str, days_of_cover: float | None) -> Any:
    return SimpleNamespace(
        title=title, item_id=title, days_of_cover=days_of_cover, lead_time_days=7
    )


def make_version(name: str, *aliases: str, gate: str | None) -> Version:
    tags = {"verdict": "measurably worse than the champion"}
    return Version(name, "7", "run", aliases, 0.0, tags=tags | ({"gate": gate} if gate else {}))


def test_what_waits_is_counted_where_the_role_reaches_and_read_once_until_something_is_written():
    shop = Shop()
    counts = CountService(shop)  # type: ignore[arg-type]
    assert counts.count("north", EVERYWHERE).waiting == 3 + 2 + 1
    assert counts.count("north", [Area("Food > Dairy", "north")]).waiting == 3
    assert counts.count("north", [Area("Food", "south")]).waiting == 0
    assert shop.calls["waiting"] == 1
    counts.forget()
    counts.count("north", EVERYWHERE)
    assert shop.calls["waiting"] == 2


def test_who_comes_while_another_page_counts_does_not_wait():
    shop, inside, go_on = Shop(), Event(), Event()

    def count_slowly(_criteria: object, _by: str) -> dict[str, int]:
        inside.set()
        assert go_on.wait(10)
        return WAITING

    shop.price_desk = SimpleNamespace(count_suggestions=count_slowly)
    counts = CountService(shop)  # type: ignore[arg-type]
    first = Thread(target=counts.count, args=("north", EVERYWHERE))
    first.start()
    assert inside.wait(10)
    assert counts.count("north", EVERYWHERE).waiting is None
    go_on.set()
    first.join()
    assert counts.count("north", EVERYWHERE).waiting == 6


def test_what_was_read_before_a_write_is_neither_kept_nor_ends_the_reading_after_it():
    shop, go_on = Shop(), [Event(), Event()]
    inside = [Event(), Event()]

    def count_slowly(_criteria: object, _by: str) -> dict[str, int]:
        number = shop.calls["slow"]
        shop.calls["slow"] += 1
        inside[number].set()
        assert go_on[number].wait(10)
        return {"Food": 1 + number}

    shop.price_desk = SimpleNamespace(count_suggestions=count_slowly)
    counts = CountService(shop)  # type: ignore[arg-type]
    threads = [Thread(target=counts.count, args=("north", EVERYWHERE)) for _ in range(2)]
    threads[0].start()
    assert inside[0].wait(10)
    counts.forget()
    threads[1].start()
    assert inside[1].wait(10)
    go_on[0].set()
    threads[0].join()
    assert counts.count("north", EVERYWHERE).waiting is None  # the second one still reads
    go_on[1].set()
    threads[1].join()
    assert counts.count("north", EVERYWHERE).waiting == 2


def test_warnings_are_faults_refused_models_stock_outs_and_batches():
    shop = Shop(
        rows=[make_row("Milk", 2.0), make_row("Rye", 8.0), make_row("Tea", None)],
        refused=[make_version("demand", CHALLENGER, gate=REFUSED)],
    )
    texts = choose_texts({"language": "en"}, "", "UTC")
    assert [notice.write(texts) for notice in read_notices(shop, "north")] == [  # type: ignore[arg-type]
        "webhooks: no answer",
        (
            "Version 7 of the model demand was refused and does not serve: "
            "measurably worse than the champion"
        ),
        "1 item runs out before an order can arrive: Milk",
    ]
    counts = CountService(shop)  # type: ignore[arg-type]
    assert counts.count("north", EVERYWHERE).warnings == 3 + 1


def test_a_shop_without_forecasts_has_no_stock_outs():
    assert [notice.key for notice in read_notices(Shop(), "north")] == ["notices.part"]  # type: ignore[arg-type]


def test_a_model_counts_as_refused_until_somebody_promotes_it():
    newest = {
        "demand": make_version("demand", CHALLENGER, gate=REFUSED),
        "pricing": make_version("pricing", CHALLENGER, CHAMPION, gate=REFUSED),
        "recommendations": make_version("recommendations", CHALLENGER, gate=PASSED),
    }
    registry = SimpleNamespace(find_challenger=newest.get)
    service = ModelService(registry, None, None)  # type: ignore[arg-type]
    assert [version.name for version in service.list_refused()] == ["demand"]
    newest["demand"] = make_version("demand", CHALLENGER, gate=None)  # of an earlier release
    assert service.list_refused() == []
