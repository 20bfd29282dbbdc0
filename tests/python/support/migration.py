"""In-place migrations as tests run them: in this process, or as the command in one of its own."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from typing import Any

import psycopg

from integration.conftest import App
from support.command import begin, trueup
from trueup.core import ledger, runs
from trueup.core.statements import Statement
from trueup.migration import engine, plan, rollback, runner

EVERYTHING = plan.Scope()
ALL = rollback.Scope()
PACE = plan.Pace(batch_size=500, sleep_ms=0, target_ms=1000)  # small batches, no waiting


def make_plan(app: App, scope: plan.Scope = EVERYTHING, pace: plan.Pace = PACE) -> plan.Plan:
    """A stored plan of the test's own database."""
    with connect(app) as connected:
        return plan.make(app.settings, connected, scope, pace)


def connect(app: App, **options: Any) -> psycopg.Connection[Any]:
    """A connection as the command's own, not in autocommit mode."""
    return psycopg.connect(app.url, prepare_threshold=None, **options)


def order(app: App, made: plan.Plan | rollback.Rollback, **changes: Any) -> engine.Order:
    """What the engine needs to know of a run that is stored."""
    with connect(app) as connected:
        run = runs.find(connected, schema(app), str(made.run_id), (*runs.PLANNED, *runs.UNFINISHED))
    return dataclasses.replace(runner.order(app.settings, run), **changes)


def apply(
    app: App,
    made: plan.Plan | rollback.Rollback,
    report: Callable[[engine.Event], None] = lambda event: None,
    stop: engine.Stop | None = None,
    **changes: Any,
) -> engine.Outcome:
    """Carry out a plan in this process; changes: other values for the order."""
    return engine.apply(
        lambda: connect(app), order(app, made, **changes), report, stop or engine.Stop()
    )


def take_back(
    app: App, run_id: Any, scope: rollback.Scope = ALL, keep: bool = True
) -> rollback.Rollback:
    """A rollback, counted and, if it is to be kept, stored."""
    with connect(app) as connected:
        reverted = rollback.find(app.settings, connected, str(run_id), scope)
        connected.rollback()
        return rollback.make(app.settings, connected, reverted, scope, PACE, keep)


def roll_back(
    app: App,
    run_id: Any,
    scope: rollback.Scope = ALL,
    report: Callable[[engine.Event], None] = lambda event: None,
    **changes: Any,
) -> tuple[rollback.Rollback, engine.Outcome]:
    """Take a run back, in this process."""
    made = take_back(app, run_id, scope)
    return made, apply(app, made, report, **changes)


def command(app: App, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start the command on the test's own database, in a process that can be killed."""
    return begin(app.project, *arguments, **app.environment, **environ)


def done(app: App, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run the command to its end, in this process: exit code, output, errors."""
    ended = trueup(app.project, *arguments, **{**app.environment, **environ})
    return ended.returncode, ended.stdout, ended.stderr


def printed(app: App, *arguments: str, code: int = 0, **environ: str) -> str:
    """The output of a command that must end with this exit code."""
    ended, out, err = done(app, *arguments, **environ)
    assert ended == code, out + err
    return out


def schema(app: App) -> str:
    """The ledger's schema."""
    return ledger.schema(app.settings)


def run_statuses(app: App) -> list[str]:
    """Of all runs, the oldest first."""
    query = "select status from trueup_ledger.migration_runs order by planned_at"
    return [status for (status,) in app.query(query)]


def batch_statuses(app: App, run_id: Any) -> set[str]:
    query = "select distinct status from trueup_ledger.stage_migration_batches where run_id = %s"
    return {status for (status,) in app.query(query, run_id)}


def agree(app: App, run_id: Any, rows: int) -> None:
    """Counters of the batches, audit and log of a run all say that so many rows were changed."""
    found = books(app, run_id)
    assert found == {"counters": rows, "audit": rows, "rows": rows}, (found, rows)


def books(app: App, run_id: Any) -> dict[str, int]:
    """What the ledger says of a run, three ways: they must agree."""
    rows = app.query(
        """
        select
            (select coalesce(sum(rows_updated), 0) from trueup_ledger.stage_migration_batches
             where run_id = %s),
            (select coalesce(sum(cardinality(row_keys)), 0)
             from trueup_ledger.stage_normalization_changes where run_id = %s),
            (select count(distinct (table_name, column_name, row_id))
             from trueup_ledger.stage_normalization_log where run_id = %s and action = 'update')
        """,
        run_id, run_id, run_id,
    )  # fmt: skip
    counters, audit, rows_changed = rows[0]
    return {"counters": int(counters), "audit": int(audit), "rows": int(rows_changed)}


def explained(
    connected: psycopg.Connection[Any], statement: Statement, values: dict[str, Any]
) -> dict[str, Any]:
    """The plan of a statement that was carried out, as EXPLAIN (ANALYZE, FORMAT JSON) has it."""
    analyzing = statement._replace(sql=f"explain (analyze, format json) {statement.sql}")
    ((document,),) = analyzing.run(connected, **values)
    found: dict[str, Any] = document[0]["Plan"]
    return found


def rows_read(node: dict[str, Any], table: str) -> float:
    """Rows of a table that were looked at, by a plan of `explained`."""
    own = 0.0
    if node.get("Relation Name") == table:
        removed = sum(
            node.get(name, 0)
            for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        )
        own = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return own + sum(rows_read(child, table) for child in node.get("Plans", []))
