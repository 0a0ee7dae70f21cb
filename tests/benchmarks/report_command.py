"""The command line of a report on the state folder of SHOPWRIGHT_HOME."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime

from configs.settings import Settings
from features.facts.facts import Facts

Report = Callable[[Facts, Settings, datetime | None], list[str]]


def print_report(make_report: Report) -> None:
    """Print the lines of a report, on the data before the TIME of the command line if given."""
    until = datetime.fromisoformat(sys.argv[1]) if len(sys.argv) > 1 else None
    settings = Settings()
    print("\n".join(make_report(Facts(settings), settings, until)))
