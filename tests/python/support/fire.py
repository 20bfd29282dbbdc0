"""What tests of a migration under fire share: an independent model, a look from the side, a cutter.

The table is portfoliocompanies, the column stage.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest

from integration.conftest import ADDRESS, App
from support import migration
from trueup.core.errors import TrueupError
from trueup.local import server
from trueup.migration import plan

LEASE_SECONDS = 1
SEED = int(os.environ.get("TRUEUP_SEED", str(random.randrange(10**6))))
LEDGER = "trueup_ledger"
DELAYS = {"late": 0.05, "very late": 0.3}  # seconds; the tests' lock timeout lies between them

Connection = psycopg.Connection[Any]


def enlarge(app: App, rows: int) -> None:
    """More companies, with the spellings of those that are there."""
    app.query(
        "insert into portfoliocompanies (fund_id, name, stage, current_stage, sector, website)"
        " select p.fund_id, p.name, p.stage, p.current_stage, p.sector, p.website"
        " from generate_series(1, %s / 3000 + 1) as n cross join portfoliocompanies as p"
        " order by n, p.id limit %s - 3000",
        rows, rows,
    )  # fmt: skip
    assert app.query("select count(*) from portfoliocompanies") == [(rows,)]


def remember(app: App) -> None:
    """What every company should become: told by the generator's list of spellings, not by us."""
    app.query(
        "create table chaos_model as"
        " select p.id, p.stage as stage_before, coalesce(s.canonical_value, p.stage) as stage_after"
        " from portfoliocompanies as p left join trueup_sample.spellings as s"
        " on s.raw_value = p.stage"
    )


def prove(app: App, made: plan.Plan) -> None:
    """Table, audit and counters are what the model says, and so is the number of row versions."""
    wrong = app.query(
        """
        select m.id, p.id, m.stage_before, m.stage_after, p.stage, p.row_version
        from chaos_model as m full join portfoliocompanies as p on p.id = m.id
        where p.stage is distinct from m.stage_after
            or p.row_version <> 1 + cast(m.stage_before <> m.stage_after as integer)
        limit 5
        """
    )
    assert wrong == [], wrong
    log = f"select row_id, stage_before, stage_after from {LEDGER}.stage_normalization_log"
    model = (
        "select cast(id as text), stage_before, stage_after from chaos_model"
        " where stage_before <> stage_after"
    )
    for difference in (
        f"({log} where run_id = %s) except all ({model}) limit 5",
        f"({model}) except all ({log} where run_id = %s) limit 5",
    ):
        found = app.query(difference, made.run_id)
        assert found == [], (difference, found)
    ((changed,),) = app.query(f"select count(*) from ({model}) as changes")
    books = migration.books(app, made.run_id)
    assert books == {"counters": changed, "audit": changed, "rows": changed}, (books, changed)
    assert changed == made.rows_planned, (changed, made.rows_planned)
    assert statuses(app, made.run_id) == {"completed"}, statuses(app, made.run_id)


def changes_of(app: App) -> list[tuple[Any, ...]]:
    return app.query(f"select batch_id, row_keys from {LEDGER}.stage_normalization_changes"
                     " order by batch_id, row_keys")  # fmt: skip


def statuses(app: App, run_id: UUID) -> set[str]:
    query = f"select distinct status from {LEDGER}.stage_migration_batches where run_id = %s"
    return {status for (status,) in app.query(query, run_id)}


def status_of(watch: Connection, run_id: UUID) -> str:
    query = f"select status from {LEDGER}.migration_runs where run_id = %s"
    return str(one(watch, query, run_id))


def completed(watch: Connection) -> int:
    query = f"select count(*) from {LEDGER}.stage_migration_batches where status = 'completed'"
    return int(one(watch, query))


def one(watch: Connection, query: str, *values: Any) -> Any:
    return (watch.execute(query, values or None).fetchone() or (None,))[0]


@contextmanager
def superuser(app: App) -> Iterator[Connection]:
    """A look from the side, in autocommit mode."""
    address = json.loads(os.environ[ADDRESS])
    with psycopg.connect(
        host=address["host"], port=address["port"], user=server.SUPERUSER,
        password=address["password"], dbname=app.database, autocommit=True,
    ) as watch:  # fmt: skip
        yield watch


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


