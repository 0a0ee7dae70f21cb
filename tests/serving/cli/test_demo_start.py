"""A demo that cannot start says why, before it builds where it can."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from features.contracts.errors import BadInput, Unavailable
from serving.cli import demo


def test_a_port_in_use_stops_the_demo_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(BadInput, match="Address already in use") as stopped:
            demo.demo(port=0, console_port=port)
    assert stopped.value.hint == "Try another --console-port"
    assert not (tmp_path / "home" / "tables").exists()


def test_a_server_that_ends_or_stays_silent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "http://127.0.0.1:9/healthz"
    with (
        subprocess.Popen([sys.executable, "-c", ""]) as ended,
        pytest.raises(Unavailable, match="ended before it answered"),
    ):
        demo._await_answer(ended, nowhere)
    monkeypatch.setattr(demo, "_START_SECONDS", 0)
    with subprocess.Popen(["sleep", "60"]) as silent:
        with pytest.raises(Unavailable, match="did not answer within 0 s"):
            demo._await_answer(silent, nowhere)
        silent.kill()
