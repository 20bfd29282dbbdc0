"""`trueup report`: the ledger's records of a run, as one document. Changes nothing.

`make` reads the ledger, `as_dict` is the document for machines (docs/schemas/run-report.schema.json
describes it), report_page turns it into a page.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from psycopg import IsolationLevel

from trueup import __version__
from trueup.core import config, connection, ledger, records, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.core.statements import Statement
from trueup.migration import tables
from trueup.migration.report_judgement import server_work, sign_off, standbys, verdict
from trueup.migration.report_records import Audit, Column, Durations, Listed, Report

BREAK_SECONDS = 60.0  # without a batch: not drawn as time that was worked
POINTS = 1500  # batches that stand in a report one by one
PARTS = 80  # of the time that was worked, for rows over time
LISTED = 1000  # values of a column that change, and that stay; tenants of a column; rows of a list
SAMPLE = 12  # changed rows for a person to read

Record = TypeVar("Record")


def make(
    settings: Settings,
    connected: Connection,
    wanted: str | None,
    verified: Callable[[runs.Run], dict[str, Any]],
) -> Report:
    """Read a run, or the newest started one. The connection must not be in autocommit mode.

    verified: run → its checks as they are now, see verification.verify.summary.
    Raises TrueupError if there is no ledger, or no such run, or if it was not started.
    """
    schema = ledger.schema(settings)
    ledger.check(connected, schema, settings)
    found = statements.statements(settings)
    connected.rollback()
    connected.read_only = True
    connected.isolation_level = IsolationLevel.REPEATABLE_READ
    found["begin_reading"].run(connected)
    target = _find(connected, found, schema, wanted)
    one = {"run_id": target.run_id}
    (more,) = records.rows(connected, found["report__run"], **one)
    columns = _records(Column, connected, found["report__columns"], **one)
    worked = {**one, "break_seconds": BREAK_SECONDS}
    (durations,) = _records(Durations, connected, found["report__durations"], **worked)
    (audit,) = _records(Audit, connected, found["report__audit"], **one)
    read: dict[str, Any] = {
        "targets": records.rows(connected, found["report__targets"], **one),
        "values": records.rows(connected, found["report__values"], **one, most=LISTED),
        "tenants": records.rows(connected, found["report__tenants"], **one, most=LISTED),
        "points": records.rows(connected, found["report__points"], **worked, most=POINTS),
        "rates": records.rows(connected, found["report__rates"], **worked, most=PARTS),
        "quarantine": _listed(connected, found["report__quarantine"], **one, most=LISTED),
        "failures": _listed(connected, found["report__failures"], **one, most=LISTED),
        "conflicts": _listed(connected, found["report__conflicts"], **one, most=LISTED),
        "sample": records.rows(connected, found["report__sample"], **one, most=SAMPLE),
    }
    totals = _totals(columns)
    work = server_work(columns)
    predictions = records.rows(
        connected, found["report__predictions"], **one, rows_updated=totals["rows_updated"],
        wal_bytes=work.wal_bytes, seconds=durations.worked_seconds,
    )  # fmt: skip
    connected.rollback()
    checks = verified(target)
    connected.rollback()
    followers = standbys(tables.server(settings, connected, found, writes=False))
    address = connection.describe(connected, settings)
    connected.rollback()
    return Report(
        made_at=more["made_at"],
        tenant_label=config.tenant_label(
            config.managed_columns(settings),
            [(each.table_name, each.column_name) for each in columns],
        ),
        trueup_version=__version__,
        verdict=verdict(target.kind, target.status, totals, read["conflicts"].total, checks),
        run=_run(target, more),
        database={
            "name": more["database_name"],
            "role": more["role_name"],
            "postgres_version": more["postgres_version"],
            "address": address,
            "standbys": followers[1],
        },
        totals=totals,
        columns=columns,
        durations=durations,
        server_work=work,
        predictions=predictions,
        audit=audit,
        verification=checks,
        sign_off=sign_off(target, totals, audit, checks, len(read["sample"]), followers),
        **read,
    )


def as_dict(report: Report) -> dict[str, Any]:
    """The document, ready for JSON: times as ISO 8601."""
    found = json.loads(json.dumps(dataclasses.asdict(report), default=_plain))
    return dict(found)


def as_json(report: Report) -> str:
    """The document as text."""
    return records.as_json(as_dict(report))


def _find(
    connected: Connection, found: Mapping[str, Statement], schema: str, wanted: str | None
) -> runs.Run:
    if wanted is None:
        newest = found["report__newest"].run(connected).fetchone()
        if newest is None:
            raise TrueupError(
                "no run has started yet, so there is nothing to report",
                "`trueup plan` makes a plan, `trueup apply` carries it out.",
            )
        wanted = str(newest[0])
    return runs.find(connected, schema, wanted, (*runs.UNFINISHED, *runs.FINISHED))


def _run(run: runs.Run, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": str(run.run_id),
        "short_id": run.short_id,
        "kind": run.kind,
        "status": run.status,
        "notes": more["notes"],
        "reverts_run_id": more["reverts_run_id"],
        "rolled_back_by": more["rolled_back_by"],
        "operator": run.operator,
        "environment": run.environment,
        "planned_at": run.planned_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "seconds": more["seconds"],
        "options": run.options,
        "vocabulary_version": run.vocabulary_version,
        "plan_sha256": run.plan_sha256,
        "sql_sha256": run.sql_sha256,
        "sources_sha256": run.sources_sha256,
        "audit_digest": more["audit_digest"],
        "git_commit": more["git_commit"],
        "findings": more["findings"],
        "rehearsal": more["rehearsal"],
    }


def _totals(columns: Iterable[Column]) -> dict[str, int]:
    names = ("rows_planned", "rows_updated", "rows_failed", "rows_left", "batches",
             "batches_completed", "batches_failed", "batches_cancelled")  # fmt: skip
    found = list(columns)
    return {name: sum(getattr(column, name) for column in found) for name in names}


def _records(
    kind: type[Record], connected: Connection, statement: Statement, **values: object
) -> list[Record]:
    return [kind(**row) for row in records.rows(connected, statement, **values)]


def _listed(connected: Connection, statement: Statement, **values: object) -> Listed:
    rows = records.rows(connected, statement, **values)
    total = rows[0]["total"] if rows else 0
    return Listed(total, [{name: row[name] for name in row if name != "total"} for row in rows])


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
