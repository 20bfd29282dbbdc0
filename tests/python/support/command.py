"""The command line as people run it: in a process of its own, in a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from trueup.local import server

SECONDS = 180  # a command that takes longer hangs

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
    return subprocess.run(
        [sys.executable, "-m", "trueup.cli", *arguments],
        cwd=project,
        env=environment(**environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def begin(project: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command, as the leader of a process group that can be killed as a whole."""
    return subprocess.Popen(
        [sys.executable, "-m", "trueup.cli", *arguments],
        cwd=project,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def remove_server(state: Path) -> None:
    """Stop the embedded server of that state folder and remove all it has written."""
    if state.exists():
        server.stop(state)
        home = server.home(state)
        shutil.rmtree(state, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
