"""`trueup verify`: the checks of a finished run, read in one snapshot. Changes nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.types.json import set_json_loads

from trueup import __version__
from trueup.core import config, ledger, records, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError, first_line
from trueup.core.runs import MIGRATE, NO_TENANT
from trueup.core.settings import Settings
from trueup.core.statements import Statement, column_statement
from trueup.show.terminal import counted, visible
from trueup.verification import checks, words
from trueup.verification.checks import (
    CHECKS,
    ERROR,
    FAIL,
    FAILED,
    GOOD,
    OF_COLUMN,
    OF_RUN,
    OUTSPOKEN,
    UNMET,
    WARN,
    Check,
    Options,
    Verification,
    loads,
)

__all__ = ["ERROR", "FAIL", "WARN", "Check", "Options", "Verification", "as_dict", "run", "summary"]

NAMED = 20  # tables or tenants that an error lists
# keys of the document that a run's report contains
SUMMARIZED = ("run_id", "summary", "checks", "recommendations")
VALUES = 1000  # of a column's map
AUDIT = "audit_consistency"
Progress = Callable[[str, int, int], None]
Place = tuple[str, str]  # table, column


class Step(NamedTuple):
    """One statement to read, with its label and the checks that it answers.

    statement:    None if it no longer exists
    is_outspoken: it always returns a row for its first check; no row is an error
    """

    what: str
    statement: Statement | None
    ids: tuple[str, ...]
    is_outspoken: bool


def run(
    settings: Settings,
    connected: Connection,
    wanted: str | None,
    options: Options | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Verification:
    """Verify a run, or the newest started migration.

    The connection must not be in autocommit mode.
    progress: called with the next statement, the number read so far, and the total

    Raises TrueupError if there is no ledger or no such run, or if the run has no such table or
    tenant.
    """
    asked = _complete(settings, options or Options())
    schema = ledger.schema(settings)
    ledger.check(connected, schema, settings)
    found = statements.statements(settings)
    connected.rollback()
    connected.read_only = True
    connected.isolation_level = IsolationLevel.REPEATABLE_READ
    set_json_loads(loads, connected)
    found["begin_reading"].run(connected)
    started = time.monotonic()
    # a cancelled run may have changed rows: it is verified if its id is given
    statuses = (*runs.UNFINISHED, *(runs.FINISHED if wanted else ("completed",)))
    target = runs.find(connected, schema, wanted, statuses, kind=MIGRATE)
    if runs.is_pruned(connected, schema, target.run_id):
        raise TrueupError(
            f"run {target.short_id} can no longer be verified: `trueup ledger prune` has removed"
            " the counts from before it",
            "Its changes are in `stage_normalization_log` as before.",
        )
    taken_at, facts = _facts(settings, connected, found, schema, target, asked)
    places = _places(connected, found, schema, target, asked)
    facts["tenant_label"] = config.tenant_label(config.managed_columns(settings), places)
    # a rollback restores the old values, canonical or not
    checks = {
        name: Check(name, facts["tenant_label"])
        for name in CHECKS
        if target.kind == MIGRATE or name != "canonical_values"
    }
    values = _parameters(settings, target, asked)
    steps = list(_steps(found, places, of_all=not asked.tenants))
    for number, step in enumerate(steps):
        progress(step.what, number, len(steps))
        _read(connected, checks, step, values)
    if not connected.closed:
        connected.rollback()
    for check in checks.values():
        check.message = words.message(check, facts["columns"], of_all=not asked.tenants)
    milliseconds = (time.monotonic() - started) * 1000
    return Verification(
        uuid.uuid4(), taken_at, target, schema, asked, list(checks.values()), milliseconds, facts
    )


def as_dict(found: Verification) -> dict[str, Any]:
    """The document, ready for JSON; docs/schemas/verification-report.schema.json describes it."""
    asked, facts = found.options, found.facts
    return {
        "timestamp": found.taken_at.isoformat(),
        "verification_id": str(found.verification_id),
        "run_id": str(found.run.run_id),
        "verdict": "failed" if found.failed() else "passed",
        "summary": {
            "totalChecks": len(found.checks),
            "passed": found.count(*GOOD),
            "failed": found.count(*FAILED),
            "warnings": found.count(WARN),
        },
        "checks": [
            {
                "id": check.id,
                "name": check.name,
                "status": check.status,
                "message": check.message,
                "expected": check.expected,
                "actual": check.actual,
                "offenders": check.offenders,
                "offender_count": check.offender_count,
                "duration_ms": round(check.duration_ms, 1),
            }
            for check in found.checks
        ],
        "recommendations": words.recommendations(found),
        "metadata": {
            "server": facts["server"],
            "environment": facts["environment"],
            "tables": list(asked.tables) or None,
            "tenants": list(asked.tenants) or None,
            "tenant_label": facts["tenant_label"],
            "quiesced": asked.is_quiesced,
            "sample_size": asked.sample_size,
            "seed": asked.seed,
            "epsilon": float(asked.epsilon or 0),
            "strict": asked.is_strict,
            "versions": facts["versions"],
            "vocabulary_version": found.run.vocabulary_version,
            "duration_ms": round(found.duration_ms, 1),
        },
        "run": facts["run"],
        "columns": facts["columns"],
        "targets": facts["targets"],
        "values": facts["values"],
    }


def summary(
    settings: Settings, connected: Connection, target: runs.Run, verifies: bool = True
) -> dict[str, Any]:
    """The checks of a run as they are now, for its report, or why there are none.

    status: passed, failed or open; summary_text: one line; with the checks: SUMMARIZED.
    """
    if not verifies:
        return {"status": "open", "summary_text": "not made: --no-verify", "checks": []}
    if target.status == "cancelled":
        text = f"not made: run {target.short_id} is cancelled"
        return {"status": "open", "summary_text": text, "checks": []}
    try:
        found = run(settings, connected, str(target.run_id))
    except TrueupError as error:
        return {"status": "open", "summary_text": f"not made: {error.message}", "checks": []}
    warned, failed = found.count(WARN), found.count(*FAILED)
    names = [check.name for check in found.checks if check.status in UNMET]
    text = f"{found.count(*GOOD)} of {counted(len(found.checks), 'check')} passed"
    text += f", {counted(warned, 'warning')}" if warned else ""
    text += f", {failed:,} failed" if failed else ""
    text += f" ({', '.join(names)})" if names else ""
    document = as_dict(found)
    return {
        "status": "failed" if found.failed() else "passed",
        "summary_text": text,
        **{name: document[name] for name in SUMMARIZED},
    }


def _complete(settings: Settings, asked: Options) -> Options:
    """The options with the project's defaults, and a seed."""
    known = _known(settings)
    return replace(
        asked,
        sample_size=int(known["sample_size"]) if asked.sample_size is None else asked.sample_size,
        seed=secrets.randbelow(2**31) if asked.seed is None else asked.seed,
        epsilon=known["epsilon"] if asked.epsilon is None else asked.epsilon,
    )


