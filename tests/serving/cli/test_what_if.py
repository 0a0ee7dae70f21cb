"""`prices simulate`, `promotions simulate` and what a run of `prices suggest` prints."""

import codecs
import csv
import json
import math
import re
from dataclasses import replace

import pyarrow as pa
import pytest
from typer import BadParameter
from typer.testing import CliRunner

from features.contracts.errors import BadInput, UnknownName
from features.contracts.pricing import EvidenceGrade
from models.pricing.price_tests import TOO_SLOW
from serving.cli import price_tests, prices, promotion_filing, promotions
from serving.cli.main import app
from serving.price_desk.suggest import suggest_prices
from tests.shops.clocks import SYSTEM_CLOCK
from tests.shops.three_items import RULES, Forecasts, make_forecasts, make_inputs, make_responses
from tests.shops.unsaid import list_unsaid


@pytest.fixture
def run(three_items, monkeypatch, tmp_path):
    """Runs a verb on the shop of three items, of which milk has a forecast and a response."""
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "home"))
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    for module in (price_tests, prices, promotion_filing, promotions):
        monkeypatch.setattr(module, "load_pricing_inputs", lambda *_, **__: given)
        monkeypatch.setattr(module, "check_zone", lambda *_: None)

    def verb(*words):
        found = CliRunner().invoke(app, words, catch_exceptions=False, standalone_mode=False)
        return found.stdout

    return verb


def test_an_item_at_other_prices_is_printed_and_told_to_machines(run):
    document = json.loads(
        run("prices", "simulate", "milk", "--price", "0.90", "--price", "1.00", "--json")
    )
    cheap, present = document["items"]
    assert cheap["expected"]["units"]["p50"] == pytest.approx(40 * 0.9**-4)
    assert present["expected"]["profit"]["against_keeping"]["p50"] == "0.00"
    shown = run("prices", "simulate", "milk", "--price", "0.50")
    assert "elasticity -4.00, grade A" in shown and "maximum change" in shown


def drop_effects(document):
    """Return the document without the name and without effects of an item that only add up to
    others."""
    kept = ("item_id", "current_price", "price", "expected", "against_none")
    items = [{name: item[name] for name in kept} for item in document["items"]]
    return {**document, "name": None, "items": items}


def test_a_promotion_is_printed_and_told_to_machines(run):
    words = [
        "promotions",
        "simulate",
        "--item",
        "milk",
        "--item",
        "rice",
        "--mechanic",
        "percent_off",
    ]
    words += ["--percent", "0.1", "--from", "2018-01-08T00:00Z", "--to", "2018-01-22T00:00Z"]
    document = json.loads(run(*words, "--json"))
    assert document["expected"]["units"]["p50"] == pytest.approx(20 * 0.9**-4)
    assert document["missing"] == ["rice"]
    shown = run(*words)
    assert "percent_off, zone default, 1 items" in shown and "Left out: rice" in shown
    assert list_unsaid(drop_effects(document), shown) == []
    shown = run(*words, "--support", "display")
    assert "Support (display) multiplies units by 1.00 to 1.00" in shown
    assert "Note: no lift of 'display' was learnt" in shown
    with pytest.raises(BadInput, match="mean_basket: fewer than 20 orders of the last 8 weeks"):
        run(*words[:7], "spend_save", *words[8:], "--amount", "1", "--threshold", "5")
    with pytest.raises(BadParameter, match="less than or equal to 1"):
        run(*words, "--reach", "2")
    with pytest.raises(UnknownName, match="percent_off"):
        run(*words[:7], "percent_of", *words[8:])


def test_a_plan_of_promotions_is_printed_and_told_to_machines(run):
    document = json.loads(
        run(
            "promotions",
            "suggest",
            "--weeks",
            "4",
            "--depth",
            "0.05",
            "--risk-aversion",
            "0",
            "--json",
        )
    )
    (milk,) = document["items"]
    assert (milk["item_id"], milk["price"], document["n_items"]) == ("milk", "0.95", 1)
    # Ten units a week at 1.00 and a cost of .72; 10 * .95 ** -4 at .95.
    gain = 10 * 0.95**-4 * 0.23 - 10 * 0.28
    assert float(milk["net"]["profit"]["p50"]) == pytest.approx(gain, abs=0.005)
    shown = run(
        *("promotions", "suggest", "--weeks", "4", "--depth", "0.05", "--risk-aversion", "0")
    )
    assert list_unsaid(document, shown) == []
    assert "no gain" in run("promotions", "suggest", "--weeks", "4", "--depth", "0.25")
    with pytest.raises(BadInput, match="depths"):
        run("promotions", "suggest", "--depth", "2")


