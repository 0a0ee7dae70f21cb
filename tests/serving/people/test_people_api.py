"""People over HTTP: cookies, writes of a session, admins; and the desk that people decide at."""

import pyotp
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from configs.settings import Settings
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import Area, Grant
from serving.audit import api as audit
from serving.audit.service import AuditService
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.idempotency import IdempotencyService
from serving.http.session_cookie import SessionCookie
from serving.keys.service import KeyService
from serving.people import api as people
from serving.people.openid import OpenIdService
from serving.people.service import NewPerson
from serving.price_desk import api as price_desk
from serving.price_desk.service import PriceDeskService
from tests.shops.clocks import FixedClock
from tests.shops.people import PASSWORDS
from tests.shops.price_desk import NOW, make_suggestion, read_statuses, store_suggestions


class Site:
    """The application, reached by browsers at one address."""

    def __init__(self, desk, public_url=None):
        self.desk = desk
        self.base_url = public_url or "http://testserver"
        self.app = FastAPI()
        for router in (
            people.sessions_router,
            people.people_router,
            price_desk.router,
            price_desk.changes_router,
            audit.router,
        ):
            self.app.include_router(router)
        add_error_handlers(self.app)
        settings, clock = Settings(public_url=public_url), FixedClock(NOW)
        self.keys = KeyService(desk.engine, desk.clock)
        provide(
            self.app,
            self.keys,
            desk.people,
            desk.sessions,
            OpenIdService(settings, desk.engine, desk.clock),
            SessionCookie(public_url),
            PriceDeskService(settings, desk.engine, clock, desk.clock, PLAIN_RULES),
            AuditService(desk.engine),
            IdempotencyService(desk.engine, desk.clock),
        )

    def open_browser(self):
        return TestClient(self.app, base_url=self.base_url)

    def sign_in(self, name, **more):
        """Return a browser in which somebody has signed in, and that sends the CSRF token."""
        browser = self.open_browser()
        answer = browser.post(
            "/v1/sessions", json={"name": name, "password": PASSWORDS.get(name), **more}
        )
        assert answer.status_code == 201, answer.text
        browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        return browser


@pytest.fixture
def site(desk):
    return Site(desk)


@pytest.fixture
def dora(site):
    """An admin."""
    site.desk.people.create(NewPerson("dora", "Dora D", (Grant("admin"),), PASSWORDS["dora"]))
    return site.sign_in("dora")


def test_signing_in_answers_who_i_am_and_a_cookie_that_scripts_cannot_read(site):
    browser = site.open_browser()
    answer = browser.post("/v1/sessions", json={"name": "Anna", "password": PASSWORDS["anna"]})
    assert answer.status_code == 201
    document = answer.json()
    assert (document["id"], document["name"]) == ("anna", "Anna A")
    assert "pricing.propose" in document["scopes"]
    assert document["person"]["roles"] == [{"role": "analyst", "category": None, "zone": None}]
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("shopwright_session=")
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert "Secure" not in cookie
    me = browser.get("/v1/people/me").json()
    assert me == document | {"person": me["person"]}


def test_behind_tls_the_cookie_is_secure_and_bound_to_the_host(desk):
    browser = Site(desk, "https://prices.example.com").open_browser()
    answer = browser.post("/v1/sessions", json={"name": "anna", "password": PASSWORDS["anna"]})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-shopwright=")
    assert "Secure" in cookie
    assert "Domain" not in cookie
    assert browser.get("/v1/people/me").json()["id"] == "anna"


def test_without_a_session_nothing_answers(site):
    browser = site.open_browser()
    assert browser.get("/v1/people/me").status_code == 401
    browser.cookies.set("shopwright_session", "nonsense")
    answer = browser.get("/v1/people/me")
    assert (answer.status_code, answer.json()["detail"]) == (401, "no session, or it has ended")
    anna = site.sign_in("anna")
    site.desk.clock.move(hours=13)
    assert anna.get("/v1/people/me").status_code == 401


