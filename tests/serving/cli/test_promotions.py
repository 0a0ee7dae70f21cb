"""`promotions file|list`: what the desk gets from the command line, and its calendar."""

import json

import pytest
from typer.testing import CliRunner

from features.contracts.errors import BadInput, Conflict, UnknownName
from features.database import transaction
from features.prices.ledger import Ledger
from serving.cli import promotion_filing
from serving.cli.main import app
from tests.shops.price_desk import NOW
from tests.shops.promotion_desk import make_price
from tests.shops.three_items import make_forecasts, make_inputs, make_responses

MILK = (
    "--name",
    "milk week",
    "--item",
    "milk",
    "--mechanic",
    "percent_off",
    "--percent",
    "0.1",
    "--from",
    "2018-01-08",
    "--to",
    "2018-01-15",
)


@pytest.fixture
def run(three_items, monkeypatch):
    """Runs a verb of promotions on the shop of three items, whose clock stands in New York."""
    _, _, settings = three_items
    variables = {
        "HOME": str(settings.home),
        "CURRENCY": "EUR",
        "TIMEZONE": "America/New_York",
        "CLOCK_START": NOW.isoformat(),
    }
    if settings.database_url is not None:
        variables["DATABASE_URL"] = settings.database_url
    for name, value in variables.items():
        monkeypatch.setenv(f"SHOPWRIGHT_{name}", value)
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    monkeypatch.setattr(promotion_filing, "load_pricing_inputs", lambda *_, **__: given)

    def verb(*words):
        words = ("promotions", *words)
        return CliRunner().invoke(app, words, catch_exceptions=False, standalone_mode=False).stdout

    return verb


def test_a_promotion_is_filed_with_its_what_if_and_stands_in_the_calendar(run, three_items):
    _, engine, _ = three_items
    filed = json.loads(run("file", *MILK, "--json"))
    assert (filed["proposed_by"], filed["status"]) == ("operator", "submitted")
    # Midnight of the shop's clock.
    assert (filed["starts_at"], filed["ends_at"]) == (
        "2018-01-08T05:00:00Z",
        "2018-01-15T05:00:00Z",
    )
    assert filed["items"][0]["promotion_price"] == "0.90"
    assert filed["expected"]["expected"]["units"]["p50"] == pytest.approx(10 * 0.9**-4)
    with transaction(engine) as connection:
        Ledger(connection).append([make_price("tea", 110, days=20)])
    calendar = json.loads(run("list", "--to", "2018-02-01", "--json"))
    assert [promotion["id"] for promotion in calendar["items"]] == [filed["id"]]
    assert [day["item_ids"] for day in calendar["price_changes"]] == [["tea"]]
    printed = run("list", "--to", "2018-02-01")
    assert "milk week" in printed and "planned" in printed and "prices" in printed
    words = run("file", *MILK[:-4], "--from", "2018-03-01", "--to", "2018-03-05")
    assert "Net profit" in words and "/approve" in words


def test_what_cannot_be_filed_names_the_option(run):
    with pytest.raises(BadInput, match="--from"):
        run("file", *MILK[:-4], "--from", "soon", "--to", "2018-01-15")
    with pytest.raises(BadInput, match="amount"):
        run("file", *MILK, "--amount", "0.10")
    with pytest.raises(BadInput, match="--funding"):
        run("file", *MILK, "--funding", "much")
    with pytest.raises(Conflict, match="no lower"):
        run("file", *MILK[:-5], "0", *MILK[-4:])


def test_a_what_if_reads_its_options_as_filing_does(run):
    """`simulate` and `file` are two doors of one promotion: midnight of the shop, and one error."""
    looked_at = MILK[MILK.index("--item") :]
    shown = json.loads(run("simulate", *looked_at, "--json"))
    filed = json.loads(run("file", *MILK, "--json"))
    assert shown["items"][0]["item_id"] == filed["items"][0]["item_id"]
    assert shown["expected"]["units"]["p50"] == filed["expected"]["expected"]["units"]["p50"]
    for verb, words in (("simulate", looked_at), ("file", MILK)):
        with pytest.raises(BadInput, match="--from"):
            run(verb, *words, "--from", "soon")
        with pytest.raises(BadInput, match="--amount"):
            run(verb, *words, "--amount", "much")
        with pytest.raises(UnknownName, match="mechanic"):
            run(verb, *words, "--mechanic", "percent_of")
