"""The command line as people run it, in a copy of the project.

`trueup` runs it in this process: a start of Python for each of several hundred calls would be half
of the suite. `begin` starts a process of its own, for tests that kill it or talk to its terminal.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from trueup.cli import main
from trueup.local import server

Done = subprocess.CompletedProcess[str]


def environment(**more: str) -> dict[str, str]:
    """The caller's variables without any that names a server or a kind of environment."""
    names = ("DATABASE_URL", "TRUEUP_ENV", "LOG_FORMAT")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "DBT_")) and name not in names
    }
    return {**kept, **more}


def trueup(project: Path, *arguments: str, **environ: str) -> Done:
    """Run a command in a project, with these variables; without DATABASE_URL on its own server."""
    with Path(os.devnull).open() as nobody:
        return _run(project, arguments, environ, nobody)


def trueup_agreed(project: Path, *arguments: str, **environ: str) -> Done:
    """The same at a terminal, where its question is answered with yes."""
    return _run(project, arguments, environ, _Terminal("y\n"))


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _run(project: Path, arguments: tuple[str, ...], environ: dict[str, str], stdin: TextIO) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with (
        _as_process(project, environment(**environ), stdin),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = _exit_code(arguments)
    return Done(list(arguments), code, out.getvalue(), err.getvalue())


def begin(project: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start a command, as the leader of a process group that can be killed as a whole."""
    return subprocess.Popen(
        [sys.executable, "-m", "trueup.cli", *arguments],
        cwd=project,
        env=environment(**environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def remove_server(state: Path) -> None:
    """Stop the embedded server of that state folder and remove all it has written."""
    if state.exists():
        server.remove(state)
        shutil.rmtree(state, ignore_errors=True)


def _exit_code(arguments: tuple[str, ...]) -> int:
    try:
        main.main(list(arguments), prog_name="trueup")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _as_process(folder: Path, environ: Mapping[str, str], stdin: TextIO) -> Iterator[None]:
    """Folder, variables, standard input and signal handlers as a new process would have them."""
    here, variables, before = Path.cwd(), dict(os.environ), sys.stdin
    handlers: dict[int, Any] = {
        each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)
    }
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.stdin = stdin
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(variables)
        sys.stdin = before
        for each, handler in handlers.items():
            signal.signal(each, handler)
