"""`make bench-experiments`: every part in turn; exits with 1 where a part missed a target.

`make bench-experiments CASES=FILE` compares with GrowthBook's published cases too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

PARTS = (
    "growthbook",
    "analysis",
    "over_http",
    "off_policy",
    "interleaving",
    "bandit",
    "switchback",
    "price_loop",
)


def main(cases: str | None) -> int:
    """Run the parts, all of them even where one misses a target."""
    missed = False
    for part in PARTS:
        command = [sys.executable, "-m", f"tests.benchmarks.experiments.{part}"]
        if part == "growthbook" and cases:
            command += ["--cases", cases]
        print(f"\n$ python {' '.join(command[1:])}", flush=True)
        missed |= subprocess.run(command, check=False).returncode != 0
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases")
    sys.exit(main(parser.parse_args().cases))
