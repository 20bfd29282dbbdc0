"""`trueup doctor`: is everything there that trueup needs? If not, which command mends it?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trueup import connection, dbt, server
from trueup.errors import TrueupError
from trueup.settings import Settings

OLDEST, NEWEST = 15, 18  # PostgreSQL, supported

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, ok, warn or fail, what was found, what mends it."""

    subject: str
    status: str
    found: str
    remedy: str = ""


_COLUMNS = """
select
    attname::text,
    format_type(atttypid, atttypmod),
    typcategory::text,
    collisdeterministic
from pg_catalog.pg_attribute
inner join pg_catalog.pg_type on pg_type.oid = atttypid
left join pg_catalog.pg_collation on pg_collation.oid = attcollation
where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
"""

_PRIMARY_KEY = """
select attname::text
from pg_catalog.pg_index
cross join lateral unnest(indkey::int2[]) with ordinality as key (attnum, position)
inner join pg_catalog.pg_attribute on attrelid = indrelid and pg_attribute.attnum = key.attnum
where indrelid = to_regclass(%s) and indisprimary
order by position
"""


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which one would mend them."""
    yield _environment(settings)
    yield _disk(settings.project)
    try:
        connected = connection.connect(settings, writes=False)
    except TrueupError as error:
        yield Finding("server", FAIL, error.message, "start it, or set DATABASE_URL")
        return
    with connected:
        yield Finding("server", OK, connection.describe(connected, settings))
        yield from _server(connected)
        yield from _columns(connected, settings)


def _environment(settings: Settings) -> Finding:
    if settings.conninfo is None and settings.environment == "production":
        return Finding(
            "environment", FAIL, "production without a configured server", "set DATABASE_URL"
        )
    where = "the embedded server" if settings.conninfo is None else "the configured server"
    return Finding("environment", OK, f"{settings.environment}, on {where}")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    status = OK if free >= server.NEW_DATA_BYTES else FAIL
    remedy = "" if status == OK else f"free {server.NEW_DATA_BYTES // server.MEGABYTE} MB"
    return Finding("disk", status, f"{free // server.MEGABYTE:,} MB free at the project", remedy)


def _server(connected: connection.Connection) -> Iterator[Finding]:
    version = connected.info.server_version // 10000
    supported = OLDEST <= version <= NEWEST
    yield Finding(
        "version",
        OK if supported else FAIL,
        f"PostgreSQL {version}",
        "" if supported else f"use PostgreSQL {OLDEST} to {NEWEST}",
    )
    row = _row(
        connected,
        """
        select
            current_setting('server_encoding'),
            pg_is_in_recovery(),
            has_database_privilege(current_database(), 'create'),
            exists (select from pg_catalog.pg_extension where extname = 'fuzzystrmatch'),
            exists (select from pg_catalog.pg_available_extensions where name = 'fuzzystrmatch')
        """,
    )
    encoding, standby, may_create, installed, available = row
    yield Finding(
        "encoding",
        OK if encoding == "UTF8" else FAIL,
        encoding,
        "" if encoding == "UTF8" else "create the database with encoding 'UTF8' template template0",
    )
    yield Finding(
        "standby",
        FAIL if standby else OK,
        "a read-only standby" if standby else "no standby, writable",
        "connect to the primary" if standby else "",
    )
    yield Finding(
        "rights",
        OK if may_create else FAIL,
        f"role {connected.info.user} {'may' if may_create else 'may not'} create schemas here",
        ""
        if may_create
        else f"grant create on database {connected.info.dbname} to {connected.info.user}",
    )
    usable = installed or (available and may_create)
    yield Finding(
        "fuzzystrmatch",
        OK if usable else FAIL,
        "installed" if installed else "available" if available else "not on this server",
        ""
        if usable
        else "create extension fuzzystrmatch"
        if available
        else "install the server's contrib package",
    )


def _columns(connected: connection.Connection, settings: Settings) -> Iterator[Finding]:
    """Every managed column: does the table look as dbt_project.yml says?"""
    try:
        variables = dbt.project_variables(settings)
    except TrueupError as error:
        yield Finding("dbt_project.yml", FAIL, error.message, error.remedy or "")
        return
    schema = variables.get("app_schema", "public")
    documents = variables.get("managed_documents") or []
    for entry in [*variables["managed_columns"], *documents]:
        subject = f"{entry.get('table', '?')}.{entry.get('column', '?')}"
        wrong = _options(entry, list(variables["vocabularies"]))
        if wrong:
            yield Finding(subject, FAIL, wrong, "correct managed_columns in dbt_project.yml")
            continue
        table = f"{schema}.{entry['table']}"
        columns = {name: more for name, *more in _rows(connected, _COLUMNS, [table])}
        if not columns:
            yield Finding(
                subject,
                FAIL,
                f"there is no table {table} that {connected.info.user} can see",
                "correct dbt_project.yml; `trueup demo` makes a sample",
            )
            continue
        yield _column(connected, subject, table, columns, entry, is_document=entry in documents)


def _options(entry: dict[str, Any], vocabularies: list[str]) -> str:
    """What is wrong with an entry of managed_columns by itself; nothing where nothing is."""
    if missing := [name for name in dbt.NEEDED if name not in entry]:
        return f"option {', '.join(missing)} is missing; the entry has {', '.join(entry)}"
    if not isinstance(entry["key"], dict):
        return f"key is {entry['key']!r}; allowed: {{column: type}}"
    if entry["vocabulary"] not in vocabularies:
        return f"vocabulary is {entry['vocabulary']!r}; allowed: {', '.join(vocabularies)}"
    return ""


def _column(
    connected: connection.Connection,
    subject: str,
    table: str,
    columns: dict[str, list[Any]],
    entry: dict[str, Any],
    is_document: bool,
) -> Finding:
    named = [entry["column"], *entry["key"], entry.get("tenant"), entry.get("updated_at")]
    for name in [name for name in named if name]:
        if name not in columns:
            return Finding(
                subject,
                FAIL,
                f"{table} has no column {name}; it has {', '.join(columns)}",
                "correct managed_columns in dbt_project.yml",
            )
    key = [name for (name,) in _rows(connected, _PRIMARY_KEY, [table])]
    if key != list(entry["key"]):
        return Finding(
            subject,
            FAIL,
            f"the primary key of {table} is ({', '.join(key) or 'missing'}), "
            f"not ({', '.join(entry['key'])})",
            "correct key in managed_columns, or give the table its primary key",
        )
    for name, kind in entry["key"].items():
        if columns[name][0] != kind:
            return Finding(
                subject, FAIL, f"key {name} is {columns[name][0]}, not {kind}", "correct its type"
            )
    kind, category, deterministic = columns[entry["column"]]
    if is_document and kind != "jsonb":
        return Finding(subject, FAIL, f"is {kind}; a document is jsonb", "name a jsonb column")
    if not is_document and category not in ("S", "E"):
        return Finding(subject, FAIL, f"is {kind}; only text can be managed", "name a text column")
    if deterministic is False:
        return Finding(
            subject, WARN, f"{kind} in a non-deterministic collation; compared byte by byte"
        )
    if not _row(
        connected, "select has_column_privilege(%s, %s, 'select')", [table, entry["column"]]
    )[0]:
        return Finding(
            subject,
            FAIL,
            f"role {connected.info.user} may not read it",
            f"grant select on {table} to {connected.info.user}",
        )
    return Finding(
        subject, OK, f"{kind}, key {', '.join(f'{n} {t}' for n, t in entry['key'].items())}"
    )


def _rows(
    connected: connection.Connection, query: str, parameters: list[Any] | None = None
) -> list[tuple[Any, ...]]:
    return connected.execute(query, parameters).fetchall()


def _row(
    connected: connection.Connection, query: str, parameters: list[Any] | None = None
) -> tuple[Any, ...]:
    return _rows(connected, query, parameters)[0]
