"""Every route of /v1 requires a key with the scope that the contract names."""

import pytest

from serving.access import IMPLIED, SCOPES
from serving.app import ROUTERS

REQUIRED_SCOPES = {
    ("POST", "/v1/recommendations"): "storefront",
    ("POST", "/v1/recommendations/page"): "storefront",
    ("GET", "/v1/recommendations"): "storefront",
    ("POST", "/v1/rank"): "storefront",
    ("GET", "/v1/prices"): "storefront",
    ("POST", "/v1/events"): "events",
    ("GET", "/v1/events/flagged"): "privacy.manage",
    ("GET", "/v1/users/{user_id}"): "privacy.manage",
    ("PUT", "/v1/users/{user_id}"): "privacy.manage",
    ("DELETE", "/v1/users/{user_id}"): "privacy.manage",
    ("POST", "/v1/browser/visitors"): "browser",
    ("POST", "/v1/browser/page"): "browser",
    ("POST", "/v1/browser/events"): "browser",
    ("POST", "/v1/browser-tokens"): "storefront",
    ("GET", "/v1/items/{item_id}"): "catalogue",
    ("PUT", "/v1/items/{item_id}"): "catalogue",
    ("PATCH", "/v1/items/{item_id}"): "catalogue",
    ("DELETE", "/v1/items/{item_id}"): "catalogue",
    ("POST", "/v1/items"): "catalogue",
    ("PUT", "/v1/stock"): "catalogue",
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
    ("POST", "/v1/price-changes/{price_id}/rollback"): "pricing.rollback",
    ("GET", "/v1/price-desk/activations"): "pricing.read",
    ("GET", "/v1/price-desk/approval-rules"): "pricing.read",
    ("GET", "/v1/price-desk/reject-reasons"): "pricing.read",
    ("PUT", "/v1/price-desk/reject-reasons"): "pricing.manage",
    ("GET", "/v1/price-suggestions/{suggestion_id}/comments"): "pricing.read",
    ("POST", "/v1/price-suggestions/{suggestion_id}/comments"): "pricing.read",
    ("GET", "/v1/price-scenarios"): "pricing.read",
    ("POST", "/v1/price-scenarios"): "pricing.propose",
    ("GET", "/v1/price-scenarios/{scenario_id}"): "pricing.read",
    ("POST", "/v1/price-scenarios/{scenario_id}/file"): "pricing.propose",
    ("GET", "/v1/price-tests"): "pricing.read",
    ("POST", "/v1/price-tests"): "pricing.propose",
    ("GET", "/v1/price-tests/{test_id}"): "pricing.read",
    ("POST", "/v1/price-tests/{test_id}/cancel"): "pricing.propose",
    ("POST", "/v1/price-tests/{test_id}/file"): "pricing.propose",
    ("POST", "/v1/price-tests/{test_id}/finish"): "pricing.propose",
    ("POST", "/v1/price-tests/{test_id}/keep"): "pricing.propose",
    ("GET", "/v1/price-locks"): "pricing.read",
    ("GET", "/v1/effects"): "pricing.read",
    ("GET", "/v1/price-changes/{price_id}/effect"): "pricing.read",
    ("GET", "/v1/pricing-runs"): "pricing.read",
    ("GET", "/v1/pricing-runs/items/{item_id}"): "pricing.read",
    ("GET", "/v1/pricing-runs/{run_id}"): "pricing.read",
    ("GET", "/v1/pricing-runs/{run_id}/items"): "pricing.read",
    ("GET", "/v1/pricing-runs/{run_id}/compare"): "pricing.read",
    ("GET", "/v1/promotions"): "pricing.read",
    ("GET", "/v1/promotions/live"): "storefront",
    ("GET", "/v1/promotions/{promotion_id}"): "pricing.read",
    ("GET", "/v1/promotions/{promotion_id}/effect"): "pricing.read",
    ("POST", "/v1/price-changes/rollback"): "pricing.rollback",
    ("POST", "/v1/price-locks"): "pricing.approve",
    ("POST", "/v1/price-locks/{lock_id}/unlock"): "pricing.approve",
    ("POST", "/v1/price-suggestions"): "pricing.propose",
    ("POST", "/v1/price-suggestions/bulk/preview"): "pricing.approve",
    ("POST", "/v1/price-suggestions/file"): "pricing.propose",
    ("POST", "/v1/price-suggestions/decisions"): "pricing.read",
    ("POST", "/v1/promotions"): "pricing.propose",
    ("POST", "/v1/promotions/check"): "pricing.propose",
    ("POST", "/v1/promotions/{promotion_id}/approve"): "pricing.approve",
    ("POST", "/v1/promotions/{promotion_id}/cancel"): "pricing.propose",
    ("POST", "/v1/promotions/{promotion_id}/end"): "pricing.rollback",
    ("POST", "/v1/promotions/{promotion_id}/reject"): "pricing.approve",
    ("PUT", "/v1/price-desk/activations"): "pricing.manage",
    ("PUT", "/v1/price-desk/approval-rules/{name}"): "pricing.manage",
    ("POST", "/v1/experiments"): "experiments.manage",
    ("GET", "/v1/experiments/{key}"): "experiments.manage",
    ("PATCH", "/v1/experiments/{key}"): "experiments.manage",
    ("GET", "/v1/experiments/{key}/plan"): "experiments.manage",
    ("POST", "/v1/experiments/{key}/decide"): "experiments.manage",
    ("POST", "/v1/experiments/{key}/override"): "experiments.manage",
    ("GET", "/v1/experiments"): "experiments.manage",
    ("GET", "/v1/experiments/{key}/results"): "experiments.manage",
    ("POST", "/v1/experiments/{key}/{action}"): "experiments.manage",
    ("GET", "/v1/assignments"): "experiments.manage",
    ("GET", "/v1/models"): "models.manage",
    ("POST", "/v1/models/{name}/promote"): "models.manage",
    ("POST", "/v1/models/{name}/rollback"): "models.manage",
    ("GET", "/v1/people"): "people.manage",
    ("POST", "/v1/people"): "people.manage",
    ("PUT", "/v1/people/{name}/roles"): "people.manage",
    ("POST", "/v1/people/{name}/disable"): "people.manage",
    ("POST", "/v1/people/{name}/enable"): "people.manage",
    ("POST", "/v1/people/{name}/reset"): "people.manage",
    ("GET", "/v1/prices/labels"): "pricing.read",
    ("GET", "/v1/pricing-rules"): "pricing.read",
    ("POST", "/v1/pricing-rules"): "pricing.manage",
    ("GET", "/v1/pricing-rules/{name}"): "pricing.read",
    ("GET", "/v1/pricing-rules/{name}/versions"): "pricing.read",
    ("POST", "/v1/pricing-rules/{name}/restore"): "pricing.manage",
    ("GET", "/v1/placements"): "storefront",
    ("POST", "/v1/placements"): "slates.manage",
    ("GET", "/v1/placements/{name}"): "storefront",
    ("GET", "/v1/placements/{name}/versions"): "storefront",
    ("POST", "/v1/placements/{name}/restore"): "slates.manage",
    ("GET", "/v1/merchandising-rules"): "storefront",
    ("POST", "/v1/merchandising-rules"): "slates.manage",
    ("GET", "/v1/merchandising-rules/{name}"): "storefront",
    ("GET", "/v1/merchandising-rules/{name}/versions"): "storefront",
    ("POST", "/v1/merchandising-rules/{name}/restore"): "slates.manage",
    ("POST", "/v1/merchandising-rules/{name}/try"): "slates.manage",
    ("POST", "/v1/webhooks"): "pricing.manage",
    ("GET", "/v1/webhooks"): "pricing.manage",
    ("DELETE", "/v1/webhooks/{webhook_id}"): "pricing.manage",
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"): "pricing.manage",
    ("POST", "/v1/webhooks/{webhook_id}/replay"): "pricing.manage",
    ("POST", "/v1/webhooks/{webhook_id}/rotate"): "pricing.manage",
    ("GET", "/v1/audit"): "audit.read",
    ("GET", "/v1/audit/verification"): "audit.read",
}
OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/client.js"),
    ("POST", "/v1/sessions"),
    ("GET", "/v1/sessions/openid"),
    ("GET", "/v1/sessions/openid/callback"),
}
# Any caller may ask who they are; the others are for people, not for keys.
WHO_AM_I = ("GET", "/v1/people/me")
SIGNED_IN = {
    ("GET", "/v1/sessions"),
    ("DELETE", "/v1/sessions"),
    ("DELETE", "/v1/sessions/{session_id}"),
    ("PUT", "/v1/people/me/password"),
    ("POST", "/v1/people/me/second-factor"),
    ("POST", "/v1/people/me/second-factor/confirm"),
    ("POST", "/v1/people/me/second-factor/remove"),
}
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
    if (method, path) in {*OPEN, *SIGNED_IN, WHO_AM_I}:
        return
    without, alone = keys[REQUIRED_SCOPES[method, path]]
    assert status(shared, method, path, "") == 401
    assert status(shared, method, path, "Bearer sw_nonsense") == 401
    assert status(shared, method, path, f"Bearer {without}") == 403
    assert status(shared, method, path, f"Bearer {alone}") not in (401, 403)


@pytest.mark.parametrize(("method", "path"), sorted({*SIGNED_IN, WHO_AM_I}))
def test_a_route_of_people_refuses_who_has_not_signed_in(shared, keys, method, path):
    _, key = keys["pricing.read"]
    assert status(shared, method, path, "") == 401
    assert status(shared, method, path, "Bearer sw_nonsense") == 401
    assert status(shared, method, path, f"Bearer {key}") == (
        200 if (method, path) == WHO_AM_I else 403
    )


def test_no_route_is_forgotten(shared):
    assert REQUIRED_SCOPES.keys() | OPEN | SIGNED_IN | {WHO_AM_I} == set(ROUTES)
    described = shared.app.openapi()["paths"]
    assert {
        (method.upper(), path) for path, methods in described.items() for method in methods
    } == set(ROUTES)
