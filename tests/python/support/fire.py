"""What tests of a migration under fire share: an independent model, and a look from the side.

The table is portfoliocompanies, the column stage.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest

from integration.conftest import App, server_conninfo
from support import migration
from trueup.core.errors import TrueupError
from trueup.migration import plan

LEASE_SECONDS = 1
SEED = int(os.environ.get("TRUEUP_SEED", str(random.randrange(10**6))))
LEDGER = "trueup_ledger"

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
    assert app.query(f"select count(*) from ({model}) as changes") == [(made.rows_planned,)]
    migration.agree(app, made.run_id, made.rows_planned)
    assert migration.batch_statuses(app, made.run_id) == {"completed"}


def changes_of(app: App) -> list[tuple[Any, ...]]:
    return app.query(f"select batch_id, row_keys from {LEDGER}.stage_normalization_changes"
                     " order by batch_id, row_keys")  # fmt: skip


def status_of(watch: Connection, run_id: UUID) -> str:
    query = f"select status from {LEDGER}.migration_runs where run_id = %s"
    return str(one(watch, query, run_id))


def completed(watch: Connection) -> int:
    query = f"select count(*) from {LEDGER}.stage_migration_batches where status = 'completed'"
    return int(one(watch, query))


def one(watch: Connection, query: str, *values: Any) -> Any:
    return (watch.execute(query, values or None).fetchone() or (None,))[0]


def superuser(app: App) -> Connection:
    """A look from the side, in autocommit mode."""
    return psycopg.connect(server_conninfo(app.database), autocommit=True)


def somebody_waits(app: App) -> bool:
    """For a lock, in this database."""
    query = (
        "select count(*) > 0 from pg_stat_activity where datname = current_database()"
        " and wait_event_type = 'Lock'"
    )
    return app.query(query) == [(True,)]


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


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
    limit = time.monotonic() + 60
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
