"""A forest plot draws what the report says, also what lies beyond its edges."""

from __future__ import annotations

from serving.console.forest_plot import ForestRow, build_forest


def test_the_axis_holds_every_interval_and_is_symmetric_around_zero():
    option = build_forest([ForestRow("a", 1.0, -3.0, 4.0), ForestRow("b", 2.0, 1.0, 3.0)])
    assert (option["xAxis"]["min"], option["xAxis"]["max"]) == (-5.0, 5.0)
    first, second, values = option["series"]
    assert first["data"] == [[-3.0, 0], [4.0, 0]]
    assert second["data"] == [[1.0, 1], [3.0, 1]]
    assert [one["value"] for one in values["data"]] == [[1.0, 0], [2.0, 1]]


def test_an_interval_beyond_a_hundred_percent_ends_at_the_edge():
    interval, values = build_forest([ForestRow("few units", 150.0, -90.0, 900.0)])["series"]
    assert interval["data"] == [[-90.0, 0], [100.0, 0]]
    assert values["data"][0]["value"] == [100.0, 0]


def test_better_and_worse_differ_by_more_than_their_colour():
    rows = [ForestRow("a", 1, 0.5, 2, "better"), ForestRow("b", -1, -2, -0.5, "worse")]
    better, worse = build_forest(rows)["series"][-1]["data"]
    assert better["symbolRotate"] != worse["symbolRotate"]
