import re
from pathlib import Path

from features.online.feast_definitions import OFFLINE, USER_STATE
from features.pipelines.feature_constants import AFFINITY
from features.pipelines.item import NAMES as ITEM_NAMES
from features.pipelines.user import NAMES as USER_NAMES
from features.pipelines.user_item import order_lines, select_kept_lines, user_item_history
from tests.shops.event_tables import AS_OF, make_relation

GUIDE = Path(__file__).parents[3] / "docs" / "user-guide" / "features.md"


def test_every_feature_stands_in_the_guide_with_its_unit_and_formula():
    rows = [
        line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    documented = {
        name: line for line in rows for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    }
    pairs = [
        name
        for name in user_item_history(
            select_kept_lines(order_lines(make_relation("events"), AS_OF)), AS_OF
        ).columns
        if name not in ("user_id", "item_id")
    ]
    assert set(documented) == {*pairs, *USER_NAMES, f"{AFFINITY}NAME", *ITEM_NAMES}
    assert all(
        len([cell for cell in line.strip("|").split("|") if cell.strip()]) == 3 for line in rows
    )


def test_every_view_stands_in_the_guide():
    text = GUIDE.read_text(encoding="utf-8")
    assert all(f"`{view}`" in text for view in (*OFFLINE, USER_STATE))