def _known(settings: Settings) -> dict[str, Any]:
    """The project's defaults; TrueupError if there are none."""
    variables = config.project_variables(settings)
    try:
        return {
            **variables["verification"],
            "epsilon": Decimal(str(variables["weight_sum_epsilon"])),
        }
    except KeyError as error:
        raise TrueupError(
            f"dbt_project.yml has no var {error.args[0]}",
            "Copy it from trueup's own dbt_project.yml; docs/configuration.md explains it.",
        ) from None


def _parameters(settings: Settings, target: runs.Run, asked: Options) -> dict[str, Any]:
    """The parameters of all statements."""
    known = _known(settings)
    tenants = [None if each == NO_TENANT else each for each in asked.tenants]
    return {
        "run_id": target.run_id,
        "tenants": tenants or None,
        "table_names": list(asked.tables) or None,
        "is_quiesced": asked.is_quiesced,
        "epsilon": asked.epsilon,
        "sample_size": asked.sample_size,
        "seed": asked.seed,
        # a sample that was asked for is shown whole
        "most": max(
            checks.MOST_OFFENDERS if asked.reads_all else int(known["most_offenders"]),
            asked.sample_size or 0,
        ),
    }


def _places(
    connected: Connection,
    found: Mapping[str, Statement],
    schema: str,
    target: runs.Run,
    asked: Options,
) -> list[Place]:
    """The columns of the run in scope; TrueupError for a table or tenant that it lacks.

    The tenants of a run are those that had rows when it was planned.
    """
    rows = found["verify__places"].run(connected, run_id=target.run_id).fetchall()
    if lost := [f"{table}.{column}" for table, column, is_known in rows if not is_known]:
        raise TrueupError(
            f"run {target.short_id} cannot be verified: stage_migration_control has lost its row of"
            f" {', '.join(lost)}",
            "The ledger was edited. Compare it with the backup.",
        )
    places = [(table, column) for table, column, _ in rows]
    _refuse_unknown("--table", asked.tables, {table for table, _ in places}, target)
    if asked.tenants:
        query = sql.SQL("select distinct tenant from {} where run_id = %s").format(
            sql.Identifier(schema, "migration_baselines")
        )
        counted = {
            NO_TENANT if tenant is None else tenant
            for (tenant,) in connected.execute(query, [target.run_id])
        }
        _refuse_unknown("--tenant", asked.tenants, counted, target)
    return [place for place in places if not asked.tables or place[0] in asked.tables]


