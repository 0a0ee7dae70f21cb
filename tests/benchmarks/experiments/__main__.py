"""`make bench-experiments`: every part in turn; exits with 1 where a part missed a target."""

from __future__ import annotations

import subprocess
import sys

PARTS = ("analysis", "off_policy", "interleaving", "bandit", "switchback", "price_loop")


def main() -> int:
    """Run the parts, all of them even where one misses a target."""
    missed = False
    for part in PARTS:
        command = [sys.executable, "-m", f"tests.benchmarks.experiments.{part}"]
        print(f"\n$ python {' '.join(command[1:])}", flush=True)
        missed |= subprocess.run(command, check=False).returncode != 0
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
