"""An experiment from draft to shipped model, over HTTP with a real server process.

`python -m tests.benchmarks.experiments.over_http [--visitors 20000] [--connections 16]`: two
versions of the recommendation model answer side by side for so many simulated visitors, half of
whom sign in on the way. The second version truly sells 3 % more. Exits with 1 where the report does
not name it, a slate is not that of its version, or the server does not answer from it once it is
shipped. Loopback only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from scipy import sparse

from features.database import engine as open_engine
from features.facts.facts import Facts
from models.digests import write_digests
from models.registry import Registry
from models.retrieval.item_knn import ItemKnn
from serving.database.migrate import upgrade
from tests.benchmarks.targets import Target, exit_with
from tests.shops.served_shop import ITEMS, NOW, build_shop, fit_model, register_model
from tests.shops.shop_process import COLD_START, ShopProcess

BASE_RATE, TRUE_EFFECT = 0.8, 0.03
_SAMPLE = 60
_SCOPES = ("storefront", "events", "experiments.manage", "models.manage", "slates.manage")
KEY = "versions"


@dataclass(frozen=True)
class Visit:
    """A visitor who looks at an item; who signs in buys as a user."""

    visitor_id: str
    item_id: str
    signs_in: bool
    luck: float

    @property
    def user_id(self) -> str:
        """The user that the visitor becomes."""
        return f"user of {self.visitor_id}"


def add_other_version(home: Path) -> str:
    """Register a version whose similar items are others; return its number."""
    settings = build_shop(home)
    engine = open_engine(settings)
    upgrade(engine)
    engine.dispose()
    model = fit_model(Facts(settings))
    knn = model.retrieval.similar
    turned = ItemKnn(knn.item_ids, sparse.csr_matrix(knn.similarity.toarray()[::-1, ::-1]))
    other = replace(model, retrieval=replace(model.retrieval, similar=turned))
    folder = home / "artifacts" / "other"
    other.save(folder)
    write_digests(folder)
    registry = Registry(settings.mlflow_url, home)
    return register_model(registry, "recommendations", folder)


def make_visits(n: int) -> list[Visit]:
    """Return n visits; every second visitor signs in."""
    rng = np.random.default_rng(17)
    items = sorted(ITEMS)
    return [
        Visit(f"v{number}", items[int(rng.integers(len(items)))], number % 2 == 0, rng.random())
        for number in range(n)
    ]


class Storefront:
    """Calls of a storefront and of those who manage its experiments."""

    def __init__(self, shop: ShopProcess) -> None:
        headers = {"Authorization": f"Bearer {shop.key}"}
        limits = httpx.Limits(max_connections=64)
        self._http = httpx.Client(base_url=shop.url, headers=headers, limits=limits, timeout=30)

    def ask(self, item_id: str, **ids: str) -> dict[str, Any]:
        """Return the slate of a product page."""
        body = {"placement": "product", "item_ids": [item_id], **ids}
        response = self._http.post("/v1/recommendations", json=body)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Return the document of another call."""
        response = self._http.request(method, f"/v1{path}", json=body or None)
        response.raise_for_status()
        document: dict[str, Any] = response.json()
        return document

    def make_visit(self, visit: Visit) -> str:
        """Show the slate, before and after a sign-in; return the variant of the last one."""
        answer = self.ask(visit.item_id, visitor_id=visit.visitor_id)
        if visit.signs_in:
            answer = self.ask(visit.item_id, visitor_id=visit.visitor_id, user_id=visit.user_id)
        variant: str = answer["experiments"][0]["variant"]
        return variant


def make_purchases(
    visits: Sequence[Visit], variants: Sequence[str], at: str
) -> Iterator[dict[str, Any]]:
    """Yield the purchases of the visits: by the user alone where the visitor signed in."""
    for visit, variant in zip(visits, variants, strict=True):
        rate = BASE_RATE * (1 + TRUE_EFFECT) if variant == "second" else BASE_RATE
        if visit.luck < rate:
            who = {"user_id": visit.user_id} if visit.signs_in else {"visitor_id": visit.visitor_id}
            yield who | {
                "event_type": "purchase",
                "occurred_at": at,
                "item_id": visit.item_id,
                "line_amount": "10.00",
            }


def list_slates(storefront: Storefront) -> dict[str, list[str]]:
    """Return the slate of each item for a stranger, by the item."""
    return {
        item_id: [item["item_id"] for item in storefront.ask(item_id)["items"]]
        for item_id in sorted(ITEMS)
    }


