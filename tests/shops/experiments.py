"""Experiments of the served shop over HTTP: define, start, ask for slates under them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

DRAFT = {
    "key": "cart_again",
    "hypothesis": "Buying again sells more in the cart.",
    "placements": ["cart"],
    "variants": [
        {"name": "champion", "weight": 0.5},
        {"name": "again", "weight": 0.5, "policy": "buy_again"},
    ],
}


def define(served: SimpleNamespace, **values: Any) -> Any:
    return served.client.post("/v1/experiments", json=DRAFT | values)


def act(served: SimpleNamespace, key: str, action: str, **body: Any) -> Any:
    response = served.client.post(
        f"/v1/experiments/{key}/{action}", json=body or None, params={"accept_worse": True}
    )
    served.server.refresh()
    return response


def ask(served: SimpleNamespace, placement: str = "cart", **ids: Any) -> dict[str, Any]:
    body = {"placement": placement, "item_ids": ["tea"], **ids}
    answer: dict[str, Any] = served.client.post("/v1/recommendations", json=body).json()
    return answer
