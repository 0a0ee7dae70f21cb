"""Prices by hand: the same rules as a run's, shown and confirmed by name, filed as shown."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from features.contracts.errors import BadInput, Conflict, Forbidden, UnknownName
from features.database import reading, transaction
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from models.pricing.response.elasticity import ElasticityModel
from serving.access import Area, Caller
from serving.database.price_locks import PriceLocks
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.price_desk import decisions, proposals_api
from serving.price_desk.checked_prices import JUMP, ProposedPrice
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.proposal_documents import describe_proposal
from serving.price_desk.proposals import ItemChoice, ProposalOptions, ProposalService
from serving.price_desk.repository import Suggestions
from serving.price_desk.served_inputs import NoForecasts
from serving.price_desk.service import PriceDeskService
from serving.price_desk.suggest import suggest_prices
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.price_desk import NOW, make_decider, make_opening_price
from tests.shops.three_items import RULES, make_forecasts, make_inputs, make_responses

ANNA = Caller("anna", "Anna", frozenset({"pricing.propose"}))
PLAIN = ProposalOptions()


@pytest.fixture
def shop(three_items):
    """A service of proposals over three items at 1.00 of which milk has a forecast."""
    _, engine, settings = three_items
    desk = PriceDeskService(settings, engine, FixedClock(NOW), SYSTEM_CLOCK, PLAIN_RULES)
    rules = SimpleNamespace(present=RULES)

    def read_inputs(_zone, _item_ids):
        demand, pricing = make_forecasts("milk"), make_responses("milk")
        return make_inputs(three_items, demand, pricing, rules.present)

    return SimpleNamespace(
        three_items=three_items,
        engine=engine,
        desk=desk,
        rules=rules,
        proposals=ProposalService(desk, read_inputs),
    )


def price(item_id, minor, row=1, **values):
    return ProposedPrice(row, item_id, "default", minor, **values)


def file(shop, *prices, options=PLAIN, caller=ANNA, digest=None):
    proposal = shop.proposals.check(caller, prices, options)
    with transaction(shop.engine) as connection:
        return shop.proposals.file(connection, caller, proposal, options, digest)


def read_all(shop, *statuses):
    with reading(shop.engine) as connection:
        return Suggestions(connection).matching(SuggestionFilter(status=statuses))


def test_a_proposal_waits_for_somebody_else_with_its_expected_effect(shop):
    filed = file(shop, price("milk", 95), options=ProposalOptions(reason="as agreed"))
    (milk,) = read_all(shop)
    assert filed.ids == {1: milk.id}
    assert (milk.status, milk.kind, milk.proposed_by) == ("submitted", "regular", "anna")
    assert (milk.title, milk.category) == ("Milk", "Food > Dairy")
    assert milk.base_price_id == make_opening_price("milk").content_id()
    # 40 units at 1.00 and an elasticity of -4; milk costs .72.
    gain = 40 * 0.95**-4 * (95 - 72) - 40 * (100 - 72)
    assert milk.gain_minor == pytest.approx(gain)
    assert milk.expected["profit"]["against_keeping"]["p50"] == pytest.approx(gain)
    assert milk.waterfall[0]["note"] == "as agreed"
    with transaction(shop.engine) as connection, pytest.raises(Forbidden, match="proposed"):
        decisions.approve(connection, make_decider("anna"), milk.id)
    with transaction(shop.engine) as connection:
        decisions.approve(connection, make_decider("ben"), milk.id)
        current = Ledger(connection).find_current(["milk"], "default", NOW)["milk"]
    assert current.offer_price_minor == 95


def test_an_item_without_forecast_or_response_gets_a_price_without_an_effect(shop):
    filed = file(shop, price("tea", 105))
    (tea,) = read_all(shop)
    assert (tea.expected, tea.gain_minor) == (None, None)
    assert describe_proposal(filed.proposal).gains == []


def test_a_shop_without_any_model_can_propose_prices(shop, three_items):
    def read_inputs(_zone, _item_ids):
        return make_inputs(three_items, NoForecasts(), ElasticityModel.without_series())

    shop.proposals = replace(shop.proposals, read_inputs=read_inputs)
    file(shop, price("milk", 95))
    assert read_all(shop)[0].expected is None


def test_a_price_beyond_a_rule_is_refused_by_its_name_until_that_is_confirmed(shop):
    shop.rules.present = replace(RULES, max_change=0.1, min_margin=0.0)
    with pytest.raises(BadInput) as refusal:
        file(shop, price("milk", 85))
    assert "maximum change (at most 10% from the current price" in str(refusal.value)
    assert "The nearest price that all rules allow is 0.90" in str(refusal.value)
    with pytest.raises(BadInput, match="confirm: maximum change"):
        file(shop, price("milk", 85), options=ProposalOptions(confirmed=frozenset({"ending"})))
    assert read_all(shop) == []
    confirmed = ProposalOptions(confirmed=frozenset({"maximum change"}))
    file(shop, price("milk", 85), options=confirmed)
    (milk,) = read_all(shop)
    assert milk.details["confirmed_rules"] == ["maximum change"]
    strict = replace(make_decider("ben"), find_pricing_rules=lambda *_: shop.rules.present)
    with transaction(shop.engine) as connection:
        decisions.approve(connection, strict, milk.id)
    assert read_all(shop)[0].status == "live"


def test_a_price_without_an_allowed_ending_is_offered_the_nearest_one(shop):
    shop.rules.present = replace(RULES, endings=("9",))
    checked = shop.proposals.check(ANNA, [price("milk", 94)], PLAIN).prices[0]
    assert checked.nearest_minor == 89
    assert "ending (no allowed ending; the nearest price is 0.89)" in str(checked.error)


def test_a_slipped_point_is_named_and_may_be_meant(shop):
    shop.rules.present = replace(
        RULES, max_change=0.99, tried_margin=0.99, max_over_list=9, untested_step=0.99
    )
    checked = shop.proposals.check(ANNA, [price("tea", 160)], PLAIN).prices[0]
    assert list(checked.broken) == [JUMP]
    assert "+60%" in str(checked.error)


def test_many_prices_are_filed_together_as_they_were_shown_or_not_at_all(shop):
    prices = [price("milk", 95), price("tea", 105, 2), price("nothing", 105, 3)]
    with pytest.raises(BadInput, match=r"1 of 3 prices cannot be filed \(rows 3\)"):
        file(shop, *prices)
    assert read_all(shop) == []
    preview = shop.proposals.check(ANNA, prices, PLAIN)
    document = describe_proposal(preview)
    assert (document.n_valid, document.n_refused) == (2, 1)
    assert "leading zeros" in document.items[2].refused
    gain = 40 * 0.95**-4 * (95 - 72) - 40 * (100 - 72)
    assert document.gains[0].profit == f"{gain / 100:.2f}"
    with pytest.raises(Conflict, match="not what was shown"):
        file(shop, *prices[:2], digest=preview.digest)
    filed = file(shop, *prices, digest=preview.digest)
    assert sorted(filed.ids) == [1, 2]
    assert {each.run_id for each in read_all(shop)} == {filed.proposal.proposal_id}


def test_nothing_is_filed_where_a_price_moved_since_it_was_shown(shop):
    preview = shop.proposals.check(ANNA, [price("milk", 95)], PLAIN)
    moved = replace(make_opening_price("milk", 99), valid_from=NOW - timedelta(days=1))
    with transaction(shop.engine) as connection:
        Ledger(connection).append([moved])
    with pytest.raises(Conflict, match="not what was shown"):
        file(shop, price("milk", 95), digest=preview.digest)
    # Between the check and the transaction, too.
    with transaction(shop.engine) as connection, pytest.raises(Conflict, match="another price"):
        shop.proposals.file(connection, ANNA, preview, PLAIN, preview.digest)
    assert read_all(shop) == []


def test_the_same_item_twice_is_refused(shop):
    checked = shop.proposals.check(ANNA, [price("milk", 95), price("milk", 96, 2)], PLAIN)
    assert "row 1 has a price of this item" in str(checked.prices[1].error)


def test_a_change_by_percent_keeps_the_endings_and_its_direction(shop):
    """3 % off 1.00 is .97, and the nearest price with an ending is .99; of 4 % the nearest is
    either; half a percent up is 1.01, near .99 only: no price to propose."""
    shop.rules.present = replace(RULES, endings=("9",))
    chosen = shop.proposals.choose_items(ItemChoice("default", category="Food"))
    assert chosen == ["milk", "salt"]
    prices = [ProposedPrice(n, item, "default", percent=-3) for n, item in enumerate(chosen, 1)]
    checked = shop.proposals.check(ANNA, prices, PLAIN)
    assert [each.price_minor for each in checked.prices] == [99, 99]
    up = ProposedPrice(1, "tea", "default", percent=0.5)
    refused = shop.proposals.check(ANNA, [up], PLAIN).prices[0]
    assert "no other price with an allowed ending" in str(refused.error)


def test_a_proposal_replaces_what_a_run_and_the_same_person_left_undecided(shop):
    inputs = make_inputs(shop.three_items, make_forecasts("milk"), make_responses("milk"))
    suggest_prices(inputs, SYSTEM_CLOCK)
    assert file(shop, price("milk", 95)).n_superseded == 1
    assert file(shop, price("milk", 94)).n_superseded == 1
    ben = Caller("ben", "Ben", frozenset({"pricing.propose"}))
    assert file(shop, price("milk", 93), caller=ben).n_superseded == 0
    waiting = {each.proposed_by: each.suggested_price_minor for each in read_all(shop, "submitted")}
    assert waiting == {"anna": 94, "ben": 93}
    # The next run leaves what people proposed.
    suggest_prices(replace(inputs, now=NOW + timedelta(hours=1)), SYSTEM_CLOCK)
    assert len(read_all(shop, "submitted")) == 3


def test_areas_scopes_zones_and_times_are_checked(shop):
    with pytest.raises(Forbidden, match=r"pricing\.propose"):
        file(shop, price("milk", 95), caller=Caller("key", "key", frozenset({"storefront"})))
    areas = {"pricing.propose": (Area(category="Drinks"),)}
    with pytest.raises(Forbidden, match="Food > Dairy"):
        file(shop, price("milk", 95), caller=replace(ANNA, areas=areas))
    with pytest.raises(UnknownName):
        file(shop, replace(price("milk", 95), zone="nowhere"))
    with pytest.raises(BadInput, match="is over"):
        file(
            shop,
            price("milk", 95),
            options=ProposalOptions(effective_from=NOW - timedelta(days=1)),
        )


def test_a_price_for_later_is_computed_against_the_price_that_will_be_valid_then(shop):
    monday = NOW + timedelta(days=7)
    planned = replace(make_opening_price("milk", 98), valid_from=NOW + timedelta(days=3))
    with transaction(shop.engine) as connection:
        Ledger(connection).append([planned])
    file(shop, price("milk", 95), options=ProposalOptions(effective_from=monday))
    (milk,) = read_all(shop)
    assert (milk.current_price_minor, milk.base_price_id) == (98, planned.content_id())
    assert (milk.effective_from, milk.expires_at) == (monday, monday + timedelta(days=14))


def test_a_locked_price_is_proposed_by_nobody(shop):
    with transaction(shop.engine) as connection:
        PriceLocks(connection).add("milk", "", "contract", "ben", NOW, NOW + timedelta(days=3))
    with pytest.raises(Conflict, match="locked until 2018-01-04 05:00 UTC: contract"):
        file(shop, price("milk", 95))
    file(shop, price("milk", 95), options=ProposalOptions(effective_from=NOW + timedelta(days=3)))


def test_the_law_and_an_item_off_sale_cannot_be_confirmed(shop):
    reduction = replace(
        make_opening_price("milk", 96),
        list_price_minor=100,
        valid_from=NOW + timedelta(days=5),
        valid_to=NOW + timedelta(days=9),
    )
    with transaction(shop.engine) as connection:
        Ledger(connection).append([reduction])
    everything = ProposalOptions(confirmed=frozenset({"law", "maximum change"}))
    with pytest.raises(Conflict, match="would be no reduction"):
        file(shop, price("milk", 95), options=everything)


@pytest.fixture
def client(shop):
    app = FastAPI()
    app.include_router(proposals_api.router)
    add_error_handlers(app)
    keys = KeyService(shop.engine, SYSTEM_CLOCK)
    provide(app, keys, shop.proposals, IdempotencyService(shop.engine, SYSTEM_CLOCK))
    key = keys.create("anna", ["pricing.propose"]).key
    return TestClient(app, headers={"Authorization": f"Bearer {key}"})


def test_a_file_is_shown_row_by_row_and_filed_by_its_digest(shop, client):
    """What Excel writes in Germany: a mark, semicolons, decimal commas; row 4 has no new price."""
    content = (
        "item_id;title;new_price;reason\r\n"
        "milk;Milch;0,95;Aktion\r\n"
        "tea;Tee;1,234;\r\n"
        "salt;Salz;;\r\n"
        "4.00638E+12;Brot;1,10;\r\n"
        "'-12;Eis;1,10;\r\n"
    ).encode("utf-8-sig")
    answer = client.post("/v1/price-suggestions/file", params={"dry_run": True}, content=content)
    preview = answer.json()
    assert (preview["n_valid"], preview["n_refused"], preview["is_filed"]) == (1, 3, False)
    refused = {row["row"]: row["refused"] for row in preview["items"] if row["refused"]}
    assert "may be 1.234 or 1234" in refused[3]
    assert "spreadsheet rounded" in refused[5]
    assert "item '-12' has no price" in refused[6]
    assert read_all(shop) == []
    refusal = client.post("/v1/price-suggestions/file", content=content)
    assert (refusal.status_code, read_all(shop)) == (422, [])
    headers = {"Idempotency-Key": "one"}
    params = {"expected_digest": preview["digest"]}
    for _ in range(2):  # sent again, it is filed once
        answer = client.post(
            "/v1/price-suggestions/file", params=params, content=content, headers=headers
        )
        assert answer.json()["is_filed"], answer.text
    (milk,) = read_all(shop)
    assert (milk.suggested_price_minor, milk.waterfall[0]["note"]) == (95, "Aktion")
    other = client.post(
        "/v1/price-suggestions/file", params=params, content=content + b"tea;;1,05;\n"
    )
    assert other.status_code == 409


def test_prices_and_a_change_by_percent_over_http(shop, client):
    body = {"prices": [{"item_id": "milk", "price": "0.95"}], "reason": "as agreed"}
    filed = client.post("/v1/price-suggestions", json=body).json()
    assert filed["items"][0]["suggestion_id"] == read_all(shop)[0].id
    percent = {"percent": 5, "filter": {"category": "Drinks"}, "dry_run": True}
    preview = client.post("/v1/price-suggestions", json=percent).json()
    assert [(row["item_id"], row["price"]) for row in preview["items"]] == [("tea", "1.05")]
    for wrong in (
        {},
        {"percent": 5},
        {**body, "percent": 5},
        {"prices": [{"item_id": "milk", "price": "0.955"}]},
        {"prices": [{"item_id": "milk", "price": "-1"}]},
    ):
        assert client.post("/v1/price-suggestions", json=wrong).status_code == 422
    nothing = {"percent": 5, "filter": {"brand": "unheard-of"}}
    assert client.post("/v1/price-suggestions", json=nothing).status_code == 404
