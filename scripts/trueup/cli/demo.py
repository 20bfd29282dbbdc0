"""`trueup demo`: the main job on a sample database, by the commands that a user would type."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from trueup.core import config, connection, dbt, ledger, records, runs, statements
from trueup.core.settings import Settings
from trueup.guard import guard
from trueup.local import sample
from trueup.migration import plan, runner
from trueup.show import page, terminal
from trueup.vocabulary import value_page, value_tables, values

# The sample and nothing else, whatever else is managed here.
VARIABLES: dict[str, Any] = {"sample": True, "managed_columns": [], "managed_documents": []}
OWN = "models/staging/app"  # the user's staging models, whose tables the demo does not have
PAGE = "demo.html"  # these pages are in the state folder
VERIFICATION = "demo-verification.html"
RUN = "demo-run.html"


def run(settings: Settings, companies: int, dirty_share: float, seed: int) -> int:
    """Load, build, show, migrate, roll back. Returns the exit code of the first step that failed.

    companies: rows of the largest table; one deal to five of them, one investment to twenty.
    Always works on the embedded server: a demo never touches a configured one.
    """
    settings = dataclasses.replace(
        settings, conninfo=None, environment="development", log_format="text"
    )
    settings = config.with_variables(settings, **VARIABLES)
    config.check_managed(settings)  # before anything is loaded
    facts = _load(settings, companies, dirty_share, seed)
    environment = connection.dbt_environment(settings)
    own_profile = dbt.write_profile(settings, environment) is None
    if not _build(settings, environment):
        return 1
    command = f"trueup demo --companies {companies} --dirty-share {dirty_share:g} --seed {seed}"
    path = os.path.relpath(_show_values(settings, facts, command))
    if code := _call(settings, "", "unmapped", "--limit", "8") or _migrate(settings):
        return code
    click.echo(f"\nWhat the values mean, as a page: {path}")
    if own_profile:
        click.echo("profiles.yml was not made by trueup and was left alone.")
    click.echo(
        "The server keeps running. `dbt build` works in this folder, `trueup unmapped` lists the\n"
        "undecided values, `trueup alias add` decides one, `trueup down` stops the server."
    )
    return 0


def show_failures(connected: connection.Connection, outcome: dbt.Outcome) -> None:
    """Failed models and tests on stderr, each test with a few of the rows it found."""
    stored: dict[str, list[dict[str, Any]]] = {}
    cursor = connected.cursor(row_factory=dict_row)
    for failure in outcome.failures:
        if failure.relation and failure.message.startswith("Got "):
            table = failure.relation.partition(".")[2]  # without the database
            stored[failure.name] = cursor.execute(
                f"select * from {table} limit 5".encode()
            ).fetchall()
    terminal.show_failures(terminal.console(stderr=True), outcome, stored)


def _load(
    settings: Settings, companies: int, dirty_share: float, seed: int
) -> list[tuple[str, str]]:
    """Make the sample; what the page says about it."""
    with connection.connect(settings) as connected:
        server = connection.describe(connected, settings)
        click.echo(server)
        with terminal.progress("sample") as report:
            rows = sample.load(
                connected,
                companies=companies,
                deals=companies // 5,
                investments=companies // 20,
                dirty_share=dirty_share,
                seed=seed,
                cascade=True,  # the views of dbt on it are made again by the build
                progress=report,
            )
    counts = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    click.echo(f"sample: {counts}")
    return [("server", server.partition(" · ")[2]), ("sample", f"made up: {counts}")]


def _build(settings: Settings, environment: dict[str, str]) -> bool:
    """Build the models; whether all of them and all tests passed."""
    click.echo("\n$ dbt build --exclude tag:verification")
    own = [f"path:{OWN}+"] if any((settings.project / OWN).rglob("*.sql")) else []
    with terminal.progress("build") as report:
        # the newest run in the ledger may have changed a sample that was dropped
        outcome = dbt.run(
            settings, environment, "build", "--exclude", "tag:verification", *own, progress=report
        )
    if outcome.failures:
        with connection.connect(settings, writes=False) as connected:
            show_failures(connected, outcome)
        return False
    done = sum(outcome.counts.values())
    took = terminal.duration(round(outcome.seconds))
    click.echo(f"{done} models, snapshots and tests passed in {took}\n")
    return True


def _show_values(settings: Settings, facts: list[tuple[str, str]], command: str) -> Path:
    """The meaning of the values, the state of the columns, open decisions; also as a page."""
    vocabulary = config.vocabulary(settings, config.managed_columns(settings)[0]["vocabulary"])
    with connection.connect(settings, writes=False) as connected:
        found = values.everything(connected, settings, vocabulary)
    out = terminal.console()
    value_tables.show_flow(out, found)
    out.print()
    value_tables.show_coverage(out, found.columns)
    documents = config.managed_documents(settings)
    text = value_page.build(
        found,
        datetime.now(timezone.utc),
        name="Sample application",
        facts=facts,
        command=command,
        all_values="the model int_values",
        alias_seed=vocabulary.alias_path.relative_to(settings.project).as_posix(),
        documents=[f"{entry['table']}.{entry['column']}" for entry in documents],
        tenant_label=config.tenant_label(config.managed_columns(settings)),
    )
    path = settings.state / PAGE
    page.write(path, text)
    return path


def _migrate(settings: Settings) -> int:
    """Change the columns in place and take that back; the exit code of the first failure."""
    schema = ledger.schema(settings)
    tables = {entry["table"] for entry in config.managed_columns(settings)}

    def recent(connected: connection.Connection, most: int | None) -> list[dict[str, Any]]:
        return records.rows(connected, statements.statement(settings, "run__recent"), most=most)

    with connection.connect(settings) as connected:
        for row in recent(connected, None):  # of a dropped sample
            if row["status"] not in runs.FINISHED:
                old = runs.find(connected, schema, str(row["run_id"]), [row["status"]])
                if {each.table_name for each in runner.columns(connected, old)} <= tables:
                    plan.close(settings, connected, old, "cancelled")
    verification, report = (os.path.relpath(settings.state / name) for name in (VERIFICATION, RUN))
    quiet = ("--sleep-ms", "0")  # no other session works on the sample
    planned = r" will change |, and rolled back|Estimated |^Plan "
    if code := _call(settings, planned, "plan", "--rehearse", *quiet):
        return code
    with connection.connect(settings, writes=False) as connected:
        made = recent(connected, 1)[0]
    if not made["rows_planned"]:
        return 0
    for shown, *arguments in (
        (r"^(?!\[INFO\])", "apply", "--yes"),
        (r"^[✓!✗] |^\[|^written", "verify", "--output", verification),
        ("", "report", "--output", report),
    ):
        if code := _call(settings, shown, *arguments):
            return code
    _guard(settings)
    _edit(settings, made["run_id"])
    restored = " will get |conflicts?:|edited$|^row |^Roll|^Run "
    return _call(settings, restored, "rollback", str(made["run_id"])[:8], "--yes", *quiet)


def _guard(settings: Settings) -> None:
    """What a guard does with a write that is not canonical; each write is rolled back."""
    with connection.connect(settings) as connected:
        entry = config.managed_columns(settings)[0]
        scope = guard.scopes(settings, connected, [f"{entry['table']}.{entry['column']}"])[0]
        click.echo(f"\n$ trueup guard install {scope}")
        guard.install(settings, connected, scope, click.echo, "staging")
        names = {name: sql.Identifier(entry[name]) for name in ("column", "tenant")}
        names["table"] = sql.Identifier(config.app_schema(settings), entry["table"])
        spelling = statements.statement(settings, "guard__spelling")
        ((value,),) = spelling.run(connected, scope=scope).fetchall()
        outside = sql.SQL(  # of a share of 10 percent
            "select id, {tenant} from {table} where {bucket}(%s, cast({tenant} as text)) >= 1000"
            " order by id limit 1"
        ).format(**names, bucket=sql.Identifier(ledger.schema(settings), "validation_bucket"))
        ((key, tenant),) = connected.execute(outside, [scope]).fetchall()
        write = sql.SQL("update {table} set {column} = %s where id = %s returning {column}")
        told: list[Any] = []
        connected.add_notice_handler(told.append)
        label = config.tenant_label([entry])
        for mode, percent in (("warn", None), ("enforce", 100), ("enforce", 10),
                              ("normalize", None)):  # fmt: skip
            guard.set_mode(settings, connected, scope, mode, percent, reason="demo",
                           is_override=True)  # fmt: skip
            connected.commit()
            guard.fit(settings, connected, scope, click.echo)
            told.clear()
            try:
                ((stored,),) = connected.execute(write.format(**names), [value, key]).fetchall()
                became = f"is written as {terminal.visible(stored)}{', with a warning' * len(told)}"
            except psycopg.errors.CheckViolation as error:
                became = f"is refused: {error.diag.message_primary}"
            connected.rollback()
            of = f" for {percent} % of the {label}s" if percent else ""
            of += f" ({label} {tenant} is not among them)" if percent == 10 else ""
            click.echo(f"{mode}{of}: {terminal.visible(value)} {became}")
        guard.drop(settings, connected, scope, "the demo is over", click.echo)


def _edit(settings: Settings, run_id: UUID) -> None:
    """Change a row that the run has changed, as a user of the application would."""
    with connection.connect(settings) as connected:
        log = sql.Identifier(ledger.schema(settings), "stage_normalization_log")
        query = sql.SQL(
            "select table_name, column_name, cast(row_id as bigint) from {}"
            " where run_id = %s order by 1 desc, 2 desc, 3 limit 1"
        )
        ((table, column, key),) = connected.execute(query.format(log), [run_id]).fetchall()
        statement = sql.SQL("update {} set {} = {} where id = {}").format(
            sql.Identifier(config.app_schema(settings), table),
            sql.Identifier(column),
            "as the user wants it",
            key,
        )
        click.echo(f"\nA user edits a row:\n{statement.as_string(connected)}")
        connected.execute(statement)


def _call(settings: Settings, shown: str, *arguments: str) -> int:
    """Run a command and print the lines of its output that match; all of them if it fails."""
    from trueup.cli.main import main

    click.echo(f"\n$ trueup {' '.join(arguments)}")
    output, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(output):
            main.main(list(arguments), prog_name="trueup", standalone_mode=False, obj=settings)
    except SystemExit as end:
        code = int(end.code or 0)
    lines = [line.rstrip() for line in output.getvalue().splitlines()[1:]]  # the first: the server
    kept = [line for line in lines if code or re.search(shown, line)]
    click.echo("\n".join(kept))
    if len(kept) < len(lines):
        click.echo(f"  ({len(lines) - len(kept)} more lines)")
    return code