def test_price_tests_are_printed_and_items_that_cannot_be_tested_say_why(
    run, three_items, monkeypatch, tmp_path
):
    # Milk is known, nothing is known of tea and salt; salt sells .4 units in four weeks.
    sold = pa.concat_tables(
        [make_forecasts("milk", "tea").forecasts, make_forecasts("salt", units=0.1).forecasts]
    )
    given = make_inputs(three_items, Forecasts(sold), make_responses("milk"))
    monkeypatch.setattr(price_tests, "load_pricing_inputs", lambda *_, **__: given)
    shown = run("prices", "tests")
    assert "Price tests, zone default: 1 of 3 items" in shown
    # Between .80 and 1.20 within 20 %; weekly noise 4 / 40 + .1 over the spread (ln(1.2 / .8) /
    # 2)², .6 wanted
    weeks = 2 * math.ceil(0.2 / (math.log(1.2 / 0.8) / 2) ** 2 / 0.6**2 / 2)
    assert re.search(rf"tea +D +1\.00 +0\.80 +1\.20 +{weeks} +unknown +0\.\d\d", shown)
    assert "1 items need none to be priced" in shown
    assert "--plan says which tests are worth their cost" in shown
    assert f"1 items cannot be tested: 1 {TOO_SLOW}" in shown
    document = json.loads(run("prices", "tests", "--json", "--out", str(tmp_path / "tests.csv")))
    (tea,) = document["items"]
    assert (tea["item_id"], tea["weeks"], tea["error_now"]) == ("tea", weeks, None)
    assert document["untestable"] == [{"item_id": "salt", "zone": "default", "reason": TOO_SLOW}]
    assert (document["reasons"], document["n_known"]) == ({TOO_SLOW: 1}, 1)
    assert (tmp_path / "tests.csv").read_bytes().startswith(codecs.BOM_UTF8)
    with (tmp_path / "tests.csv").open(newline="", encoding="utf-8-sig") as file:
        (row,) = csv.DictReader(file)
    assert (row["item_id"], row["lower"], row["higher"], row["error_now"]) == (
        "tea",
        "0.80",
        "1.20",
        "",
    )


def test_the_text_of_a_run_says_what_its_json_says(three_items, capsys):
    forecasts, responses = make_forecasts("milk", "salt", "tea"), make_responses("milk", "tea")
    given = make_inputs(three_items, forecasts, responses)
    suggest_prices(given, SYSTEM_CLOCK)
    report = suggest_prices(given, SYSTEM_CLOCK)  # it supersedes the first
    assert report.n_superseded == report.n_suggested == 1
    prices.print_suggestions(report)
    document = json.loads(json.dumps(prices.report_document(report), default=str))
    shown = ("item_id", "title", "evidence_grade", "binding_rule")
    largest = [{name: row[name] for name in shown} for row in document["largest"]]
    document = {**document, "largest": largest, "outcome": {}}
    assert list_unsaid(document, capsys.readouterr().out) == []


def test_a_run_prints_how_near_it_came_to_the_best_and_which_rule_was_not_kept(three_items, capsys):
    rules = replace(RULES, revenue_floor=3.0, soft={"revenue floor": 10})
    prices.print_suggestions(
        suggest_prices(
            make_inputs(three_items, make_forecasts("milk"), make_responses("milk"), rules),
            SYSTEM_CLOCK,
        )
    )
    shown = capsys.readouterr().out
    assert "Proven within 0.0000% of the best" in shown
    # 40 units at 1.00 are 40.00; the largest cut allowed, to .80, brings 40 * .8 ** -3 = 78.12
    assert (
        "Rule not kept: revenue floor (soft): at least 120.00 USD asked, 78.12 is the nearest found"
        in shown
    )


def test_a_run_without_suggestions_says_how_to_learn_more_or_to_price_all_the_same(
    three_items, capsys
):
    responses = make_responses("milk", "tea")
    responses.columns["grade"][:] = list(EvidenceGrade).index(EvidenceGrade.C)
    given = make_inputs(three_items, make_forecasts("milk", "tea"), responses)
    prices.print_suggestions(suggest_prices(given, SYSTEM_CLOCK))
    shown = capsys.readouterr().out
    assert "2: evidence grade C: too little is known" in shown
    assert "shopwright prices tests --plan" in shown
    assert "--set min_grade=C" in shown


def test_two_runs_are_compared_for_people_and_for_machines(run, three_items, monkeypatch):
    _, _, settings = three_items
    if settings.database_url:
        monkeypatch.setenv("SHOPWRIGHT_DATABASE_URL", settings.database_url)
    first, second = (
        suggest_prices(
            make_inputs(
                three_items, make_forecasts("milk"), make_responses("milk", elasticity=elasticity)
            ),
            SYSTEM_CLOCK,
        ).run_id
        for elasticity in (-4.0, -3.0)
    )
    document = json.loads(run("prices", "compare", first, second, "--json"))
    (milk,) = document["items"]
    assert (document["shared"], document["n_different"], milk["item_id"]) == (1, 1, "milk")
    shown = run("prices", "compare", first, second)
    assert "1 of 1 items end at another price" in shown
    assert milk["first"]["suggested_price"] in shown and f"{milk['change']:+.1%}" in shown
