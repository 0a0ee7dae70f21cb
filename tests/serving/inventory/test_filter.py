"""Which rows of the order list are shown, and in which order."""

from __future__ import annotations

from dataclasses import replace

from serving.inventory.service import InventoryFilter, InventoryRow, tabulate_rows

ROW = InventoryRow(
    item_id="1",
    title="Milk 1 l",
    category="Food > Dairy",
    weekly_units=10.0,
    on_hand=5.0,
    on_order=None,
    days_of_cover=3.5,
    reorder_point=20.0,
    safety_stock=4.0,
    order_up_to=40.0,
    order=35.0,
    abc="A",
    xyz="X",
    slow_mover=False,
    lead_time_days=7.0,
    service_level=0.95,
)
ROWS = [
    ROW,
    replace(ROW, item_id="2", title="Tea", category="Food", order=0.0, abc="B", days_of_cover=1.0),
    replace(
        ROW,
        item_id="3",
        title=None,
        category="Food > Dairy > Cream",
        order=None,
        days_of_cover=None,
        xyz="Z",
        slow_mover=True,
        weekly_units=0.1,
    ),
    replace(ROW, item_id="4", title="Dairy free", category="Food > Dairy free", order=50.0),
]


def select(**values: object) -> str:
    return "".join(row.item_id for row in InventoryFilter(**values).select(ROWS))


def test_rows_are_chosen_by_what_is_to_do_by_category_class_and_text() -> None:
    assert select() == "1234"
    assert select(show="order") == "14"
    assert select(show="slow") == "3"
    assert select(category="Food > Dairy") == "13"
    assert select(item_class="A") == "134"
    assert select(item_class="AX") == "14"
    assert select(text="MILK") == "1"
    assert select(text="3") == "3"
    assert select(show="order", category="Food > Dairy", text="milk") == "1"


def test_rows_are_sorted_by_request_and_what_is_not_known_comes_last() -> None:
    assert select(sort="cover") == "2143"
    assert select(sort="order") == "4123"
    assert select(sort="sells")[-1] == "3"
    assert select(sort="nonsense") == "1234"


def test_a_file_names_the_zone_and_has_every_column() -> None:
    sheet = tabulate_rows("north", ROWS[:1])
    assert sheet.columns[:3] == ("zone", "item_id", "title")
    assert [list(row)[:3] for row in sheet.rows] == [["north", "1", "Milk 1 l"]]
