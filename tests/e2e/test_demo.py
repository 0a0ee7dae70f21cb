"""The demo serves as soon as it can, trains meanwhile, and ends with all of its processes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.shops.small_shop import SETTINGS, write_small_shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The demo with the tables of a small shop in place of those of the grocer.
PROGRAM = """
import sys
from pathlib import Path
from serving.cli import demo, imports
from serving.cli.main import main

folder = Path(sys.argv.pop())

def import_small_shop(shop, progress):
    shop.engine  # made before the tables, as by an import
    return imports._import_folder(shop, folder, progress, None)

imports.import_demo_data = import_small_shop
main()
"""


class Demo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.console_port = _find_free_port(), _find_free_port()
        self.output = folder / "output"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        ports = ["--port", str(self.port), "--console-port", str(self.console_port)]
        command = [sys.executable, "-c", PROGRAM, "demo", *ports, str(self.folder / "tables")]
        environment = os.environ | SETTINGS | {"SHOPWRIGHT_HOME": str(self.folder / "home")}
        with self.output.open("wb") as output:
            return subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def read(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.read()
            assert time.monotonic() < deadline, self.read()
            time.sleep(0.5)

    def listens(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    write_small_shop(tmp_path / "tables")
    started = Demo(tmp_path)
    yield started
    started.process.kill()
    started.process.wait()


def test_it_serves_before_the_models_are_trained_and_ends_with_its_processes(demo: Demo) -> None:
    demo.wait_for(lambda: "Serving after" in demo.read(), 240)
    demo.wait_for(lambda: "curl -s" in demo.read(), 10)
    assert "Ready after" not in demo.read()
    words = shlex.split(demo.read()[demo.read().index("curl -s") :].splitlines()[0])
    headers = dict(word.split(": ") for word in words if ": " in word and "{" not in word)
    first = httpx.post(words[2], json=json.loads(words[-1]), headers=headers, timeout=20).json()
    assert len(first["items"]) == 5
    demo.wait_for(lambda: "Ready after" in demo.read(), 600)
    summary = demo.read()[demo.read().index("Imported") :]
    assert len(summary.splitlines()) <= 50
    assert "recommendations: " in summary
    assert "forecast" in summary

    def has_newer_model() -> bool:
        answer = httpx.post(words[2], json=json.loads(words[-1]), headers=headers, timeout=20)
        return bool(answer.json()["model"] != first["model"])

    demo.wait_for(has_newer_model, 60)  # without a restart
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(60) == 0
    assert not demo.listens(demo.port)
    assert not demo.listens(demo.console_port)
