"""Named statements: the SQL of analyses/, as dbt compiled it, run as it was compiled.

A file holds one or several statements, each headed by `-- name: statement(parameter, ...)`; the
parameters are `$1, $2, ...` in this order.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from trueup import dbt
from trueup.errors import TrueupError
from trueup.settings import Settings

HEADER = re.compile(r"^-- name: (\w+)\(([\w, ]*)\)[ \t]*\n", re.MULTILINE)
TARGET = "statements"  # folder below the state folder
SOURCES = ("dbt_project.yml", "analyses", "macros")  # what the compiled text is made from

Rows = psycopg.Cursor[tuple[Any, ...]]


class Statement(NamedTuple):
    """One statement; sql is a slice of the compiled file, byte for byte."""

    name: str
    parameters: tuple[str, ...]
    sql: str

    def run(self, connection: psycopg.Connection[Any], **values: object) -> Rows:
        """Execute with bound parameters only; TypeError for an unknown or missing one."""
        if wrong := values.keys() ^ set(self.parameters):
            raise TypeError(f"{self.name}: unknown or missing parameter {sorted(wrong)}")
        cursor: Rows = psycopg.RawCursor(connection)
        return cursor.execute(self.sql, [values[name] for name in self.parameters])


def read(path: Path) -> dict[str, Statement]:
    """The statements of one compiled file, by name."""
    parts = HEADER.split(path.read_text())
    return {
        name: Statement(name, tuple(p.strip() for p in parameters.split(",") if p.strip()), sql)
        for name, parameters, sql in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }


def statement(settings: Settings, name: str) -> Statement:
    """The statement of that name, compiled anew only when one of its sources has changed.

    Compiling needs no database. Raises TrueupError when the project does not compile.
    """
    folder = settings.state / TARGET / "compiled" / "trueup" / "analyses"
    found = _find(folder, name) if _is_fresh(settings.project, folder) else None
    if found is None:  # never compiled, out of date, or left half done by a kill
        dbt.run(settings, {}, "compile", "--select", "resource_type:analysis",
                "--no-populate-cache", target=TARGET)  # fmt: skip
        found = _find(folder, name)
    if found is None:
        raise TrueupError(f"no statement {name} in {settings.project / 'analyses'}")
    return found


def _find(folder: Path, name: str) -> Statement | None:
    for path in sorted(folder.glob("*.sql")):
        if found := read(path).get(name):
            return found
    return None


def _is_fresh(project: Path, folder: Path) -> bool:
    compiled = [path.stat().st_mtime for path in folder.glob("*.sql")]
    if not compiled:
        return False
    sources = [
        path.stat().st_mtime
        for source in SOURCES
        for path in ([project / source, *(project / source).rglob("*")])
        if path.exists()
    ]
    return min(compiled) > max(sources)