def test_a_wrong_password_and_then_a_pause_are_told_apart_by_status_alone(site):
    browser = site.open_browser()
    bad = {"name": "anna", "password": "wrong password"}
    answers = [browser.post("/v1/sessions", json=bad) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert answers[-1].headers["Retry-After"] == "31"
    assert answers[0].json()["type"] == "urn:shopwright:unauthorized"
    assert "set-cookie" not in answers[0].headers


def test_a_write_of_a_session_needs_its_csrf_token_and_no_foreign_origin(site):
    (key,) = store_suggestions(site.desk.engine, make_suggestion("milk", status="suggested"))
    anna = site.sign_in("anna")
    path = f"/v1/price-suggestions/{key}/submit"
    token = anna.headers.pop("X-CSRF-Token")
    foreign = {"X-CSRF-Token": token, "Origin": "https://evil.example"}
    bens = site.sign_in("ben").headers["X-CSRF-Token"]
    for headers in ({}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": bens}, foreign):
        answer = anna.post(path, headers=headers)
        assert answer.status_code == 403, headers
    assert read_statuses(site.desk.engine, [key]) == ["suggested"]
    own = {"X-CSRF-Token": token, "Origin": "http://testserver"}
    assert anna.post(path, headers=own).status_code == 200
    assert anna.get("/v1/price-suggestions").status_code == 200  # reading needs no token


def test_another_site_cannot_sign_somebody_in(site):
    body = {"name": "anna", "password": PASSWORDS["anna"]}
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = site.open_browser().post("/v1/sessions", json=body, headers=headers)
        assert answer.status_code == 403


def test_a_key_comes_before_a_cookie_and_needs_no_csrf_token(site):
    anna = site.sign_in("anna")
    key = site.keys.create("shop", ["pricing.read"])
    anna.headers["Authorization"] = f"Bearer {key.key}"
    assert anna.get("/v1/people/me").json() == {
        "id": key.record.id,
        "name": "shop",
        "scopes": ["pricing.read"],
        "person": None,
        "csrf_token": None,
        "expires_at": None,
    }
    for method, path in (("GET", "/v1/sessions"), ("POST", "/v1/people/me/second-factor")):
        answer = anna.request(method, path, json={"password": "x"})
        assert answer.status_code == 403
        assert "not for keys" in answer.json()["detail"]


def test_sessions_are_listed_and_ended_one_by_one_or_all(site):
    first, second = site.sign_in("anna"), site.sign_in("anna")
    items = second.get("/v1/sessions").json()["items"]
    assert sorted(item["current"] for item in items) == [False, True]
    other = next(item["id"] for item in items if not item["current"])
    assert second.delete(f"/v1/sessions/{other}").status_code == 204
    assert first.get("/v1/people/me").status_code == 401
    assert second.delete("/v1/sessions/session_none").status_code == 404
    third = site.sign_in("anna")
    answer = second.delete("/v1/sessions/current")
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert second.get("/v1/people/me").status_code == 401
    fourth = site.sign_in("anna")
    assert third.delete("/v1/sessions").status_code == 204
    assert fourth.get("/v1/people/me").status_code == 401


def test_a_changed_password_gives_a_new_cookie_and_csrf_token(site):
    anna, elsewhere = site.sign_in("anna"), site.sign_in("anna")
    body = {"password": PASSWORDS["anna"], "new_password": "two new yellow bicycles"}
    before = anna.cookies["shopwright_session"]
    answer = anna.put("/v1/people/me/password", json=body)
    assert answer.status_code == 200
    assert anna.cookies["shopwright_session"] != before
    assert answer.json()["csrf_token"] != anna.headers["X-CSRF-Token"]
    assert anna.get("/v1/people/me").status_code == 200
    assert elsewhere.get("/v1/people/me").status_code == 401


def test_a_second_factor_is_set_up_used_and_removed(site):
    anna = site.sign_in("anna")
    password = {"password": PASSWORDS["anna"]}
    begun = anna.post("/v1/people/me/second-factor", json=password).json()
    assert begun["uri"].startswith("otpauth://totp/Shopwright:anna?secret=")
    app = pyotp.TOTP(begun["secret"])
    code = {"code": app.at(site.desk.clock.now())}
    codes = anna.post("/v1/people/me/second-factor/confirm", json=code).json()["recovery_codes"]
    answer = site.open_browser().post("/v1/sessions", json={"name": "anna", **password})
    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:shopwright:second-factor-needed"
    again = site.sign_in("anna", code=codes[0])
    assert again.get("/v1/people/me").json()["person"]["has_second_factor"]
    removed = again.post("/v1/people/me/second-factor/remove", json={**password, "code": codes[1]})
    assert removed.status_code == 204
    assert site.sign_in("anna")


def test_an_admin_looks_after_people_and_nobody_else_does(site, dora):
    body = {
        "name": "carla",
        "full_name": "Carla C",
        "password": "five long blue rivers",
        "roles": [{"role": "approver", "category": "Food", "zone": "north"}],
    }
    assert site.sign_in("anna").post("/v1/people", json=body).status_code == 403
    created = dora.post("/v1/people", json=body)
    assert created.status_code == 201
    assert created.json()["roles"] == body["roles"]
    assert dora.post("/v1/people", json=body).status_code == 409
    roles = {"roles": [{"role": "manager"}]}
    assert dora.put("/v1/people/carla/roles", json=roles).json()["roles"][0]["category"] is None
    assert dora.put("/v1/people/dora/roles", json=roles).status_code == 403
    assert dora.post("/v1/people/carla/disable").json()["disabled_at"] is not None
    assert dora.post("/v1/people/carla/enable").json()["disabled_at"] is None
    assert dora.post("/v1/people/carla/reset", json={}).json()["has_password"] is False
    names = [item["name"] for item in dora.get("/v1/people").json()["items"]]
    assert names == ["anna", "ben", "carla", "dora"]
    text = dora.get("/v1/people").text + dora.get("/v1/audit?subject_id=carla").text
    assert "rivers" not in text
    assert "argon2" not in text
    actors = {entry["actor"] for entry in dora.get("/v1/audit?subject_id=carla").json()["items"]}
    assert actors == {"dora"}


def test_an_admin_of_a_part_of_the_assortment_looks_after_nobody(site, dora):
    """Else they would make themselves, or somebody whose password they know, an admin of all."""
    bakery = Grant("admin", Area("Food > Bakery", "north"))
    site.desk.people.create(NewPerson("zoe", "Zoe Z", (bakery,), PASSWORDS["dora"]))
    zoe = site.sign_in("zoe", password=PASSWORDS["dora"])
    admin = {"name": "mallory", "password": "five long blue rivers", "roles": [{"role": "admin"}]}
    for answer in (
        zoe.post("/v1/people", json=admin | {"full_name": "M"}),
        zoe.post("/v1/people/dora/reset", json={"password": "five long blue rivers"}),
        zoe.post("/v1/people/ben/disable"),
        zoe.put("/v1/people/ben/roles", json={"roles": [{"role": "admin"}]}),
    ):
        assert answer.status_code == 403, answer.text
        assert "your role covers Food > Bakery" in answer.json()["detail"]
    assert dora.get("/v1/people").status_code == 200  # still signed in


def test_two_people_decide_about_a_price_each_in_their_own_area(site):
    north, south = store_suggestions(
        site.desk.engine,
        make_suggestion("milk", zone="north"),
        make_suggestion("milk", zone="south"),
    )
    anna, ben = site.sign_in("anna"), site.sign_in("ben")
    path = "/v1/price-suggestions"
    edit = {"suggested_price": "1.20", "reason": "round"}
    assert anna.post(f"{path}/{north}/edit", json=edit).json()["edited_by"] == "anna"
    refused = anna.post(f"{path}/{north}/approve")
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "your roles do not give the scope pricing.approve",
    )
    approved = ben.post(f"{path}/{north}/approve")
    assert (approved.json()["status"], approved.json()["decided_by"]) == ("live", "ben")
    outside = ben.post(f"{path}/{south}/approve")
    assert outside.status_code == 403
    assert outside.json()["detail"] == ("your role covers Food in north, not Food > Dairy in south")
    change = approved.json()["price_id"]
    assert ben.post(f"/v1/price-changes/{change}/rollback").status_code == 403
    entries = ben.get(f"/v1/audit?subject_id={north}").json()["items"]
    assert [(entry["actor"], entry["actor_name"], entry["action"]) for entry in entries] == [
        ("anna", "Anna A", "edit"),
        ("ben", "Ben B", "approve"),
    ]
    (created,) = ben.get("/v1/audit?subject_id=ben&action=create").json()["items"]
    assert (created["actor"], created["actor_name"]) == ("operator", "operator")


def test_whoever_proposed_does_not_approve_whatever_their_roles(site):
    both = [Grant("analyst"), Grant("approver", Area("Food"))]
    site.desk.people.set_grants("anna", both)
    (key,) = store_suggestions(site.desk.engine, make_suggestion("milk"))
    anna = site.sign_in("anna")
    anna.post(f"/v1/price-suggestions/{key}/edit", json={"suggested_price": "1.20"})
    answer = anna.post(f"/v1/price-suggestions/{key}/approve")
    assert answer.status_code == 403
    assert "may not approve it" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/sessions/openid"), ("GET", "/v1/sessions/openid/callback?code=a&state=b")],
)
def test_without_a_provider_there_is_no_openid(site, method, path):
    answer = site.open_browser().request(method, path, follow_redirects=False)
    assert answer.status_code == 404
    assert "SHOPWRIGHT_OPENID_ISSUER" in answer.json()["hint"]
