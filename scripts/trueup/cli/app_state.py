"""The commands that move JSON documents into tables: `trueup app-state`."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from trueup.cli.base import FORMAT, YES, ask, examples, opened, options
from trueup.cli.base import settings as read_settings
from trueup.cli.migration import carry_out, runner_options
from trueup.core.errors import TrueupError
from trueup.show import terminal

scope_options = options(
    click.option("--limit", type=click.IntRange(1), metavar="N",
                 help="Only the next N users with rows to write."),
    click.option("--user", "users", multiple=True, metavar="ID",
                 help="Only this user. May be repeated."),
    click.option("--batch-size", type=click.IntRange(1, 10_000), default=100, show_default=True,
                 help="Users of a batch."),
    click.option("--rehearse/--no-rehearse", default=None,
                 help="Also write everything and roll it back.  [default: up to 100 users]"),
    click.option("--all", "shows_all", is_flag=True, help="Show every user and every id."),
)  # fmt: skip


@click.group("app-state")
@examples("""
trueup app-state init
trueup app-state plan --limit 5
trueup app-state apply --limit 5
trueup app-state plan --input-file documents.json
""")
def app_state() -> None:
    """Move the JSON documents of user_app_state into tables.

    `status`, `pause`, `resume`, `cancel`, `verify`, `report` and `rollback` work as for any run.
    """


@app_state.command()
@examples("""
trueup app-state init
""")
def init() -> None:
    """Create tables, indexes, policies, triggers and the view app_state_documents, if missing.

    What is there stays as it is. Row-level security shows each user their own rows; the var
    app_state.user_expression says how a policy knows the user.
    """
    from trueup.app_state import documents as job

    settings = read_settings()
    with opened(settings) as (connected, _):
        made = job.init(settings, connected)
    for name in made:
        click.echo(f"created: {name}")
    click.echo("" if made else "Nothing is missing.", nl=not made)


@app_state.command()
@scope_options
@click.option("--input-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Plan for the documents of this file, on the embedded PostgreSQL.")  # fmt: skip
@click.option("--show-sql", is_flag=True, help="Print the statement that writes, and do nothing.")
@FORMAT
@examples("""
trueup app-state plan
trueup app-state plan --limit 5
trueup app-state plan --user 4711 --all
trueup app-state plan --input-file documents.json --format json > plan.json
trueup app-state plan --show-sql
""")
def plan(input_file: Path | None, show_sql: bool, form: str, **given: Any) -> None:
    """Say what becomes of every user's document, and store it as a plan. Writes no table.

    Exits with 1 if parts of documents are refused, or if the rehearsal found an error; the plan is
    kept, and everything else can be moved.
    """
    from trueup.app_state import documents as job
    from trueup.core import ledger

    settings = read_settings()
    if show_sql:
        statement = job.named(settings)["app_state__write"]
        click.echo(f"-- {statement.name}({', '.join(statement.parameters)})\n{statement.sql}")
        return
    if input_file:
        settings = dataclasses.replace(settings, conninfo=None, environment="development")
        found = job.named(settings)
        ledger.init(settings)
    with ExitStack() as stack:
        connected, _ = stack.enter_context(opened(settings, form == "json"))
        if input_file:
            stack.enter_context(job.from_file(connected, found, input_file))
        made = _planned(settings, connected, form, is_kept=not input_file, **given)
    if form == "text":
        kept = f"Plan {str(made.run_id)[:8]}: {terminal.counted(made.total('rows_planned'), 'row')}"
        kept += f" of {terminal.counted(len(made.users), 'user')}. Nothing has been changed."
        if made.users and not input_file:
            kept += f" `trueup app-state apply {str(made.run_id)[:8]}` carries it out."
        click.echo(kept)
    sys.exit(1 if made.refused or made.total("refusals") else 0)


@app_state.command()
@click.argument("run", required=False)
@scope_options
@click.option("--export", "export_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Where the export goes.  [default: app-state-export-RUN.json]")  # fmt: skip
@click.option("--no-export", metavar="REASON", help="Write no export, and say why.")
@runner_options
@examples("""
trueup app-state apply --limit 5
trueup app-state apply 3f2a91c0 --yes
trueup app-state apply --no-export "restored from last night's backup an hour ago" --workers 2
""")
def apply(
    run: str | None,
    export_file: Path | None,
    no_export: str | None,
    yes: bool,
    log_format: str | None,
    verbose: bool,
    allow_blind_brakes: bool = False,
    **given: Any,
) -> None:
    """Carry out RUN, or make a plan and carry it out. Writes an export of all documents first.

    A user is moved whole or not at all. A user whom the database refuses goes into the quarantine
    with the reason, and the others go on; the command exits with 1 then.
    """
    from trueup.app_state import documents as job
    from trueup.core import runs
    from trueup.migration import runner

    settings = read_settings()
    form = log_format or settings.log_format
    scope = {name: given.pop(name) for name in ("limit", "users", "batch_size", "rehearse",
                                                "shows_all")}  # fmt: skip
    if run and (scope["limit"] or scope["users"]):
        raise TrueupError("RUN is a plan already, so --limit and --user cannot narrow it")
    quiet, how = form == "json", {"application_name": "trueup apply"}
    with opened(settings, quiet, **how) as (connected, schema):
        found = job.named(settings)
        if run is None:
            made = _planned(settings, connected, "none" if quiet else "text", **scope)
            if not made.users:
                click.echo("Nothing to do: every document is in the tables.", err=quiet)
                return
            run = str(made.run_id)
        planned = runs.find(connected, schema, run, runs.PLANNED, command="app-state apply")
        if planned.kind != job.KIND:
            raise TrueupError(f"run {planned.short_id} is no run about documents",
                              f"`trueup apply {planned.short_id}` carries it out.")  # fmt: skip
        runner.check(settings, connected, planned)
        rows = runner.totals(connected, planned)["rows_planned"]
        connected.rollback()  # nothing is held while a person thinks
        ask(yes, f"Apply run {planned.short_id}: write {terminal.counted(rows, 'row')} of database"
                 f" {connected.info.dbname}?")  # fmt: skip
        if no_export:
            job.note_export(connected, planned, {"none": no_export})
        elif rows:
            path = export_file or Path(f"app-state-export-{planned.short_id}.json")
            count, digest = job.export(connected, found, path)
            click.echo(f"exported: {path}, {terminal.counted(count, 'row')}, SHA-256 {digest}",
                       err=quiet)  # fmt: skip
            job.note_export(
                connected, planned, {"file": str(path), "rows": count, "sha256": digest}
            )
        runner.set_pace(connected, schema, planned, runs.PLANNED, **given)
        connected.commit()
    carry_out(settings, planned, form, verbose, allow_blind_brakes)


@app_state.command()
@click.argument("file", type=click.Path(path_type=Path))
@examples("""
trueup app-state export documents.json
""")
def export(file: Path) -> None:
    """Write every row of user_app_state to FILE, from one snapshot, with its count and SHA-256."""
    from trueup.app_state import documents as job

    settings = read_settings()
    with opened(settings, writes=False) as (connected, _):
        count, digest = job.export(connected, job.named(settings), file)
    click.echo(f"exported: {file}, {terminal.counted(count, 'row')}, SHA-256 {digest}")


@app_state.command()
@YES
@examples("""
trueup app-state dedupe
trueup app-state dedupe --yes
""")
def dedupe(yes: bool) -> None:
    """List users with several rows and rows without a user; with --yes keep the newest of each.

    The newest is the row with the latest updated_at. The whole table is copied first. Rows without
    a user stay.
    """
    from trueup.app_state import documents as job
    from trueup.core import records

    settings = read_settings()
    with opened(settings, writes=yes) as (connected, _):
        found = job.named(settings)
        older = records.rows(connected, found["app_state__older"])
        for row in older:
            at = f"{row['updated_at']:%Y-%m-%d %H:%M}" if row["updated_at"] else "no date"
            click.echo(f"{terminal.visible(row['user_id'] or 'no user')}: row {row['row_id']}"
                       f" ({at}) {row['standing']}")  # fmt: skip
        if not any(row["standing"] == "is older" for row in older):
            click.echo("No user has several rows.")
        elif not yes:
            click.echo("Nothing has been changed. `trueup app-state dedupe --yes` keeps the newest"
                       " row of each user, after a copy of the table.")  # fmt: skip
        else:
            commands, removed = job.dedupe(connected, found)
            click.echo(f"{terminal.counted(removed, 'row')} removed; the copy: {commands[1]}")
            click.echo("\n".join(["So that it stays so:", *(f"{each};" for each in commands[3:])]))


def _planned(
    settings: Any,
    connected: Any,
    form: str,
    limit: int | None,
    users: tuple[str, ...],
    batch_size: int,
    rehearse: bool | None,
    shows_all: bool,
    is_kept: bool = True,
) -> Any:
    """Make a plan and show it; form: text, json or none."""
    from trueup.app_state import documents as job
    from trueup.app_state import documents_terminal as show
    from trueup.core.connection import snapshot

    found = job.named(settings)
    with ExitStack() as stack:
        if is_kept:
            stack.enter_context(snapshot(connected))
        with terminal.progress("plan") as progress:
            made = job.make(settings, connected, job.Scope(users, limit), batch_size, rehearse,
                            progress)  # fmt: skip
        # those that are shown; of many users it takes as long as the plan
        shown = None if form == "json" or shows_all else 20 if form == "text" else 0
        listed = job.ids(connected, found, made.users[:shown])
        if is_kept:
            connected.commit()
    if form == "json":
        click.echo(job.as_json(made, listed))
    elif form == "text":
        show.show(terminal.console(), made, listed, None if shows_all else 20)
    return made


COMMANDS: tuple[click.Command, ...] = (app_state,)
