"""`trueup verify`: the checks of a finished run, read in one snapshot. Changes nothing.

A check is answered by several statements, of the run and of each of its columns; the statement
verification__conclude makes one finding per check of what they say.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from psycopg import sql
from psycopg.types.json import Jsonb

from trueup.core import config, ledger, records, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.runs import NO_TENANT
from trueup.core.settings import Settings
from trueup.core.statements import Statement, column_statement
from trueup.findings import ORDER, Finding, document, runner
from trueup.findings.runner import Progress, Step
from trueup.show.terminal import visible

AREA = "verification"
# A statement gathers what it found in one value of jsonb, which PostgreSQL limits to 256 MB. The
# true count is told beside it.
MOST_LISTED = 10_000  # rows of one check in one column, with --verbose
NAMED = 20  # tables or tenants that an error lists
VALUES = 1000  # of a column's map
# What each statement answers, of the run and of each of its columns. True: it always says something
# of the first one.
OF_RUN: dict[str, tuple[tuple[str, ...], bool]] = {
    "verification__batch_tracking": (("batch_tracking",), True),
    "verification__digests": (("audit_consistency",), True),
    "verification__weights": (("weight_sums",), True),
}
OF_COLUMN: dict[str, tuple[tuple[str, ...], bool]] = {
    "check_values": (
        ("canonical_values", "null_integrity", "row_counts", "per_fund_breakdown"), True,
    ),
    "check_changes": (("audit_consistency", "null_integrity", "row_counts"), False),
    "check_sample": (("sample_inspection",), False),
    "check_others": (("other_columns_untouched",), False),
    "check_models": (("models_agree",), False),
}  # fmt: skip
Place = tuple[str, str]  # table, column


@dataclass(frozen=True)
class Options:
    """Scope and options; None: the default of dbt_project.yml, or for the seed a random one.

    tables, tenants: all if empty; `none` among the tenants is the rows of no tenant
    is_quiesced:     nobody else writes, so a shortfall of rows is a failure
    reads_all:       every row that was found, up to MOST_LISTED, not only the first
    """

    tables: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    is_quiesced: bool = False
    sample_size: int | None = None
    seed: int | None = None
    epsilon: Decimal | None = None
    is_strict: bool = False
    reads_all: bool = False


def run(
    settings: Settings,
    connected: Connection,
    wanted: str | None,
    options: Options | None = None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Verify a run, or the newest that was begun; returns the document of its findings.

    The connection must not be in autocommit mode.
    progress: called with the next statement, the number read so far, and the total

    Raises TrueupError if there is no ledger or no such run, or if the run has no such table or
    tenant.
    """
    asked = _complete(settings, options or Options())
    schema = ledger.schema(settings)
    ledger.check(connected, schema, settings)
    found = statements.statements(settings)
    runner.begin(connected)
    found["run__begin_reading"].run(connected)
    started = time.monotonic()
    target = runs.find(connected, schema, wanted, runs.BEGUN, command="verify")
    if why := runs.why_unverifiable(connected, schema, target.run_id):
        raise TrueupError(
            f"run {target.short_id} cannot be verified: {why}",
            "`trueup runs` lists the others. What a run changed is in `stage_normalization_log`.",
        )
    places = _places(connected, found, schema, target, asked)
    taken_at, details = _details(settings, connected, found, target, asked)
    details["tenant_label"] = config.tenant_label(config.managed_columns(settings), places)
    values = _parameters(settings, target, asked)
    for name in runs.named(found, target.record, "begin"):
        found[name].run(connected)
    steps = list(_steps(found, places, values, target.record, of_all=not asked.tenants))
    parts = runner.read(connected, steps, progress)
    checks = _conclude(connected, found["verification__conclude"], parts, {
        "run_id": target.run_id, "columns": Jsonb(details["columns"]),
        "of_all": not asked.tenants, "tenant_label": details["tenant_label"],
    })  # fmt: skip
    return document.make(
        AREA,
        f"run {target.short_id}",
        checks,
        taken_at=taken_at,
        duration_ms=(time.monotonic() - started) * 1000,
        is_strict=asked.is_strict,
        about={
            "Run": f"{target.short_id}, {target.kind}, {details['run']['state_text']}",
            **({"Tables": ", ".join(map(visible, asked.tables))} if asked.tables else {}),
            **({"Tenants": ", ".join(map(visible, asked.tenants))} if asked.tenants else {}),
            "Seed of the sample": str(asked.seed),
            "Audit digest": details["run"]["audit_digest"] or "not recorded",
            "Server": f"PostgreSQL {details['server']['version']}, {details['server']['url']}",
        },
        details=details,
        subject_sha256=target.plan_sha256,
        run_id=str(target.run_id),
    )


