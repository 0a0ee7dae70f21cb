"""The report of an evaluation: everything inside one file, everything escaped."""

from __future__ import annotations

from datetime import UTC, datetime

from matplotlib.figure import Figure

from training.report import render_html
from training.results import Cell, Comparison, Evaluation, MetricTable

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
        ("NDCG@10", HOSTILE),
        {"Shopwright": (Cell(0.5, 0.45, 0.55), Cell(float("nan")))},
        (1234, 0),
    )
    figure = Figure()
    figure.subplots().plot([1, 2])
    return Evaluation(
        "recommendations",
        datetime(2024, 5, 6, tzinfo=UTC),
        "NDCG@10",
        (comparison,),
        True,
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
        Evaluation("demand", datetime(2024, 5, 6, tzinfo=UTC), "WMAPE", (comparison,), False)
    )
    assert "not good enough to serve" in html
    assert html.index("naive") > html.index("Shopwright")
