"""A process for test_crash.py: approves what the desk holds and prints each id once it is
committed."""

from __future__ import annotations

import sys

from configs.settings import Settings
from features.database import engine, transaction
from serving.price_desk import decisions
from serving.price_desk.repository import SuggestionFilter, Suggestions
from tests.shops.price_desk import make_decider


def main(how: str) -> None:
    opened = engine(Settings())
    with transaction(opened) as connection:
        submitted = Suggestions(connection).matching(SuggestionFilter(status=("submitted",)))
        ids = [suggestion.id for suggestion in submitted]
    print("ready", flush=True)
    if how == "bulk":
        with transaction(opened) as connection:
            decisions.decide_many(connection, make_decider(), "approve", ids=ids)
        print("done", flush=True)
        return
    for key in ids:
        with transaction(opened) as connection:
            decisions.approve(connection, make_decider(), key)
        print(key, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