def run(shop: ShopProcess, version: str, n_visitors: int, n_connections: int) -> list[Target]:
    """Run the experiment and return what was seen."""
    storefront = Storefront(shop)
    of_first = list_slates(storefront)
    process = shop.pid
    alone = read_memory(process)
    arms = [
        {"name": "first", "weight": 0.5},
        {"name": "second", "weight": 0.5, "model": version},
    ]
    storefront.call(
        "POST",
        "/experiments",
        key=KEY,
        hypothesis="The second version sells more.",
        placements=["product"],
        variants=arms,
        attribution_days=0,
    )
    storefront.call("POST", f"/experiments/{KEY}/start")
    wait_for(lambda: meets_both(storefront))
    beside = read_memory(process)
    visits = make_visits(n_visitors)
    began = time.perf_counter()
    with ThreadPoolExecutor(n_connections) as pool:
        variants = list(pool.map(storefront.make_visit, visits))
    seconds = time.perf_counter() - began
    at = storefront_time(shop)
    events = list(make_purchases(visits, variants, at))
    for start in range(0, len(events), 500):
        storefront.call("POST", "/events", events=events[start : start + 500])
    shown: dict[str, dict[str, list[str]]] = {"first": {}, "second": {}}
    for number in range(_SAMPLE * len(ITEMS)):
        item_id = sorted(ITEMS)[number % len(ITEMS)]
        answer = storefront.ask(item_id, visitor_id=f"v{number}")
        variant = answer["experiments"][0]["variant"]
        shown[variant][item_id] = [item["item_id"] for item in answer["items"]]
    time.sleep(3)  # exposures are written behind the answers
    storefront.call("POST", f"/experiments/{KEY}/stop")
    results = storefront.call("GET", f"/experiments/{KEY}/results")
    decided = storefront.call("POST", f"/experiments/{KEY}/decide", variant="second", ship=True)
    wait_for(lambda: storefront.ask("tea")["model"]["version"] == version)
    of_second = list_slates(storefront)
    print(
        f"{n_visitors:,} visitors in {seconds:.0f} s; the server took {alone:.0f} MiB with one "
        f"version, {beside:.0f} MiB with two"
    )
    print(f"Verdict: {results['verdict']}; shipped: {decided['decision']['shipped']}")
    counted = [variant["n"] for variant in results["variants"]]
    relative = results["variants"][1]["metrics"]["purchase_conversion"]["relative"]
    n_units = sum(counted)
    return [
        Target(
            "the report names the true winner",
            f"{results['verdict']}, {relative['value']:+.1%} "
            f"({relative['low']:+.1%} to {relative['high']:+.1%}), true {TRUE_EFFECT:+.1%}",
            results["verdict"] == "second beats first on purchase_conversion",
        ),
        Target(
            "every visitor is one unit, none mixed",
            f"{n_units:,} units, {results['n_mixed']} mixed",
            n_units == n_visitors and results["n_mixed"] == 0,
        ),
        Target(
            "the split is even",
            f"{counted}, p = {results['sample_ratio_p_value']:.2g}",
            results["sample_ratio_p_value"] > 0.001,
        ),
        Target(
            "each variant's slates are its version's own",
            f"{len(shown['first'])} and {len(shown['second'])} pages, versions differ on "
            f"{sum(of_first[item] != of_second[item] for item in of_first)}",
            shown == {"first": of_first, "second": of_second} and of_first != of_second,
        ),
        Target(
            "the shipped version answers without a restart",
            f"version {version} from the process that began",
            shop.pid == process and read_memory(process) > 0,
        ),
    ]


def read_memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4_096 / 2**20


def meets_both(storefront: Storefront) -> bool:
    """Return whether both variants answer."""
    met = {
        arm["variant"]
        for number in range(20)
        for arm in storefront.ask("tea", visitor_id=f"v{number}")["experiments"]
    }
    return met == {"first", "second"}


def storefront_time(shop: ShopProcess) -> str:
    """Return the time of the shop's clock."""
    return shop.now().isoformat()


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    """Wait until a condition holds. Raises TimeoutError where it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not follow")
        time.sleep(0.5)


def main() -> None:
    """Run and print the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        version = add_other_version(home)
        settings = {"SHOPWRIGHT_CLOCK_START": NOW.isoformat(), "SHOPWRIGHT_CURRENCY": "EUR"}
        shop = ShopProcess(home, settings, program=COLD_START)
        shop.create_key(*_SCOPES)
        shop.start("/healthz")
        try:
            targets = run(shop, version, options.visitors, options.connections)
        finally:
            shop.kill()
    exit_with(targets)


if __name__ == "__main__":
    main()