def summary(
    settings: Settings, connected: Connection, target: runs.Run, verifies: bool = True
) -> dict[str, Any]:
    """The checks of a run as they are now, for its report, or why there are none.

    status: passed, failed or open; summary_text: one line; with the checks their recommendations.
    """
    reason = "--no-verify"
    if target.status == "cancelled":
        reason = f"run {target.short_id} is cancelled"
    elif verifies:
        try:
            found = run(settings, connected, str(target.run_id))
        except TrueupError as error:
            reason = error.message
        else:
            return {
                "status": found["verdict"],
                "summary_text": document.summary_text(found),
                **{name: found[name] for name in ("summary", "checks", "recommendations")},
            }
    return {"status": "open", "summary_text": f"not made: {reason}", "checks": []}


def _conclude(
    connected: Connection, statement: Statement, parts: list[Finding], values: dict[str, Any]
) -> list[Finding]:
    """One finding per check; without a connection, the worst part of each as it was read."""
    if connected.closed:
        worst: dict[str, Finding] = {}
        for part in sorted(parts, key=lambda each: ORDER.index(each.status)):
            worst[part.code] = part
        return list(worst.values())
    rows = records.rows(
        connected, statement, parts=Jsonb([dataclasses.asdict(each) for each in parts]), **values
    )
    connected.rollback()
    return [Finding(**row) for row in rows]


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
            MOST_LISTED if asked.reads_all else int(known["most_offenders"]),
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
    rows = found["verification__places"].run(connected, run_id=target.run_id).fetchall()
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


def _steps(
    found: Mapping[str, Statement],
    places: list[Place],
    values: dict[str, Any],
    record: Mapping[str, Any],
    of_all: bool,
) -> Iterator[Step]:
    """The statements to read: first for the run, then for each of its columns.

    record: of the kind of run: its checks, and statements of its own for some of them
    of_all: all tenants are read; otherwise a table without tenants is skipped
    """

    def step(
        statement: Statement | None, codes: tuple[str, ...], speaks: bool, of: str = ""
    ) -> Iterator[Step]:
        if codes := tuple(code for code in codes if code in record["rules"]["checks"]):
            what = codes[0].replace("_", " ") + of
            yield Step(what, AREA, statement, codes, values, speaks)

    for name, (codes, speaks) in OF_RUN.items():
        yield from step(found[name], codes, speaks)
    for name in record["planning"]["check"]:
        yield from step(found.get(name), (name.partition("__")[2],), True)
    for table, column in places:
        is_managed = column_statement("check_values", table, column) in found
        for purpose, (codes, speaks) in OF_COLUMN.items():
            statement = found.get(column_statement(purpose, table, column))
            if statement or not is_managed:  # no mart shows a column that has no such statement
                yield from step(statement, codes, of_all and speaks, f" of {table}.{column}")


def _details(
    settings: Settings,
    connected: Connection,
    found: Mapping[str, Statement],
    target: runs.Run,
    asked: Options,
) -> tuple[str, dict[str, Any]]:
    """When the snapshot was taken, and what only a verification of a run has."""
    (row,) = records.rows(connected, found["verification__about"], run_id=target.run_id)

    def listed(name: str, **values: Any) -> list[dict[str, Any]]:
        return [
            {column: _plain(value) for column, value in each.items()}
            for each in records.rows(connected, found[name], run_id=target.run_id, **values)
            if not asked.tables or each["table_name"] in asked.tables
        ]

    info = connected.info
    server = {
        **row["server_facts"],
        "host": info.host or info.hostaddr,
        "port": info.port,
        "url": _url(info.user, info.host or info.hostaddr, info.port, info.dbname),
        "is_embedded": settings.conninfo is None,
    }
    details = {
        "server": server,
        "environment": settings.environment,
        "tables": list(asked.tables) or None,
        "tenants": list(asked.tenants) or None,
        "quiesced": asked.is_quiesced,
        "sample_size": asked.sample_size,
        "seed": asked.seed,
        "epsilon": float(asked.epsilon or 0),
        "vocabulary_version": target.vocabulary_version,
        "run": row["run_facts"],
        "columns": listed("report__columns"),
        "targets": listed("report__targets"),
        "values": listed("report__values", most=VALUES),
    }
    return row["taken_at"].astimezone(timezone.utc).isoformat(), details


def _url(role: str, host: str, port: int, database: str) -> str:
    """The server and database without a password, in psql's form."""
    place = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"postgresql://{quote(role, safe='')}@{place}:{port}/{quote(database, safe='')}"


def _plain(value: Any) -> Any:
    """Times as ISO 8601, UTC."""
    return value.astimezone(timezone.utc).isoformat() if isinstance(value, datetime) else value
