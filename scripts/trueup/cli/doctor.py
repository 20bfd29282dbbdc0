"""`trueup doctor`: checks everything that trueup needs, with the command that fixes it.

What the database and the managed columns need is judged by statements, see migration.tables.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from trueup.core import config, connection, statements
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.findings import FAIL, OK, Finding, runner
from trueup.migration import tables
from trueup.show.terminal import bytes_text

DISK_BYTES = 400 * 1024**2  # a new embedded server and its sample


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which to fix them."""
    yield _environment(settings)
    yield _disk(settings.project)
    try:
        connected = connection.connect(settings, writes=False)
    except TrueupError as error:
        yield _finding("server", FAIL, error.message, "Start it, or set DATABASE_URL.")
        return
    with connected:
        yield _finding("server", OK, connection.describe(connected, settings))
        try:
            named = statements.statements(settings)
            runner.begin(connected)
            columns = config.managed_columns(settings)
            documents = config.managed_documents(settings)
            yield from tables.look(
                settings, connected, named, columns, documents, writes=False, builds=True
            )
        except TrueupError as error:
            yield _finding("dbt_project.yml", FAIL, error.message, error.remedy)


def _environment(settings: Settings) -> Finding:
    if settings.conninfo is None and settings.environment == "production":
        found = "production without a configured server"
        return _finding("environment", FAIL, found, "Set DATABASE_URL.")
    where = "the embedded server" if settings.conninfo is None else "the configured server"
    return _finding("environment", OK, f"{settings.environment}, on {where}")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    found = f"{bytes_text(free)} free at the project"
    if free < DISK_BYTES:
        return _finding("disk", FAIL, found, f"Free {bytes_text(DISK_BYTES)}.")
    return _finding("disk", OK, found)


def _finding(name: str, status: str, message: str, remedy: str | None = None) -> Finding:
    code = f"project__{name.replace('.', '_')}"
    return Finding("project", code, name, "", status, message, remedy=remedy)
