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

from trueup.core import connection, ledger, records, runs
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.migration import brakes, engine, plan

Report = Callable[[engine.Event], None]


def order(settings: Settings, run: runs.Run) -> engine.Order:
    """The engine's view of a run."""
    known = plan.defaults(settings)
    rules = run.record["rules"]
    return engine.Order(
        run_id=run.run_id,
        record=run.record,
        statuses=(*runs.PLANNED, *runs.UNFINISHED),
        statements=runs.statements(run),
        tenants=run.options["tenants"],
        batch_size=run.options["batch_size"],
        max_quarantined=run.options.get("max_quarantined", known["max_quarantined"]),
        lease_seconds=known["lease_seconds"],
        lock_timeout_ms=rules["lock_timeout_ms"] or known["lock_timeout_ms"],
        statement_timeout_ms=rules["statement_timeout_ms"],
        by_tenant=run.options["by_tenant"],
        compare_others=run.options.get("compare_others", False),
        waits_for_disk=run.options.get("durability") == "batch",
    )


def check(settings: Settings, connected: Connection, run: runs.Run) -> None:
    """TrueupError if the plan is stale or a table can no longer be migrated in place."""
    plan.check_fresh(settings, connected, run)
    if not run.record["statements"]["facts"]:
        return
    scope = plan.Scope(tuple(run.options["tables"]), tuple(run.options["columns"]))
    plan.examine(settings, connected, runs.statements(run), plan.entries(settings, scope))


def skip_to(connected: Connection, run: runs.Run, table: str | None, key: str) -> int:
    """Close the open batches of a table up to a key; returns how many were touched.

    table: may be left out if the run has only one. key: as people write it, 4711 or 4711,x.
    Raises TrueupError if the run has no such table, if the key does not fit, or if a run of this
    kind cannot skip keys.
    """
    if not run.record["statements"]["skip_to"]:
        raise TrueupError(f"--resume-from: a {run.record['words']['noun']} cannot skip keys")
    own = runs.statements(run)
    found = own["run__columns"].run(connected, run_id=run.run_id).fetchall()
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
        try:
            if len(parts) != len(bound):
                raise TrueupError(
                    f"{key!r} has {len(parts)} parts; a key of {table} has {len(bound)}"
                )
            for each in runs.named(own, run.record, "skip_to", (name, column)):
                skipped = own[each].run(connected, run_id=run.run_id, resume_from=parts)
                touched += len(skipped.fetchall())
        except psycopg.DataError as error:
            raise TrueupError(
                f"{key!r} is no key of {table}: {error.diag.message_primary}"
            ) from None
    return touched


def totals(connected: Connection, run: runs.Run) -> dict[str, int]:
    """Counts of batches and rows so far, as the statement batch_totals names them."""
    return engine.counts(
        runs.statements(run)["run__batch_totals"].run(connected, run_id=run.run_id)
    )


def set_pace(
    connected: Connection,
    schema: str,
    run: runs.Run,
    statuses: Collection[str],
    sleep_ms: int | None = None,
    target_ms: int | None = None,
    workers: int | None = None,
    max_quarantined: int | None = None,
    durability: str | None = None,
    compare_others: bool = False,
) -> None:
    """Store the options of apply that override the plan; None keeps the plan's number.

    Raises TrueupError if a runner works (use `stage_migration_control` to change its pace), if the
    run is no longer in one of the statuses, if a cancel was requested, or if the columns to compare
    have changed. No other runner can take the run until the transaction ends.
    """
    if compare_others and not run.record["statements"]["compare"]:
        noun = run.record["words"]["noun"]
        raise TrueupError(f"--hash-others needs a migration; a {noun} compares nothing")
    runs.lock(connected, schema, run, statuses)
    own = runs.statements(run)
    engine.raise_if_held(own["run__other_runners"].run(connected, run_id=run.run_id).fetchall())
    pace = own["run__set_pace"].run(connected, run_id=run.run_id, sleep_ms=sleep_ms,
                               target_ms=target_ms, workers=workers)  # fmt: skip
    if any(is_to_be_cancelled for (is_to_be_cancelled,) in pace):
        raise TrueupError(
            f"a cancel was requested for run {run.short_id}, but its runner ended before it could",
            f"`trueup cancel {run.short_id}` closes it, `trueup plan` makes a new one.",
        )
    asked = {"max_quarantined": max_quarantined, "durability": durability,
             "compare_others": compare_others or None}  # fmt: skip
    changed = {name: value for name, value in asked.items() if value is not None}
    run.options.update(changed)
    compared = runs.named(own, run.record, "compared")
    for name in compared if run.options.get("compare_others") else []:
        for (reason,) in own[name].run(connected, run_id=run.run_id):
            raise plan.stale(run, reason)
    own["run__note_options"].run(connected, run_id=run.run_id, options=Jsonb(changed))


def close_empty(settings: Settings, connected: Connection, made: plan.Plan) -> None:
    """Complete a plan with nothing to change."""
    if not made.rows_planned:
        run = runs.find(connected, ledger.schema(settings), str(made.run_id), runs.PLANNED)
        plan.close(settings, connected, run, "completed")
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
        places = columns(connected, run)
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


def columns(connected: Connection, run: runs.Run) -> list[Place]:
    """The columns of a run, in the order in which they are worked on."""
    found = runs.statements(run)["run__places"].run(connected, run_id=run.run_id)
    return [Place(*row) for row in found]


def pending_indexes(
    connected: Connection, run: runs.Run, places: Collection[Place]
) -> dict[tuple[str, str], dict[str, Any]]:
    """The row of the statement pending_index by table and column, if the kind of run uses it."""
    own = runs.statements(run)
    found = {}
    for table, column, *_ in places:
        for name in runs.named(own, run.record, "pending_index", (table, column)):
            (found[table, column],) = records.rows(connected, own[name], run_id=run.run_id)
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