def _refuse_unknown(
    option: str, wanted: tuple[str, ...], allowed: set[str], target: runs.Run
) -> None:
    if unknown := [each for each in wanted if each not in allowed]:
        listed = sorted(allowed, key=_order)
        more = f" and {len(listed) - NAMED:,} more" if len(listed) > NAMED else ""
        raise TrueupError(
            f"{option} {', '.join(map(visible, dict.fromkeys(unknown)))}: run {target.short_id} has"
            f" no such; allowed: {', '.join(map(visible, listed[:NAMED])) or 'nothing'}{more}",
            "Leave it out to verify everything that the run concerned.",
        )


def _order(name: str) -> tuple[bool, int, str]:
    """Numbers by their size, `none` last."""
    return name == NO_TENANT, len(name) if name.isdigit() else 0, name


def _steps(found: Mapping[str, Statement], places: list[Place], of_all: bool) -> Iterator[Step]:
    """The statements to read: first for the run, then for each of its columns.

    of_all: all tenants are read; otherwise a table without tenants is skipped
    """
    ids: tuple[str, ...]
    for name, ids in OF_RUN.items():
        yield Step(CHECKS[ids[0]].name, found[name], ids, name in OUTSPOKEN)
    for table, column in places:
        is_managed = column_statement("verify_values", table, column) in found
        for purpose, ids in OF_COLUMN.items():
            statement = found.get(column_statement(purpose, table, column))
            if statement or not is_managed:  # no mart shows a column that has no such statement
                what = f"{CHECKS[ids[0]].name} of {table}.{column}"
                yield Step(what, statement, ids, of_all and purpose in OUTSPOKEN)


