"""Every route of /v1 requires a key with the scope that the contract names."""

import pytest

from serving.app import ROUTERS
from serving.keys.service import IMPLIED, SCOPES

REQUIRED_SCOPES = {
    ("POST", "/v1/recommendations"): "storefront",
    ("POST", "/v1/recommendations/page"): "storefront",
    ("GET", "/v1/recommendations"): "storefront",
    ("POST", "/v1/rank"): "storefront",
    ("GET", "/v1/prices"): "storefront",
    ("POST", "/v1/events"): "events",
    ("GET", "/v1/forecasts/{item_id}"): "pricing.read",
    ("GET", "/v1/inventory"): "pricing.read",
    ("POST", "/v1/prices/simulate"): "pricing.read",
    ("POST", "/v1/promotions/simulate"): "pricing.read",
    ("POST", "/v1/promotions/suggest"): "pricing.read",
    ("GET", "/v1/price-suggestions"): "pricing.read",
    ("GET", "/v1/price-suggestions/{suggestion_id}"): "pricing.read",
    ("GET", "/v1/price-changes"): "pricing.read",
    ("POST", "/v1/price-suggestions/{suggestion_id}/edit"): "pricing.propose",
    ("POST", "/v1/price-suggestions/{suggestion_id}/approve"): "pricing.approve",
    ("POST", "/v1/price-suggestions/{suggestion_id}/reject"): "pricing.approve",
    ("POST", "/v1/price-suggestions/bulk"): "pricing.approve",
    ("POST", "/v1/price-suggestions/submit"): "pricing.propose",
    ("POST", "/v1/price-suggestions/{suggestion_id}/submit"): "pricing.propose",
    ("POST", "/v1/price-changes/{price_id}/rollback"): "pricing.approve",
    ("GET", "/v1/experiments"): "experiments.manage",
    ("GET", "/v1/experiments/{key}/results"): "experiments.manage",
    ("POST", "/v1/experiments/{key}/{action}"): "experiments.manage",
    ("GET", "/v1/assignments"): "experiments.manage",
    ("GET", "/v1/models"): "models.manage",
    ("POST", "/v1/models/{name}/promote"): "models.manage",
    ("POST", "/v1/models/{name}/rollback"): "models.manage",
    ("GET", "/v1/audit"): "audit.read",
    ("GET", "/v1/audit/verification"): "audit.read",
}
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
ROUTES = sorted(
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    for method in route.methods
)


@pytest.fixture(scope="module")
def keys(shared):
    """A key with every scope but one (and those that imply it), and a key with that one alone, by
    scope."""
    keys = {}
    for scope in sorted(set(REQUIRED_SCOPES.values())):
        others = [name for name in SCOPES if name != scope and scope not in IMPLIED.get(name, ())]
        keys[scope] = (
            shared.keys.create("others", others).key,
            shared.keys.create("alone", [scope]).key,
        )
    return keys


def status(shared, method, path, authorization):
    address = path.replace("{action}", "start").replace("{", "no-").replace("}", "")
    return shared.client.request(
        method, address, headers={"Authorization": authorization}
    ).status_code


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_route_requires_a_key_with_its_scope(shared, keys, method, path):
    if (method, path) in OPEN:
        return
    without, alone = keys[REQUIRED_SCOPES[method, path]]
    assert status(shared, method, path, "") == 401
    assert status(shared, method, path, "Bearer sw_nonsense") == 401
    assert status(shared, method, path, f"Bearer {without}") == 403
    assert status(shared, method, path, f"Bearer {alone}") not in (401, 403)


def test_no_route_is_forgotten(shared):
    assert REQUIRED_SCOPES.keys() | OPEN == set(ROUTES)
    described = shared.app.openapi()["paths"]
    assert {
        (method.upper(), path) for path, methods in described.items() for method in methods
    } == set(ROUTES)
