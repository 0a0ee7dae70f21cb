"""Signing in by OpenID Connect, against a provider that the test runs on loopback."""

import time
from types import SimpleNamespace

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient
from joserfc.jwk import OctKey, RSAKey

from configs.settings import Settings
from features.database import reading
from serving.audit.repository import AuditFilter, AuditRecords
from serving.database.tables import openid_requests
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.session_cookie import SessionCookie
from serving.keys.service import KeyService
from serving.people import api as people
from serving.people.openid import OpenIdService
from tests.shops.openid_provider import CLIENT_ID, CLIENT_SECRET, run_provider

BEGIN = "/v1/sessions/openid"


def make_settings(provider, **values):
    return Settings(
        public_url="http://testserver",
        openid_issuer=provider.issuer,
        openid_client_id=CLIENT_ID,
        openid_client_secret=CLIENT_SECRET,
        **values,
    )


def open_site(desk, settings):
    """Return an application with the routes of people; `open_browser` visits it.

    Anna has no password here.
    """
    desk.people.reset("anna", None)
    app = FastAPI()
    app.include_router(people.sessions_router)
    app.include_router(people.people_router)
    add_error_handlers(app)
    provide(
        app,
        KeyService(desk.engine, desk.clock),
        desk.people,
        desk.sessions,
        OpenIdService(settings, desk.engine, desk.clock),
        SessionCookie(settings.public_url),
    )
    return lambda: TestClient(app, follow_redirects=False)


@pytest.fixture
def site(desk):
    with run_provider() as provider:
        provider.claims = {"sub": "subject-1", "preferred_username": "Anna"}
        open_browser = open_site(desk, make_settings(provider))
        yield SimpleNamespace(desk=desk, provider=provider, open_browser=open_browser)


def visit_provider(browser, begin=BEGIN):
    """Return where the provider sends the browser after the sign-in there."""
    sent = browser.get(begin)
    assert sent.status_code == 303, sent.text
    return httpx.get(sent.headers["location"]).headers["location"]


def test_a_person_signs_in_by_the_provider_with_the_roles_they_have_here(site):
    browser = site.open_browser()
    answer = browser.get(visit_provider(browser, f"{BEGIN}?next=/v1/sessions"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/v1/sessions")
    me = browser.get("/v1/people/me").json()
    assert me["id"] == "anna"
    assert "pricing.propose" in me["scopes"]
    (session,) = browser.get("/v1/sessions").json()["items"]
    assert session["method"] == "openid"
    with reading(site.desk.engine) as connection:
        assert connection.execute(sa.select(openid_requests)).all() == []
        records = AuditRecords(connection).page(AuditFilter("anna"))
    assert [record.action for record in records] == ["create", "reset", "link_openid", "sign_in"]


def test_from_then_on_the_subject_counts_and_not_the_name(site):
    browser = site.open_browser()
    browser.get(visit_provider(browser))
    site.provider.claims = {"sub": "subject-1", "preferred_username": "renamed"}
    second = site.open_browser()
    assert second.get(visit_provider(second)).status_code == 303
    assert second.get("/v1/people/me").json()["id"] == "anna"
    # Somebody else who got the name at the provider is not anna here.
    site.provider.claims = {"sub": "subject-2", "preferred_username": "anna"}
    third = site.open_browser()
    refused = third.get(visit_provider(third))
    assert refused.status_code == 403
    assert "may not sign in here" in refused.json()["detail"]


def test_a_name_of_the_provider_opens_no_account_with_a_password_and_a_reset_forgets_the_link(site):
    browser = site.open_browser()
    browser.get(visit_provider(browser))
    site.desk.people.reset("anna", "five long blue rivers")
    again = site.open_browser()
    refused = again.get(visit_provider(again))
    assert refused.status_code == 403
    assert "reset without a password" in refused.json()["hint"]


@pytest.mark.parametrize("name", ["nobody", "ben"])
def test_who_is_not_created_or_disabled_here_stays_outside(site, name):
    site.desk.people.disable("ben")
    site.provider.claims = {"sub": "subject-3", "preferred_username": name}
    browser = site.open_browser()
    assert browser.get(visit_provider(browser)).status_code == 403
    assert browser.get("/v1/people/me").status_code == 401


@pytest.mark.parametrize(
    "lies",
    [
        {"iss": "https://other.example"},
        {"aud": "another-client"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": int(time.time()) - 3600},
        {"sub": None},
    ],
)
def test_a_token_that_was_not_made_for_this_sign_in_proves_nothing(site, lies):
    site.provider.lies = lies
    browser = site.open_browser()
    answer = browser.get(visit_provider(browser))
    assert answer.status_code == 401, answer.text
    assert browser.get("/v1/people/me").status_code == 401


def test_a_token_signed_by_another_key_or_with_a_shared_secret_proves_nothing(site):
    site.provider.published = RSAKey.generate_key(2048)
    browser = site.open_browser()
    assert browser.get(visit_provider(browser)).status_code == 401
    site.provider.key, site.provider.algorithm = OctKey.import_key(CLIENT_SECRET * 5), "HS256"
    assert browser.get(visit_provider(browser)).status_code == 401


def test_an_answer_counts_once_in_the_browser_that_asked_and_soon(site):
    browser, thief = site.open_browser(), site.open_browser()
    callback = visit_provider(browser)
    assert thief.get(callback).status_code == 401  # it has no cookie of the request
    other = visit_provider(thief)
    assert thief.get(callback).status_code == 401  # another request's state
    assert browser.get(callback).status_code == 303
    assert browser.get(callback).status_code == 401
    assert thief.get(other).status_code == 401  # used up by the wrong state
    late = visit_provider(browser)
    site.desk.clock.move(minutes=11)
    assert browser.get(late).status_code == 401


def test_a_refusal_of_the_provider_is_passed_on(site):
    browser = site.open_browser()
    callback = visit_provider(browser)
    state = callback.partition("state=")[2]
    answer = browser.get(f"{BEGIN}/callback?error=access_denied&state={state}")
    assert (answer.status_code, answer.json()["detail"]) == (
        401,
        "the provider refused: access_denied",
    )


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
def test_the_way_back_never_leads_to_another_site(site, path):
    browser = site.open_browser()
    begin = str(httpx.URL(BEGIN, params={"next": path}))
    assert browser.get(visit_provider(browser, begin)).headers["location"] == "/v1/people/me"


@pytest.mark.parametrize(("verified", "status"), [(True, 303), (False, 403), ("true", 403)])
def test_a_mail_address_names_somebody_where_it_is_verified(desk, verified, status):
    with run_provider() as provider:
        provider.claims = {"sub": "s", "email": "ANNA", "email_verified": verified}
        settings = make_settings(provider, openid_name_claim="email")
        browser = open_site(desk, settings)()
        assert browser.get(visit_provider(browser)).status_code == status


def test_a_provider_that_does_not_answer_or_has_another_name_is_unavailable(desk):
    with run_provider() as provider:
        provider.issuer, address = "https://other.example", provider.issuer
        settings = make_settings(provider).model_copy(update={"openid_issuer": address})
        assert open_site(desk, settings)().get(BEGIN).status_code == 503
    answer = open_site(desk, settings)().get(BEGIN)
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["detail"]
