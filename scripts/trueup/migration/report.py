"""`trueup report`: the ledger's records of a run, as one document. Changes nothing.

docs/schemas/run-report.schema.json describes the document, report_page turns it into a page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from psycopg import IsolationLevel
from psycopg.types.json import Jsonb

from trueup import __version__
from trueup.core import config, connection, ledger, records, runs, statements
from trueup.core.connection import Connection
from trueup.core.settings import Settings
from trueup.core.statements import Statement
from trueup.findings import FAILED, failed
from trueup.migration import tables

BREAK_SECONDS = 60.0  # without a batch: not drawn as time that was worked
POINTS = 1500  # batches that stand in a report one by one
PARTS = 80  # of the time that was worked, for rows over time
LISTED = 1000  # values of a column that change, and that stay; tenants of a column; rows of a list
SAMPLE = 12  # changed rows for a person to read
STANDBYS = "server__standby_"  # how codes of findings about standbys begin
UNJUDGED = {"server__standby_unseen", "server__standby_unlimited"}


def make(
    settings: Settings,
    connected: Connection,
    wanted: str | None,
    verified: Callable[[runs.Run], dict[str, Any]],
) -> dict[str, Any]:
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
    found["run__begin_reading"].run(connected)
    target = runs.find(connected, schema, wanted, runs.BEGUN, command="report")
    one = {"run_id": target.run_id}
    (more,) = records.rows(connected, found["report__run"], **one)
    columns = records.rows(connected, found["report__columns"], **one)
    worked = {**one, "break_seconds": BREAK_SECONDS}
    (durations,) = records.rows(connected, found["report__durations"], **worked)
    (audit,) = records.rows(connected, found["report__audit"], **one)
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
    connected.rollback()
    checks = verified(target)
    connected.rollback()
    (judged,) = records.rows(
        connected, found["report__judgement"], **one,
        columns=Jsonb(columns), audit=Jsonb(audit), conflicts=read["conflicts"]["total"],
        sample=len(read["sample"]), standbys=Jsonb(_standbys(settings, connected, found)),
        checks=Jsonb({
            "status": checks["status"], "summary_text": checks["summary_text"],
            "failed": [each["name"] for each in checks["checks"] if each["status"] in FAILED],
        }),
    )  # fmt: skip
    predictions = records.rows(
        connected, found["report__predictions"], **one,
        rows_updated=judged["totals"]["rows_updated"], seconds=durations["worked_seconds"],
        wal_bytes=judged["server_work"]["wal_bytes"],
    )  # fmt: skip
    address = connection.describe(connected, settings)
    connected.rollback()
    standbys = next(each for each in judged["sign_off"] if each["id"] == "replica_lag_normal")
    return {
        "made_at": more["made_at"],
        "tenant_label": config.tenant_label(
            config.managed_columns(settings),
            [(each["table_name"], each["column_name"]) for each in columns],
        ),
        "trueup_version": __version__,
        "run": _run(target, more),
        "database": {
            "name": more["database_name"],
            "role": more["role_name"],
            "postgres_version": more["postgres_version"],
            "address": address,
            "standbys": standbys["evidence"],
        },
        "columns": columns,
        "durations": durations,
        "predictions": predictions,
        "audit": audit,
        "verification": checks,
        **judged,
        **read,
    }


def as_json(report: Mapping[str, Any]) -> str:
    """The document as text: times as ISO 8601."""
    return records.as_json(json.loads(json.dumps(report, default=_plain)))


def _run(run: runs.Run, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": str(run.run_id),
        "short_id": run.short_id,
        "kind": run.kind,
        "words": run.record["words"],
        "restores": run.record["rules"]["restores"],
        "status": run.status,
        "notes": more["notes"],
        "reverts_run_id": more["reverts_run_id"],
        "taken_back_by": more["taken_back_by"],
        "rows_taken_back": more["rows_taken_back"],
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


def _standbys(settings: Settings, connected: Connection, named: Mapping[str, Statement]) -> Any:
    """Whether standbys have caught up, as far as it can be seen now: state and evidence.

    The marks of the brakes decide; if these are switched off, a person must.
    """
    found = [each for each in tables.server(settings, connected, named, writes=False)
             if each.code.startswith(STANDBYS)]  # fmt: skip
    state = "not met" if failed(found, is_strict=True) else "met"
    if not found or UNJUDGED & {each.code for each in found}:
        state = "open"
    text = "; ".join(each.message for each in found) + " when this report was made"
    return {"state": state, "evidence": text}


def _listed(connected: Connection, statement: Statement, **values: object) -> dict[str, Any]:
    """A number of rows, with the first of them in full."""
    rows = records.rows(connected, statement, **values)
    total = rows[0]["total"] if rows else 0
    shown = [{name: row[name] for name in row if name != "total"} for row in rows]
    return {"total": total, "rows": shown}


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
