"""A process for test_crash.py: approves, activates or rolls back, and prints what is committed."""

from __future__ import annotations

import sys
from datetime import timedelta

from configs.settings import Settings
from features.database import engine, transaction
from serving.price_desk import decisions
from serving.price_desk.activation import settle_due
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import RollbackSelection, roll_back_many
from tests.shops.price_desk import NOW, act_as_system, make_decider


def main(how: str) -> None:
    opened = engine(Settings())
    with transaction(opened) as connection:
        submitted = Suggestions(connection).matching(SuggestionFilter(status=("submitted",)))
        ids = [suggestion.id for suggestion in submitted]
    print("ready", flush=True)
    if how == "singly":
        for key in ids:
            with transaction(opened) as connection:
                decisions.approve(connection, make_decider(), key)
            print(key, flush=True)
        return
    with transaction(opened) as connection:
        if how == "bulk":
            decisions.decide_many(connection, make_decider(), "approve", ids=ids)
        elif how == "activation":
            settle_due(connection, act_as_system(NOW + timedelta(days=8)))
        else:
            roll_back_many(connection, make_decider("ben", 9), RollbackSelection(run_id="run"))
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
