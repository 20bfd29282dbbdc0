"""`trueup doctor`: checks everything that trueup needs, with the command that fixes it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trueup.core import config, connection, ledger, statements
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.findings import FAIL as FAIL
from trueup.findings import OK, WARN, Finding
from trueup.migration import brakes, plan, tables
from trueup.show.terminal import bytes_text

DISK_BYTES = 400 * 1024**2  # a new embedded server and its sample


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which to fix them."""
    yield _environment(settings)
    yield _disk(settings.project)
    try:
        connected = connection.connect(settings, writes=False)
    except TrueupError as error:
        yield Finding("server", FAIL, error.message, "start it, or set DATABASE_URL")
        return
    with connected:
        yield Finding("server", OK, connection.describe(connected, settings))
        variables: dict[str, Any] = {}
        marks: dict[str, brakes.Mark] = {}
        try:
            variables = config.project_variables(settings)
            marks = brakes.marks(variables)
            named = statements.statements(settings)
        except TrueupError as error:
            yield Finding("dbt_project.yml", FAIL, error.message, error.remedy or "")
            return
        schema = str(variables.get("ledger_schema", ledger.DEFAULT_SCHEMA))
        found = tables.server_facts(named, connected, schema)
        yield from tables.judge_server(found, writes=False, marks=marks)
        built = _has_models(connected) and not found.ledger.missing
        yield from _database(connected, built)
        yield from _columns(named, connected, settings, variables, found, built)


def _environment(settings: Settings) -> Finding:
    if settings.conninfo is None and settings.environment == "production":
        return Finding(
            "environment", FAIL, "production without a configured server", "set DATABASE_URL"
        )
    where = "the embedded server" if settings.conninfo is None else "the configured server"
    return Finding("environment", OK, f"{settings.environment}, on {where}")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    is_little = free < DISK_BYTES
    return Finding(
        "disk",
        FAIL if is_little else OK,
        f"{bytes_text(free)} free at the project",
        f"free {bytes_text(DISK_BYTES)}" if is_little else "",
    )


def _has_models(connected: connection.Connection) -> bool:
    """Whether the models that a plan reads are there, in whatever schema dbt was told."""
    (found,) = _row(
        connected,
        """
        select count(distinct relname) = 2 from pg_catalog.pg_class
        where relname in ('dim_vocabularies', 'int_vocabulary_keys') and relkind in ('r', 'v')
        """,
    )
    return bool(found)


def _database(connected: connection.Connection, built: bool) -> Iterator[Finding]:
    """Needs of building models; a role that only runs migrations does not have them."""
    row = _row(
        connected,
        """
        select
            current_setting('server_encoding'),
            has_database_privilege(current_database(), 'create'),
            exists (select from pg_catalog.pg_extension where extname = 'fuzzystrmatch'),
            exists (select from pg_catalog.pg_available_extensions where name = 'fuzzystrmatch')
        """,
    )
    encoding, may_create, installed, available = row
    missed = WARN if built else FAIL
    yield Finding(
        "encoding",
        OK if encoding == "UTF8" else FAIL,
        encoding,
        "" if encoding == "UTF8" else "create the database with encoding 'UTF8' template template0",
    )
    yield Finding(
        "rights",
        OK if may_create else missed,
        f"role {connected.info.user} {'may' if may_create else 'may not'} create schemas here",
        ""
        if may_create
        else f"grant create on database {connected.info.dbname} to {connected.info.user}",
    )
    usable = installed or (available and may_create)
    yield Finding(
        "fuzzystrmatch",
        OK if usable else missed,
        "installed" if installed else "available" if available else "not on this server",
        ""
        if usable
        else "create extension fuzzystrmatch"
        if available
        else "install the server's contrib package",
    )


def _columns(
    named: tables.Named,
    connected: connection.Connection,
    settings: Settings,
    variables: dict[str, Any],
    server_facts: tables.ServerFacts,
    built: bool,
) -> Iterator[Finding]:
    """Every managed column: does the table look as dbt_project.yml says, what endangers a run?"""
    schema = config.app_schema(settings)
    documents = config.managed_documents(settings)
    told = set()  # findings on a table are the same for each of its columns
    for entry in [*config.managed_columns(settings), *documents]:
        wrong = _options(entry, list(variables["vocabularies"]))
        if wrong:
            subject = f"{entry.get('table', '?')}.{entry.get('column', '?')}"
            yield Finding(subject, FAIL, wrong, "correct managed_columns in dbt_project.yml")
            continue
        findings = tables.judge(
            tables.facts(named, connected, schema, entry),
            server_facts,
            plan.longest(settings, entry["vocabulary"]),
            writes=False,
            document=entry in documents,
            built=built,
            production=settings.environment == "production",
        )
        yield from (finding for finding in findings if finding not in told)
        told.update(findings)


def _options(entry: dict[str, Any], vocabularies: list[str]) -> str:
    """Faults in an entry of managed_columns itself; empty if there are none."""
    if missing := [name for name in config.NEEDED if name not in entry]:
        return f"option {', '.join(missing)} is missing; the entry has {', '.join(entry)}"
    if not isinstance(entry["key"], dict):
        return f"key is {entry['key']!r}; allowed: {{column: type}}"
    if entry["vocabulary"] not in vocabularies:
        return f"vocabulary is {entry['vocabulary']!r}; allowed: {', '.join(vocabularies)}"
    return ""


def _row(connected: connection.Connection, query: str) -> tuple[Any, ...]:
    return connected.execute(query).fetchall()[0]
