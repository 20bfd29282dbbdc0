"""`trueup try`: what would become of a column of any CSV file?"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from psycopg import sql

from trueup.cli import demo
from trueup.core import config, connection, dbt, records
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.local import server
from trueup.show import terminal
from trueup.vocabulary import csv_file, value_page, value_tables, values

DATABASE = "trueup_try_"  # and the number of the process
# The project's models on one table of one column; no application is there.
VARIABLES: dict[str, Any] = {"try_csv": True, "sample": False, "managed_documents": []}
ENTRY: dict[str, Any] = {"table": "try_rows", "column": "value", "key": {"row_number": "bigint"},
                         "model": "stg_try__rows"}  # fmt: skip
MODELS = "+audit_unmapped_values +fct_stage_coverage dim_vocabularies"
UNIT = "record"  # the word for a row of try_rows
ENDINGS = (".html", ".json")  # of a report


def run(
    settings: Settings, path: Path, column: str, encoding: str | None, name: str | None = None
) -> values.Found:
    """Load the column into a temporary database, build the models on it, read their findings.

    name: of the vocabulary, without one the first of dbt_project.yml.

    Always on the embedded server, which is left as it was found: running or not. The database is
    dropped afterwards. Raises TrueupError for a file that cannot be read.
    """
    settings = dataclasses.replace(settings, conninfo=None, environment="development")
    vocabulary = config.vocabulary(settings, name)
    project = settings  # named statements are compiled with the project's own vars
    managed = [{**ENTRY, "vocabulary": vocabulary.name}]
    settings = config.with_variables(settings, **VARIABLES, managed_columns=managed)
    with (
        csv_file.open_column(path, column, encoding) as cells,
        server.as_found(settings.state),
        _database(settings) as database,
    ):
        with connection.connect(settings, database) as connected:
            _load(connected, cells)
        environment = {**connection.dbt_environment(settings), "PGDATABASE": database}
        with terminal.progress("build") as report:
            outcome = dbt.run(
                settings, environment, "build", "--select", MODELS,
                "--exclude", "fct_stage_coverage_unmapped_share_error",
                # only tests whose models are all built here
                "--indirect-selection", "cautious",
                target="try", progress=report,
            )  # fmt: skip
        with connection.connect(settings, database, writes=False) as connected:
            if outcome.failures:
                demo.show_failures(connected, outcome)
                raise TrueupError("the models could not be built on this file")
            return values.everything(connected, project, vocabulary, UNIT)


def as_page(trial: values.Found, settings: Settings, path: Path, column: str) -> str:
    """The same as an HTML page. Of the file, only its name is told."""
    name, shown = terminal.visible(path.name, 80), terminal.visible(column, 80)
    command = f"trueup try {shlex.quote(name)} --column {shlex.quote(column)}"
    return value_page.build(
        trial,
        datetime.now(timezone.utc),
        name=f"{name}, column {shown}",
        facts=[("file", name), ("column", shown)],
        command=f"{command} --output page.html",
        all_values=f"{command} --format json",
        alias_seed=trial.vocabulary.alias_path.relative_to(settings.project).as_posix(),
    )


def as_json(trial: values.Found) -> str:
    """{"values": rows of vocabulary__values, "summary": {...}}

    Rows of the summary add up: rows = canonical + to_change + known + undecided + missing.
    """
    parts = ("rows", "canonical", "to_change", "known", "undecided", "missing")
    summary = {**{part: trial.total[part] for part in parts}, "values": len(trial.values)}
    return records.as_json({"values": trial.values, "summary": summary})


def show(trial: values.Found, name: str, limit: int | None) -> None:
    """The same for people."""
    out, total = terminal.console(), trial.total
    if not total["rows"]:
        out.print(f"{name}: no records", markup=False)
        return
    now, after = (
        terminal.percent(total[part], total["filled"]) for part in ("canonical", "resolved")
    )
    out.print(f"{name}: {total['rows']:,} records, {len(trial.values):,} spellings", markup=False)
    out.print(f"canonical: {now} now, {after} after\n")
    value_tables.show_flow(out, trial)
    out.print()
    if trial.unmapped:
        value_tables.show_unmapped(out, trial.unmapped, limit)
        out.print("\nDecide with: trueup alias add TEXT VALUE --reason WHY")


def _load(connected: connection.Connection, cells: csv_file.Column) -> None:
    with connected.cursor() as cursor:
        cursor.execute("create table public.try_rows (row_number bigint primary key, value text)")
        with cursor.copy("copy public.try_rows (row_number, value) from stdin") as copy:
            for row in cells:
                copy.write_row(row)
        cursor.execute("analyze public.try_rows")


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """A database of this process's own, dropped at the end; killed ones' are dropped too."""
    own = f"{DATABASE}{os.getpid()}"
    # as superuser: an autovacuum worker blocks the drop for every other role
    with connection.connect(settings, autocommit=True, superuser=True) as connected:
        left_over = connected.execute(
            "select datname from pg_catalog.pg_database where starts_with(datname, %s)", [DATABASE]
        ).fetchall()
        for (name,) in left_over:
            if name == own or not _runs(int(name.removeprefix(DATABASE))):
                _drop(connected, name)
        create = sql.SQL("create database {} owner {}")
        connected.execute(create.format(sql.Identifier(own), sql.Identifier(server.ROLE)))
        try:
            yield own
        finally:
            _drop(connected, own)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # of another process
    return True


def _drop(connected: connection.Connection, name: str) -> None:
    drop = sql.SQL("drop database if exists {} with (force)")
    connected.execute(drop.format(sql.Identifier(name)))
