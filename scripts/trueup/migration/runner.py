"""Running a plan: leases, checks before the start, and Ctrl-C."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from trueup.core import connection, ledger, records, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.runs import MIGRATE
from trueup.core.settings import Settings
from trueup.migration import brakes, engine, plan
from trueup.migration.session import begin_scan

Report = Callable[[engine.Event], None]


def order(settings: Settings, run: runs.Run) -> engine.Order:
    """The engine's view of a run."""
    known = plan.defaults(settings)
    return engine.Order(
        run_id=run.run_id,
        kind=run.kind,
        statuses=(*runs.PLANNED, *runs.UNFINISHED),
        statements=runs.statements(run),
        tenants=run.options["tenants"],
        batch_size=run.options["batch_size"],
        max_quarantined=run.options.get("max_quarantined", known["max_quarantined"]),
        lease_seconds=known["lease_seconds"],
        lock_timeout_ms=known["lock_timeout_ms"],
        by_tenant=run.options["by_tenant"],
        compare_others=run.options.get("compare_others", False),
    )


def check(settings: Settings, connected: Connection, run: runs.Run) -> None:
    """TrueupError if the plan is stale or a table can no longer be migrated in place."""
    plan.check_fresh(settings, connected, run)
    scope = plan.Scope(tuple(run.options["tables"]), tuple(run.options["columns"]))
    plan.examine(settings, connected, runs.statements(run), plan.entries(settings, scope))


def skip_to(connected: Connection, run: runs.Run, table: str | None, key: str) -> int:
    """Close the open batches of a table up to a key; returns how many were touched.

    table: may be left out if the run has only one. key: as people write it, 4711 or 4711,x.
    Raises TrueupError if the run has no such table, or if the key does not fit.
    """
    own = runs.statements(run)
    found = own["run_columns"].run(connected, run_id=run.run_id).fetchall()
    names = list(dict.fromkeys(name for name, _, _ in found))
    if table is None and len(names) == 1:
        table = names[0]
    if table not in names:
        raise TrueupError(
            f"--resume-from needs one table; --table is {table or 'missing'}, "
            f"allowed: {', '.join(names)}"
        )
    touched = 0
    for name, column, bound in found:
        if name != table:
            continue
        parts = key.split(",", len(bound) - 1)
        statement = own[statements.column_statement("skip_to", name, column)]
        try:
            if len(parts) != len(bound):
                raise TrueupError(
                    f"{key!r} has {len(parts)} parts; a key of {table} has {len(bound)}"
                )
            touched += len(
                statement.run(connected, run_id=run.run_id, resume_from=parts).fetchall()
            )
        except psycopg.DataError as error:
            raise TrueupError(
                f"{key!r} is no key of {table}: {error.diag.message_primary}"
            ) from None
    return touched


def totals(connected: Connection, run: runs.Run) -> dict[str, int]:
    """Counts of batches and rows so far, as the statement batch_totals names them."""
    return engine.counts(runs.statements(run)["batch_totals"].run(connected, run_id=run.run_id))


def set_pace(
    connected: Connection,
    schema: str,
    run: runs.Run,
    statuses: Collection[str],
    sleep_ms: int | None = None,
    target_ms: int | None = None,
    workers: int | None = None,
    max_quarantined: int | None = None,
    compare_others: bool = False,
) -> None:
    """Store the options of apply that override the plan; None keeps the plan's number.

    Raises TrueupError if a runner works (use `stage_migration_control` to change its pace), if the
    run is no longer in one of the statuses, or if a cancel was requested. No other runner can take
    the run until the transaction ends.
    """
    if compare_others and run.kind != MIGRATE:
        raise TrueupError("--hash-others needs a migration; a rollback compares nothing")
    runs.lock(connected, schema, run, statuses)
    found = runs.statements(run)["other_runners"].run(connected, run_id=run.run_id)
    engine.raise_if_held(found.fetchall())
    control = sql.Identifier(schema, "stage_migration_control")
    query = sql.SQL("select 1 from {} where run_id = %s and requested_status = 'cancelled'")
    if connected.execute(query.format(control), [run.run_id]).fetchone():
        raise TrueupError(
            f"a cancel was requested for run {run.short_id}, but its runner ended before it could",
            f"`trueup cancel {run.short_id}` closes it, `trueup plan` makes a new one.",
        )
    connected.execute(
        sql.SQL(
            "update {} set sleep_ms = coalesce(%s, sleep_ms), target_ms = coalesce(%s, target_ms),"
            " workers = coalesce(%s, workers) where run_id = %s"
        ).format(control),
        [sleep_ms, target_ms, workers, run.run_id],
    )
    asked = {"max_quarantined": max_quarantined, "compare_others": compare_others or None}
    if changed := {name: value for name, value in asked.items() if value is not None}:
        run.options.update(changed)
        connected.execute(
            sql.SQL("update {} set options = %s where run_id = %s").format(
                sql.Identifier(schema, "migration_runs")
            ),
            [Jsonb(run.options), run.run_id],
        )


