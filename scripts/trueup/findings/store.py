"""Findings in the ledger: kept once, listed, and shown again as they were.

What is kept is the document: its checks are rows of verification_results, the rest is one row of
verification_runs.
"""

from __future__ import annotations

import getpass
import re
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Json, Jsonb, set_json_loads

from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.findings.runner import loads

CHECK = ("area", "code", "name", "subject", "status", "message", "expected", "found", "remedy",
         "rows", "sample", "duration_ms")  # fmt: skip
LISTED = ("verification_id", "system_name", "subject", "run_id", "verdict", "is_strict",
          "checks_total", "checks_passed", "checks_failed", "checks_warned", "verified_by",
          "verified_at", "duration_ms")  # fmt: skip


def store(connected: Connection, schema: str, document: dict[str, Any]) -> None:
    """Keep a document, in the caller's transaction; psycopg.Error if it cannot be kept."""
    summary = document["summary"]
    values = {
        **{name: document[name] for name in (
            "verification_id", "subject", "subject_sha256", "run_id", "verdict"
        )},
        "system_name": document["system"],
        "is_strict": document["metadata"]["strict"],
        "checks_total": summary["totalChecks"],
        "checks_passed": summary["passed"],
        "checks_failed": summary["failed"],
        "checks_warned": summary["warnings"],
        "verified_by": f"{user()} as {connected.info.user}",
        "verified_at": document["timestamp"],
        "duration_ms": document["metadata"]["duration_ms"],
        "details": Json({**document, "checks": []}),
    }  # fmt: skip
    connected.execute(_insert(schema, "verification_runs", list(values)), list(values.values()))
    with connected.cursor() as cursor:
        cursor.executemany(
            _insert(schema, "verification_results", ["verification_id", "run_id", "place", *CHECK]),
            [
                [document["verification_id"], document["run_id"], place]
                + [Jsonb(check[name]) if name == "sample" else check[name] for name in CHECK]
                for place, check in enumerate(document["checks"], start=1)
            ],
        )


def recent(
    connected: Connection, schema: str, limit: int, run_id: UUID | None = None
) -> list[dict[str, Any]]:
    """The newest documents, of all subjects or of one run, without their checks."""
    query = sql.SQL(
        "select {} from {} where coalesce(run_id = %s, %s) order by verified_at desc limit %s"
    ).format(_names(LISTED), sql.Identifier(schema, "verification_runs"))
    with connected.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, [run_id, run_id is None, limit]).fetchall()


def find(connected: Connection, schema: str, wanted: str) -> tuple[str, UUID]:
    """Resolve an id or the beginning of one: ("verification", id) or ("run", id).

    Raises TrueupError if it is neither, or could be several.
    """
    if not re.fullmatch(r"[0-9a-f-]{4,36}", wanted.lower()):
        raise TrueupError(
            f"{wanted!r} is neither a verification nor a run; both are named by their id, or by"
            " its first 4 digits or more",
            "`trueup verifications` and `trueup runs` list them.",
        )
    query = sql.SQL(
        "(select 'verification' as kind, verification_id as id from {verifications}"
        " where cast(verification_id as text) like %(wanted)s limit 2)"
        " union all"
        " (select 'run' as kind, run_id as id from {runs}"
        " where cast(run_id as text) like %(wanted)s limit 2)"
    ).format(
        verifications=sql.Identifier(schema, "verification_runs"),
        runs=sql.Identifier(schema, "migration_runs"),
    )
    found = connected.execute(query, {"wanted": f"{wanted.lower()}%"}).fetchall()
    if not found:
        raise TrueupError(
            f"no verification and no run {wanted}",
            "`trueup verifications` and `trueup runs` list them.",
        )
    if len(found) > 1:
        listed = " and of ".join(f"{kind} {each}" for kind, each in found[:2])
        raise TrueupError(f"{wanted} is the beginning of {listed}", "Give more digits.")
    kind, each = found[0]
    return kind, each


def load(connected: Connection, schema: str, verification_id: UUID) -> dict[str, Any]:
    """The stored document; the verification must exist."""
    set_json_loads(loads, connected)
    query = sql.SQL("select details from {} where verification_id = %s").format(
        sql.Identifier(schema, "verification_runs")
    )
    ((document,),) = connected.execute(query, [verification_id]).fetchall()
    query = sql.SQL("select {} from {} where verification_id = %s order by place").format(
        _names(CHECK), sql.Identifier(schema, "verification_results")
    )
    with connected.cursor(row_factory=dict_row) as cursor:
        return {**document, "checks": cursor.execute(query, [verification_id]).fetchall()}


def _insert(schema: str, table: str, columns: list[str]) -> sql.Composed:
    return sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(schema, table),
        _names(columns),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )


def _names(columns: Any) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def user() -> str:
    """The user; a container may know its user by a number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
