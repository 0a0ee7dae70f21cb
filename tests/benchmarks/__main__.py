"""`make bench`: metrics of all models beside their baselines, then start-up, zones and latency.

It works on the demo's state folder, and builds it first when there is none.
"""

from __future__ import annotations

import subprocess
import sys

SHOPWRIGHT = [sys.executable, "-m", "serving.cli.main"]


def main() -> None:
    """Run each part and stop at the first failure."""
    commands = [
        [*SHOPWRIGHT, "demo", "--no-serve"],
        [*SHOPWRIGHT, "evaluate", "recommendations"],
        [*SHOPWRIGHT, "evaluate", "demand"],
        [*SHOPWRIGHT, "evaluate", "pricing"],
        [sys.executable, "-m", "tests.benchmarks.startup"],
        [sys.executable, "-m", "tests.benchmarks.many_zones"],
        [sys.executable, "-m", "tests.benchmarks.http_latency"],
    ]
    for command in commands:
        print(f"\n$ {' '.join(command[1:])}", flush=True)
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
