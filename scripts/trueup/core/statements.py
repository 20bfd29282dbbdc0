"""The project's SQL as dbt compiled it: for reviewers to read, and for the command to run.

The command runs named statements: the SQL of analyses/, run as it was compiled. A file holds one or
several statements, each headed by `-- name: statement(parameter, ...)`; the parameters are
`$1, $2, ...` in this order.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from trueup.core import config, dbt, files
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

HEADER = re.compile(r"^-- name: (\w+)\(((?:[\w, ]|\n--  )*)\)[ \t]*\n", re.MULTILINE)
TARGET = "statements"  # folder below the state folder
MARK = "sources.sha256"  # digests of the sources and of the compiled files
# Sources of the compiled text apart from the files of analyses and macros: vars, and what
# decides the names of the relations.
VARIABLES = (
    "sample", "managed_columns", "managed_documents", "sample_columns", "sample_documents",
    "vocabularies", "app_schema", "ledger_schema", "verification", "rollout",
    "sample_endpoints", "app_state", "sample_app_state", "membership", "sample_membership",
)  # fmt: skip
SETTINGS = ("name", "profile", "models", "seeds", "quoting")  # of dbt_project.yml
PROFILE = "profiles.yml.example"

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
        return self.run_with(connection, values)

    def run_with(
        self,
        connection: psycopg.Connection[Any],
        values: Mapping[str, Any],
        is_binary: bool = False,
    ) -> Rows:
        """Execute with those of the values that it takes; KeyError for a missing one.

        is_binary: the answer comes in PostgreSQL's binary format
        """
        cursor: Rows = psycopg.RawCursor(connection)
        given = [values[name] for name in self.parameters]
        return cursor.execute(self.sql, given, binary=is_binary or None)


def read(path: Path) -> dict[str, Statement]:
    """The statements of one compiled file by name; TrueupError if two have the same name."""
    parts = HEADER.split(path.read_bytes().decode())
    found: dict[str, Statement] = {}
    for name, words, sql in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if name in found:
            raise TrueupError(
                f"two statements are named {name}",
                "Give the tables or columns of managed_columns names that differ in letters.",
            )
        parameters = tuple(re.findall(r"\w+", words))
        found[name] = Statement(name, parameters, sql)
    return found


def statement(settings: Settings, name: str) -> Statement:
    """The statement of that name; see `statements`."""
    found = statements(settings).get(name)
    if found is None:
        raise TrueupError(f"no statement {name} in {settings.project / 'analyses'}")
    return found


def statements(settings: Settings) -> dict[str, Statement]:
    """All named statements; compiled again only if their sources have changed.

    Compared by content: a file that git or a copy has put back with an old time is seen, too.
    Compiling needs no database. Raises TrueupError when the project does not compile.
    """
    folder = settings.state / TARGET / "compiled" / "trueup" / "analyses"
    place = settings.project / "analyses"
    sources = sorted(path.relative_to(place) for path in place.rglob("*.sql"))
    done = [folder / name for name in sources]
    mark = folder / MARK
    made_from = digest(settings)
    # never compiled, out of date, half done because of a kill, or edited by hand
    if not mark.exists() or mark.read_text("utf-8") != _mark(made_from, done):
        mark.unlink(missing_ok=True)
        # three seconds more, but what runs is certainly what the files say
        outcome = dbt.run(settings, {}, "compile", "--select", "resource_type:analysis",
                          "--no-populate-cache", "--no-partial-parse", target=TARGET)  # fmt: skip
        _raise_failures(outcome)
        files.write(mark, _mark(made_from, done))
    return {name: each for path in done for name, each in read(path).items()}


def column_statement(purpose: str, table: str, column: str) -> str:
    """The name of a managed column's own statement, as the macro statement_name makes it."""
    return "__".join((purpose, _name_part(table), _name_part(column)))


def digest(settings: Settings) -> str:
    """SHA-256 of all that statements are compiled from, as hexadecimal digits."""
    project = config.project(settings)
    used = [{name: project["vars"].get(name) for name in VARIABLES},
            {name: project.get(name) for name in SETTINGS}]  # fmt: skip
    parts = [
        json.dumps(used, default=str),
        (settings.project / PROFILE).read_text("utf-8"),
    ]
    for source in ("analyses", "macros"):
        for path in sorted((settings.project / source).rglob("*.sql")):
            parts += [path.relative_to(settings.project).as_posix(), path.read_text("utf-8")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def write(settings: Settings, folder: Path) -> list[Path]:
    """Write what every model, snapshot, analysis and data test compiles to; needs no database.

    folder: gets `first`, the SQL of a first run, and `later`, those files that read otherwise once
            the tables are there. What earlier calls left in these two is removed, so that two
            revisions can be compared.
    Returns the files. Raises TrueupError when the project does not compile.
    """
    for name, tables_exist in (("first", False), ("later", True)):
        # into one folder: dbt parses once
        made = compile_project(settings, "compiled", tables_exist) / "compiled" / "trueup"
        shutil.rmtree(folder / name, ignore_errors=True)
        for path in made.rglob("*.sql"):
            place = path.relative_to(made)
            first = folder / "first" / place
            if name == "first" or path.read_bytes() != first.read_bytes():
                (folder / name / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / name / place)
    return [path for name in ("first", "later") for path in sorted((folder / name).rglob("*.sql"))]


def compile_project(settings: Settings, target: str, tables_exist: bool) -> Path:
    """Compile everything without a database, into a target folder; returns the folder.

    target:       folder below the state folder; its manifest.json holds the compiled SQL too.
    tables_exist: what dbt is told when it asks whether a model is built already, the only question
                  that compiling has for a database.

    Raises TrueupError when the project does not compile.
    """
    from dbt.adapters.postgres import PostgresAdapter

    def get_relation(adapter: Any, database: str, schema: str, identifier: str) -> Any:
        if not tables_exist:
            return None
        return adapter.Relation.create(
            database=database, schema=schema, identifier=identifier, type="table"
        )

    folder = settings.state / target
    shutil.rmtree(folder / "compiled", ignore_errors=True)  # models that are gone
    asked = PostgresAdapter.get_relation
    PostgresAdapter.get_relation = get_relation
    try:
        # dbt's partial parsing misses changes of macros that are called by macros
        outcome = dbt.run(settings, {}, "compile", "--no-populate-cache", "--no-partial-parse",
                          target=target)  # fmt: skip
    finally:
        PostgresAdapter.get_relation = asked
    _raise_failures(outcome)
    return folder


def _name_part(name: str) -> str:
    if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name):
        return name
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]
    return "_".join([*re.findall("[a-z0-9]+", name), digest])


def _raise_failures(outcome: dbt.Outcome) -> None:
    if outcome.failures:
        raise TrueupError(
            "; ".join(f"{each.name} does not compile: {each.message}" for each in outcome.failures)
        )


def _mark(made_from: str, done: list[Path]) -> str:
    """Digests of the sources and of the compiled files; a file that is missing is an empty one."""
    parts = [path.read_bytes() if path.exists() else b"" for path in sorted(done)]
    return f"{made_from} {hashlib.sha256(b''.join(parts)).hexdigest()}\n"