def close(
    settings: Settings,
    connected: Connection,
    run: runs.Run,
    status: str,
    statuses: Collection[str] = (*runs.PLANNED, *runs.UNFINISHED),
) -> None:
    """Pause, cancel or complete a run without a live lease; revokes the token of a hung runner.

    Raises TrueupError if its status has changed, or if it was edited (it can still be cancelled).
    """
    schema = ledger.schema(settings)
    runs.lock(connected, schema, run, statuses)
    try:
        own = runs.statements(run)
    except TrueupError:
        if status != "cancelled":
            raise
        own = statements.statements(settings)
    if status == "cancelled":
        own["close_batches"].run(connected, run_id=run.run_id)
    connected.execute(
        sql.SQL(
            "update {} set status = 'pending', lease_token = null, lease_until = null"
            " where run_id = %s and status = 'running'"
        ).format(sql.Identifier(schema, "stage_migration_batches")),
        [run.run_id],
    )
    connected.execute(
        sql.SQL(
            "update {} set status = %s, requested_status = null, lease_token = null,"
            " lease_owner = null, lease_until = null, updated_at = now() where run_id = %s"
        ).format(sql.Identifier(schema, "stage_migration_control")),
        [status, run.run_id],
    )
    own["set_run_status"].run(
        connected,
        run_id=run.run_id,
        lease_token=None,
        status=status,
        finished=status in runs.FINISHED,
        statuses=list(statuses),
        notes=None,
    )
    if status in runs.FINISHED:
        begin_scan(own, connected)
        own["note_audit_digest"].run(connected, run_id=run.run_id)


def close_empty(settings: Settings, connected: Connection, made: plan.Plan) -> None:
    """Complete a plan with nothing to change."""
    if not made.rows_planned:
        run = runs.find(connected, ledger.schema(settings), str(made.run_id), runs.PLANNED)
        close(settings, connected, run, "completed")
        connected.commit()


def work(
    settings: Settings, run: runs.Run, report: Report, allow_blind_brakes: bool = False
) -> engine.Outcome:
    """Run the batches. Ctrl-C ends it after the current batch, a second one in the middle of it.

    Raises TrueupError if a brake cannot be read, unless that is allowed.
    """
    stop = engine.Stop()
    ordered = order(settings, run)
    one_at_a_time = threading.RLock()

    def say(event: engine.Event) -> None:
        with one_at_a_time:
            report(event)

    with connection.connect(settings, writes=False) as connected:
        places = columns(connected, ledger.schema(settings), run)
        indexes = pending_indexes(connected, run, places)
        indexed = {
            place: row["canonical_values"]
            for place, row in indexes.items()
            if row["canonical_values"]
        }

    def report_change(change: brakes.Change) -> None:
        words = "Waiting for" if change.is_on else "Going on:"
        kind = "brake_on" if change.is_on else "brake_off"
        say(engine.Event(kind, f"{words} {change.reason}", "warn" if change.is_on else "info"))

    tables = {place.table_name for place in places}
    with brakes.from_settings(
        settings, ordered.statements, tables, allow_blind=allow_blind_brakes, report=report_change
    ) as watched:
        watched.check()

        def pulse(event: engine.Event) -> None:
            say(event)
            if event.kind in ("batch_completed", "batch_failed"):
                speed = {"walPerSecond": watched.wal_per_second}
                say(engine.Event("pulse", "", "debug", speed))

        with _keyboard(stop, report):
            return engine.apply(
                lambda: connection.connect(settings, application_name="trueup apply"),
                dataclasses.replace(ordered, brakes=watched, canonical_values=indexed),
                pulse,
                stop,
            )


class Place(NamedTuple):
    """A column of a run, its number of batches and of finished ones."""

    table_name: str
    column_name: str
    batches: int
    done: int


def columns(connected: Connection, schema: str, run: runs.Run) -> list[Place]:
    """The columns of a run, in the order in which they are worked on."""
    query = sql.SQL(
        """
        select
            control.table_name,
            control.column_name,
            count(batches.batch_id),
            count(batches.batch_id) filter (where batches.status in ('completed', 'cancelled'))
        from {} as control
        left join {} as batches using (run_id, table_name, column_name)
        where control.run_id = %s
        group by control.table_name, control.column_name
        order by min(batches.batch_id)
        """
    ).format(
        sql.Identifier(schema, "stage_migration_control"),
        sql.Identifier(schema, "stage_migration_batches"),
    )
    return [Place(*row) for row in connected.execute(query, [run.run_id])]


def pending_indexes(
    connected: Connection, run: runs.Run, places: Collection[Place]
) -> dict[tuple[str, str], dict[str, Any]]:
    """The row of the statement pending_index by table and column of a migration.

    None for a rollback, which looks for canonical values: the index leaves them out.
    """
    if run.kind != MIGRATE:
        return {}
    own = runs.statements(run)
    found = {}
    for table, column, *_ in places:
        statement = own[statements.column_statement("pending_index", table, column)]
        (found[table, column],) = records.rows(connected, statement, run_id=run.run_id)
    return found


@contextmanager
def _keyboard(stop: engine.Stop, report: Report) -> Iterator[None]:
    def ask(number: int, frame: Any) -> None:
        if stop.requested:
            stop.cancel()
            return
        stop.requested = True
        event = engine.Event(
            "stopping", "Finishing the current batch; once more cancels it.", "warn"
        )
        with suppress(RuntimeError):  # the signal came in the middle of a line that is written
            report(event)

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def status(
    connected: Connection, schema: str
) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """The progress view and the control rows of its run; None if there is no run at all.

    is_held, of a control row: its lease is live, by the database's clock.
    """
    ledger.check(connected, schema)
    with connected.cursor(row_factory=dict_row) as cursor:
        view = sql.Identifier(schema, "stage_migration_progress")
        found = cursor.execute(sql.SQL("select * from {}").format(view)).fetchone()
        if found is None:
            return None
        control = sql.Identifier(schema, "stage_migration_control")
        query = sql.SQL(
            "select *, coalesce(lease_until >= now(), false) as is_held from {} where run_id = %s"
            " order by table_name, column_name"
        )
        return found, cursor.execute(query.format(control), [found["run_id"]]).fetchall()