def _read(
    connected: Connection, checks: dict[str, Check], step: Step, values: Mapping[str, Any]
) -> None:
    """Run one statement and add its findings; a failing or missing statement is an error."""
    concerned = [checks[name] for name in step.ids if name in checks]
    started = time.monotonic()
    try:
        if step.statement is None:
            raise LookupError("the column is no longer managed")
        if connected.closed:
            raise LookupError("the connection was lost before it was read")
        with connected.transaction():
            rows = step.statement.run(connected, **values).fetchall()
        silent = step.ids[0] in checks and all(row[0] != step.ids[0] for row in rows)
        if silent and step.is_outspoken:
            raise LookupError("the statement said nothing")
    except psycopg.Error as error:
        said = _without_secrets(first_line(error), connected)
        _cannot_read(concerned, f"{step.what}: {said}")
    except LookupError as error:
        _cannot_read(concerned, f"{step.what}: {error}")
    else:
        for check_id, *part in rows:
            if check_id in checks:
                checks[check_id].add(*part)
    # that the audit knows the rows of other checks by name is the audit's work, not theirs
    payers = concerned[:1] if step.ids[0] == AUDIT else concerned
    for check in payers:
        check.duration_ms += (time.monotonic() - started) * 1000 / len(payers)


def _cannot_read(checks: list[Check], said: str) -> None:
    for check in checks:
        check.add(ERROR, "the check can be read", said, [{"status": FAIL, "message": said}], 1)


def _without_secrets(text: str, connected: Connection) -> str:
    """Remove secrets: a server's or library's message may quote its input."""
    for secret in {connected.info.password, os.environ.get("PGPASSWORD")}:
        if secret:
            text = text.replace(secret, "***")
    return text


def _facts(
    settings: Settings,
    connected: Connection,
    found: Mapping[str, Statement],
    schema: str,
    target: runs.Run,
    asked: Options,
) -> tuple[datetime, dict[str, Any]]:
    """The time of the snapshot, and the facts of the document besides the checks."""
    query = sql.SQL(
        "select now(), current_setting('server_version'), cast(current_user as text),"
        " pg_is_in_recovery(), runs.audit_digest, runs.git_commit from {} as runs"
        " where runs.run_id = %s"
    ).format(sql.Identifier(schema, "migration_runs"))
    (row,) = connected.execute(query, [target.run_id]).fetchall()
    taken_at, version, role, in_recovery, audit_digest, git_commit = row

    def listed(name: str, **values: Any) -> list[dict[str, Any]]:
        return [
            {column: _plain(value) for column, value in each.items()}
            for each in records.rows(connected, found[name], run_id=target.run_id, **values)
            if not asked.tables or each["table_name"] in asked.tables
        ]

    info = connected.info
    facts = {
        "server": {
            "version": version.split()[0],
            "host": info.host or info.hostaddr,
            "port": info.port,
            "database": info.dbname,
            "role": role,
            "url": _url(role, info.host or info.hostaddr, info.port, info.dbname),
            "is_embedded": settings.conninfo is None,
            "in_recovery": in_recovery,
        },
        "environment": settings.environment,
        "versions": {
            "trueup": __version__,
            "python": platform.python_version(),
            "psycopg": psycopg.__version__,
            "dbt": importlib.metadata.version("dbt-core"),
        },
        "run": {
            "run_id": str(target.run_id),
            "short_id": target.short_id,
            "kind": target.kind,
            "status": target.status,
            "operator": target.operator,
            "environment": target.environment,
            "planned_at": _plain(target.planned_at),
            "started_at": _plain(target.started_at),
            "finished_at": _plain(target.finished_at),
            "plan_sha256": target.plan_sha256,
            "sql_sha256": target.sql_sha256,
            "audit_digest": audit_digest,
            "git_commit": git_commit,
        },
        "columns": listed("report__columns"),
        "targets": listed("report__targets"),
        "values": listed("report__values", most=VALUES),
    }
    return taken_at.astimezone(timezone.utc), facts


def _url(role: str, host: str, port: int, database: str) -> str:
    """The server and database without a password, in psql's form."""
    place = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"postgresql://{quote(role, safe='')}@{place}:{port}/{quote(database, safe='')}"


def _plain(value: Any) -> Any:
    """Times as ISO 8601, UTC."""
    return value.astimezone(timezone.utc).isoformat() if isinstance(value, datetime) else value
