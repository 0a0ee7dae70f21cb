"""The report of an evaluation: everything inside one file, everything escaped."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from matplotlib.figure import Figure

from training.report import render_html
from training.results import Cell, Comparison, Evaluation, MetricTable

NOW = datetime(2024, 5, 6, tzinfo=UTC)
BAR = "bias -7.1% of the units sold, at most 5.0% is allowed"
HOSTILE = "<script>alert('x')</script> & \"co\""


def an_evaluation() -> Evaluation:
    comparison = Comparison(
        metric="NDCG@10",
        ours=0.5,
        baselines={HOSTILE: 0.25, "EASE": 0.375},
        better="higher",
        strongest="EASE",
        p_value=1e-7,
        p_values={HOSTILE: 1e-7, "EASE": 0.0123},
        intervals={"Shopwright": (0.45, 0.55)},
    )
    table = MetricTable(
        "all items",
        ("NDCG@10", HOSTILE, "by nobody"),
        {
            "Shopwright": (Cell(0.5, 0.45, 0.55), Cell(-0.2), Cell(float("nan"))),
            "EASE": (Cell(0.25), Cell(0.8), Cell(float("nan"))),
        },
        (1234, 987, 0),
    )
    figure = Figure()
    figure.subplots().plot([1, 2])
    return Evaluation(
        "recommendations",
        datetime(2024, 5, 6, tzinfo=UTC),
        "NDCG@10",
        (comparison,),
        (),
        notes=(HOSTILE,),
        figures={"ndcg_by_depth": figure},
        tables=(table,),
        data={"users known": 98765},
    )


def test_every_name_is_escaped_and_nothing_is_fetched() -> None:
    html = render_html(an_evaluation())
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 3  # a method, a column, a note
    assert "http" not in html.replace("http-equiv", "")
    assert "data:image/png;base64," in html


def test_it_says_cut_counts_intervals_and_tests_the_strongest_baseline_first() -> None:
    html = render_html(an_evaluation())
    for text in (
        "2024-05-06T00:00:00+00:00",
        "98,765",
        "0.4500 to 0.5500",
        "p = 0.012",
        "p &lt; .0001",
        "1,234 users",
    ):
        assert text in html
    assert html.index("EASE") < html.index("&lt;script&gt;alert", html.index("ours against it"))


def test_the_same_evaluation_gives_the_same_file() -> None:
    assert render_html(an_evaluation()) == render_html(an_evaluation())


def test_an_evaluation_without_tables_or_plots_has_a_report_too() -> None:
    comparison = Comparison("WMAPE", 0.5, {"naive": 0.75}, "lower", "naive")
    html = render_html(
        Evaluation("demand", datetime(2024, 5, 6, tzinfo=UTC), "WMAPE", (comparison,), (BAR,))
    )
    assert f"Falls short: {BAR}." in html
    assert html.index("Falls short") < html.index("WMAPE")
    assert html.index("naive") > html.index("Shopwright")
    assert "interval" not in html
    assert "ours against it" not in html


def test_the_result_stands_on_top_and_columns_without_values_are_left_out() -> None:
    html = render_html(an_evaluation())
    verdict = "Good enough to serve: NDCG@10 0.5000 against 0.3750 of EASE, the strongest baseline."
    assert html.index(verdict) < html.index("<dl>")
    assert "by nobody" not in html
    assert "987 users" in html


def test_a_result_that_is_measurably_behind_is_not_called_good() -> None:
    def describe(ours: float, p_value: float, better: str) -> str:
        comparison = Comparison("M", ours, {"naive": 0.5}, better, "naive", p_value)  # type: ignore[arg-type]
        return Evaluation("demand", NOW, "M", (comparison,), ()).describe_result()

    behind = "Serves although it is measurably behind: M 0.4000 against 0.5000 of naive."
    assert describe(0.4, 0.01, "higher") == behind
    assert describe(0.4, 0.2, "higher").startswith("Good enough to serve: M 0.4000")
    assert describe(0.4, 0.01, "lower").startswith("Good enough to serve: M 0.4000")
    assert describe(0.6, 0.01, "lower").startswith("Serves although it is measurably behind")


def test_a_bar_is_as_long_as_its_value_beside_the_others_of_its_column() -> None:
    html = render_html(an_evaluation())
    lengths = re.findall(r'background-size: ([\d.]+%) 4px">(-?[\d.]+)', html)
    assert lengths == [
        ("100.0%", "0.5000"),  # the comparison: ours, then the strongest baseline first
        ("75.0%", "0.3750"),
        ("50.0%", "0.2500"),
        ("100.0%", "0.5000"),  # the table, column by column
        ("25.0%", "-0.2000"),
        ("50.0%", "0.2500"),
        ("100.0%", "0.8000"),
    ]