def one_has_ended(processes: list[subprocess.Popen[str]]) -> bool:
    return sum(process.poll() is not None for process in processes) == 1


def wait_for_lease(watch: Connection, process: subprocess.Popen[str]) -> None:
    """Until this very process works on a run."""
    query = f"select count(*) from {LEDGER}.stage_migration_control where lease_owner like %s"

    def holds() -> bool:
        if process.poll() is not None:
            pytest.fail(f"it ended with {process.returncode}: {process.communicate()}")
        return bool(one(watch, query, f"%process {process.pid}"))

    until(holds)


def lease_is_over(watch: Connection) -> bool:
    query = f"select count(*) from {LEDGER}.stage_migration_control where lease_until >= now()"
    return bool(one(watch, query) == 0)


def let_time_pass(watch: Connection, hours: int = 0) -> None:
    """As if a lease's length had gone by: what is killed needs no waiting."""
    seconds = hours * 3600 + LEASE_SECONDS
    for name in ("control", "batches"):
        watch.execute(f"update {LEDGER}.stage_migration_{name}"
                      f" set lease_until = lease_until - interval '{seconds} s'"
                      " where lease_until is not null")  # fmt: skip


def terminate(watch: Connection) -> int:
    """End the runner's backend, whatever it is doing; returns how many there were."""
    query = (
        "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity"
        " where application_name = 'trueup apply' and datname = current_database()"
    )
    limit = time.monotonic() + 5
    while not (found := int(one(watch, query))):
        assert time.monotonic() < limit, "the runner does not come back"
        time.sleep(0.005)
    return found


def running_statement(watch: Connection) -> float:
    """Seconds since the runner's current batch began; 0 where none runs."""
    query = (
        "select coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0)"
        " from pg_stat_activity where application_name = 'trueup apply'"
        " and datname = current_database() and state = 'active'"
        " and query like '%with fence as (%'"
    )
    return float(one(watch, query))


def slow_down(app: App, seconds: float) -> None:
    """Every change of a company takes this long."""
    app.query(
        "create function slow() returns trigger language plpgsql as"
        f" 'begin perform pg_sleep({seconds}); return new; end'"
    )
    app.query("create trigger slow before update on portfoliocompanies"
              " for each row execute function slow()")  # fmt: skip


def give_time(app: App) -> None:
    """A batch may take up to 8 s."""
    with superuser(app) as watch:
        watch.execute(f"alter database {app.database} set deadlock_timeout = '10s'")


def reconnect(url: str) -> Connection:
    """As connection.connect does it: TrueupError where nobody answers."""
    try:
        return psycopg.connect(url, prepare_threshold=None)
    except psycopg.Error as error:
        raise TrueupError(str(error)) from None


class Cutter:
    """A proxy that cuts the connection at the COMMIT with a given number; `seen` counts them.

    answer lost: the server commits, the client never hears of it
    never sent:  the server is left alone with an open transaction, and rolls back
    late:        the client has come back when the COMMIT arrives
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.seen = 0
        self.at = (0, "")
        self.listener = socket.create_server(("127.0.0.1", 0))
        port = self.listener.getsockname()[1]
        self.url = re.sub(r"@[^/]+/", f"@127.0.0.1:{port}/", app.url) + "?sslmode=disable"
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> Cutter:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        host, port = self.app.environment["PGHOST"], int(self.app.environment["PGPORT"])
        backend = socket.create_connection((host, port))
        with closing(client), closing(backend), suppress(OSError):
            while True:
                ready, _, _ = select.select([client, backend], [], [])
                if backend in ready:
                    if not (data := backend.recv(65536)):
                        return
                    client.sendall(data)
                if client in ready:
                    if not (data := client.recv(65536)):
                        return
                    self.seen += b"COMMIT\0" in data
                    if b"COMMIT\0" in data and self.seen == self.at[0]:
                        self._cut(client, backend, data)
                        return
                    backend.sendall(data)

    def _cut(self, client: socket.socket, backend: socket.socket, data: bytes) -> None:
        how = self.at[1]
        if how == "never sent":
            return
        if how in DELAYS:
            client.shutdown(socket.SHUT_RDWR)
            client.close()
            time.sleep(DELAYS[how])
        backend.sendall(data)
        while b"COMMIT\0" not in backend.recv(65536):  # the tag of its answer
            pass
