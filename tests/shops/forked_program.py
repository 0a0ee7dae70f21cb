"""Processes of their own, forked from one that has imported the program: `shopwright ARGUMENTS`,
and modules of tests that are killed.

Importing is most of what a short command costs. What a cold start does is tested by
tests/serving/cli/test_startup.py.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TextIO

PRELOADED = "tests.shops.preloaded"
_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload([PRELOADED])


class Program(Protocol):
    """A process, as far as tests watch and end it."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class ForkedProgram:
    """A process that was forked, as `subprocess.Popen` shows one."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid
        self.terminate, self.kill = process.terminate, process.kill

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises TimeoutError."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"the program runs on after {timeout} s")
        return self._process.exitcode


def start_program(
    arguments: Sequence[str], env: Mapping[str, str], stdout: Path, stderr: Path
) -> ForkedProgram:
    """Start the program with an environment; its output is appended to files."""
    files = str(stdout), str(stderr)
    process = _forkserver.Process(
        target=_run, args=(list(arguments), dict(env), files, str(Path.cwd()))
    )
    process.start()
    return ForkedProgram(process)


def run_program(arguments: Sequence[str], env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run the program; return its exit code, output and errors."""
    with TemporaryDirectory() as folder:
        stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
        code = start_program(arguments, env, stdout, stderr).wait()
        return code, stdout.read_text(), stderr.read_text()


def start_module(
    name: str, arguments: Sequence[str], env: Mapping[str, str]
) -> tuple[ForkedProgram, TextIO]:
    """Start a module, as `python -m` does; return it with what it prints."""
    reader, writer = _forkserver.Pipe(duplex=False)
    process = _forkserver.Process(
        target=_run_module, args=(name, list(arguments), dict(env), writer)
    )
    process.start()
    writer.close()
    return ForkedProgram(process), os.fdopen(os.dup(reader.fileno()))


def _run_module(name: str, arguments: list[str], env: dict[str, str], printed: Connection) -> None:
    """Become the module: its output, environment and arguments."""
    assert PRELOADED in sys.modules, f"{PRELOADED} could not be imported"
    os.dup2(printed.fileno(), 1)
    printed.close()
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__")


def _run(arguments: list[str], env: dict[str, str], files: tuple[str, str], folder: str) -> None:
    """Become the program: its output, folder, environment and exit code."""
    assert PRELOADED in sys.modules, f"{PRELOADED} could not be imported"
    for descriptor, path in enumerate(files, start=1):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["shopwright", *arguments]
    from serving.cli.main import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()
