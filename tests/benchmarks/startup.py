"""Seconds of processor time until the command line and the server have started."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

from tests.benchmarks.targets import Target

SHOPWRIGHT = [sys.executable, "-m", "serving.cli.main"]
_RUNS = 3
# By name: a command, and the seconds that it may take.
COMMANDS = {
    "shopwright --help": ([*SHOPWRIGHT, "--help"], 0.5),
    "shopwright keys create": (
        [*SHOPWRIGHT, "keys", "create", "--scope", "events", "--name", "bench"],
        1.0,
    ),
    "importing the server": ([sys.executable, "-c", "import serving.app"], None),
}


def measure_seconds(command: list[str], home: str) -> float:
    """Return the least processor time of several runs."""
    seconds = []
    for _ in range(_RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = os.environ | {"SHOPWRIGHT_HOME": home}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def main() -> None:
    """Print one line for each command."""
    with tempfile.TemporaryDirectory() as home:
        for name, (command, most) in COMMANDS.items():
            seconds = measure_seconds(command, home)
            if most is None:
                print(f"        {name}: {seconds:.2f} s of processor time")
            else:
                print(Target(f"{name} within {most:g} s", f"{seconds:.2f} s", seconds <= most))


if __name__ == "__main__":
    main()
