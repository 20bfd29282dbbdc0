"""A server of the PostgreSQL that the machine has, as a fixture."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def missing(what: str) -> None:
    """Skip where a part is not there; in CI, which installs everything, that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def system_server() -> Iterator[str]:
    """A server of the system's own PostgreSQL binaries on loopback: its connection string."""
    found = shutil.which("pg_config")
    bindir = Path(subprocess.run(
        [found or "true", "--bindir"], capture_output=True, text=True
    ).stdout.strip() or "/nowhere")  # fmt: skip
    if not (bindir / "initdb").exists():
        missing("no PostgreSQL server binaries of the system")
    # PostgreSQL refuses to run as root, and its user must reach the folder
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="trueup-system-"))
    shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(program: str, *arguments: str) -> None:
        environment = {name: v for name, v in os.environ.items() if not name.startswith("PG")}
        done = subprocess.run(
            [str(bindir / program), "-D", str(folder / "data"), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment, cwd=folder, user=user if os.geteuid() == 0 else None,
        )  # fmt: skip
        assert done.returncode == 0, program

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    try:
        call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "-N")
        call("pg_ctl", "-w", "-t", "60", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
