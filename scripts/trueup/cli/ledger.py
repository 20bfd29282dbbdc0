"""The commands of upkeep: the ledger's tables, and the index of rows that need work."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from trueup.cli.base import FORMAT, YES, Command, ask, examples
from trueup.cli.base import settings as read_settings
from trueup.core.errors import TrueupError
from trueup.show import terminal


@click.group("ledger")
def ledger_() -> None:
    """The tool's own tables, in which runs are planned and recorded."""


@ledger_.command("init")
@examples("""
trueup ledger init
""")
def ledger_init() -> None:
    """Make the ledger's tables and views, or add what they lack.

    Runs `dbt run --select tag:ledger`. What is recorded stays, however often it is run.
    """
    from trueup.core import connection, ledger

    settings = read_settings()
    with connection.connect(settings, autocommit=True) as connected:
        click.echo(connection.describe(connected, settings))
        ledger.init(settings)
        schema = ledger.schema(settings)
        ledger.check(connected, schema)
    click.echo(f"The ledger is ready: {len(ledger.RELATIONS)} tables and views in schema {schema}.")


@ledger_.command("prune")
@click.option("--older-than", required=True, metavar="AGE|DAY",
              help="Runs that ended before: 90d, 12w, 48h, or a day (2026-01-31).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@YES
@FORMAT
@examples("""
trueup ledger prune --older-than 90d --dry-run
trueup ledger prune --older-than 2026-01-31
trueup ledger prune --older-than 12w --yes --format json
""")
def ledger_prune(older_than: str, dry_run: bool, yes: bool, form: str) -> None:
    """Remove from the ledger what nobody needs of old runs, after saying what that is.

    Runs that changed nothing go altogether. Of the others go the counts taken before them and the
    list of values they left alone: such a run can be rolled back, but not be verified any more.
    Runs, audit, batches, mappings of changed rows, quarantine and conflicts stay, and so does all
    of unfinished runs and of the newest one. For the ledger's owner.
    """
    from trueup.core import connection, ledger, records
    from trueup.migration import prune as job

    settings = read_settings()
    with connection.connect(settings, writes=not dry_run) as connected:
        click.echo(connection.describe(connected, settings), err=form == "json")
        ledger.check(connected, ledger.schema(settings), settings)
        ended_before = job.cutoff(older_than, job.now(connected))
        if not dry_run:
            job.check_rights(settings, connected)
        preview = job.look(settings, connected, ended_before)
        connected.rollback()  # nothing is held while a person thinks
        if form == "text":
            _show_prune(preview)
        removed = None
        if preview.rows_removed and not dry_run:
            rows = terminal.counted(preview.rows_removed, "row")
            ask(yes, f"Remove {rows} from the ledger in database {connected.info.dbname}?")
            removed = job.remove(settings, connected, ended_before)
            connected.commit()
    if form == "json":
        click.echo(records.as_json(job.as_dict(preview, removed)))
    elif removed is not None:
        rows = terminal.counted(sum(removed.values()), "row")
        click.echo(f"Removed: {rows}. The next vacuum makes their room free for the ledger.")
    elif preview.rows_removed:
        click.echo("Nothing has been removed.")


@ledger_.command("drop")
@click.option("--database", help="The database's name, which is asked for otherwise.")
@YES
@examples("""
trueup ledger drop
trueup ledger drop --yes --database app
""")
def ledger_drop(database: str | None, yes: bool) -> None:
    """Drop the ledger: every run, and the record of every changed row. The way out.

    The application's tables stay as they are; what was changed in them cannot be rolled back any
    more. Refuses while somebody works on a run, and where anything that is not trueup's stands in
    the schema or is built on it.
    """
    from trueup.core import connection, ledger
    from trueup.migration import ledger_drop as job

    settings = read_settings()
    schema = ledger.schema(settings)
    with connection.connect(settings) as connected:
        click.echo(connection.describe(connected, settings))
        name = connected.info.dbname
        loss = job.look(connected, schema)
        job.check(connected, schema)
        _show_loss(loss, schema)
        click.echo(f"This keeps a copy: {job.backup_command(connected, schema)}")
        connected.rollback()  # nothing is held while a person thinks
        _confirm_database(name, database, yes)
        is_gone = job.drop(connected, schema)
        connected.commit()
    rest = "" if is_gone else f" Schema {schema} stays: it is not empty, or not ours to drop."
    click.echo(
        f"Dropped: {terminal.counted(len(loss.relations), 'relation')}.{rest}"
        " `trueup ledger init` makes an empty ledger; roles need their grants on it again."
    )


@click.group("index")
def index_() -> None:
    """The index of rows that need work, for a large table that is nearly clean."""


def scope_options(command: Command) -> Command:
    """--table, --column and --wait."""
    for option in (
        click.option("--wait", "wait_seconds", type=click.FloatRange(min=1), default=60.0,
                     show_default=True, help="Seconds to wait for older transactions."),
        click.option("--column", "columns", multiple=True, help="Only columns of this name."),
        click.option("--table", "tables", multiple=True, help="Only this table. May be repeated."),
    ):  # fmt: skip
        command = option(command)
    return command


@index_.command("create")
@scope_options
@click.option("--force", is_flag=True, help="Also where many rows need work, or nobody knows.")
@YES
@examples("""
trueup index create
trueup index create --table portfoliocompanies --column stage --yes
trueup index create --table investments --force --wait 600
""")
def index_create(
    tables: tuple[str, ...], columns: tuple[str, ...], wait_seconds: float, force: bool, yes: bool
) -> None:
    """Make the index of rows that need work, without holding up a writer.

    Batches then read these rows only. Only where their share is small (the var
    migration.index_share): as long as the index is there, no update of the column is HOT, whoever
    makes it. Drop it when the run is done. For the table's owner.

    Building waits for older transactions, says for which, and gives way where somebody else wants
    to lock the table. Ctrl-C leaves nothing behind.
    """
    from trueup.core import config, connection, statements
    from trueup.migration import indexes
    from trueup.migration import plan as planning

    settings = read_settings()
    entries = planning.entries(settings, planning.Scope(tables, columns))
    most = indexes.most_share(settings)
    with connection.connect(settings, autocommit=True) as connected:
        click.echo(connection.describe(connected, settings))
        schema = config.app_schema(settings)
        found = [indexes.examine(settings, connected, schema, entry, most) for entry in entries]
    for candidate in found:
        _show_candidate(candidate, force)
    chosen = [
        each
        for each in found
        if not each.refusal and not each.is_there and (force or not each.doubt)
    ]
    if not chosen:
        if any(each.is_there for each in found):
            return
        raise TrueupError("no index is to be made; the lines above say why")
    ask(yes, f"Make {terminal.counted(len(chosen), 'index')}?")
    own = statements.statements(settings)
    with _ended_by_signals(), terminal.progress("index") as progress:
        for candidate in chosen:
            table, column = candidate.entry["table"], candidate.entry["column"]
            statement = own[statements.column_statement("pending_index", table, column)]
            _finish(
                lambda each=candidate, text=statement: indexes.create(
                    _connector(settings), each, text, _say, progress, wait_seconds
                )
            )
            click.echo(f"{candidate.subject}: made. `trueup index drop` drops it after the run.")


@index_.command("drop")
@scope_options
@YES
@examples("""
trueup index drop
trueup index drop --table portfoliocompanies --column stage --yes
""")
def index_drop(
    tables: tuple[str, ...], columns: tuple[str, ...], wait_seconds: float, yes: bool
) -> None:
    """Drop the indexes that `trueup index create` has made, or left half made.

    Also those of columns that are not managed any more. Holds up no writer.
    """
    from trueup.core import config, connection
    from trueup.migration import indexes

    settings = read_settings()
    with connection.connect(settings, autocommit=True) as connected:
        click.echo(connection.describe(connected, settings))
        found = indexes.in_scope(indexes.own(connected, config.app_schema(settings)),
                                 tables, columns)  # fmt: skip
    if not found:
        click.echo("There is no index of trueup's to drop.")
        return
    for index in found:
        state = "" if index.is_valid else ", not valid"
        click.echo(f"{index.qualified} on {index.table_name}, {index.bytes:,} bytes{state}")
    ask(yes, f"Drop {terminal.counted(len(found), 'index')}?")
    with _ended_by_signals():
        for index in found:
            _finish(lambda each=index: indexes.drop(_connector(settings), each, _say, wait_seconds))
            click.echo(f"{index.qualified} dropped")


def _connector(settings: Any) -> Any:
    """Opens connections in autocommit mode, by application name."""
    from trueup.core import connection

    return lambda name: connection.connect(settings, autocommit=True, application_name=name)


def _say(words: str) -> None:
    click.echo(words, err=True)


def _finish(job: Any) -> None:
    """Run it; Ctrl-C and SIGTERM end it, tidily, with exit code 1."""
    try:
        job()
    except KeyboardInterrupt:
        click.echo("Error: stopped before the end", err=True)
        sys.exit(1)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM is a Ctrl-C: what was begun is tidied up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _confirm_database(name: str, given: str | None, yes: bool) -> None:
    """Go on only where the database was named; TrueupError where it was not, or another."""
    if given is None and yes:
        raise TrueupError(
            "--yes alone does not drop the ledger", f"Name the database: --yes --database {name}"
        )
    if given is None or not yes:
        if not sys.stdin.isatty():
            raise TrueupError(
                "nobody is there to name the database whose ledger is to go",
                f"Give --yes --database {name} if that is what you want.",
            )
        given = click.prompt("Type the name of the database to drop the ledger of it")
    if given != name:
        raise TrueupError(f"the database is {name}, not {given}; nothing was dropped")


def _show_prune(preview: Any) -> None:
    empty = [run for run in preview.runs if run.is_empty]
    when = f"{preview.ended_before:%Y-%m-%d %H:%M %Z}".strip()
    if preview.unfinished:
        click.echo(
            f"{terminal.counted(preview.unfinished, 'run')} planned before {when}, not finished:"
            " left alone. `trueup runs` lists them, `trueup cancel` closes them."
        )
    if not preview.rows_removed:
        click.echo(f"Nothing to remove of runs that ended before {when}.")
        return
    click.echo(
        f"{terminal.counted(len(preview.runs), 'run')} ended before {when};"
        f" {len(empty):,} of them changed nothing and would go altogether."
    )
    table = terminal.new_table("table", "rows to go", "bytes", "rows to stay", right=(1, 2, 3))
    for each in preview.tables:
        table.add_row(each.name, f"{each.rows_removed:,}", f"{each.bytes_removed:,}",
                      f"{each.rows_kept:,}")  # fmt: skip
    terminal.console().print(table)


def _show_loss(loss: Any, schema: str) -> None:
    span = f", from {loss.first:%Y-%m-%d} to {loss.last:%Y-%m-%d}" if loss.first else ""
    click.echo(
        f"The ledger in schema {schema} has {terminal.counted(loss.runs, 'run')} and"
        f" {loss.entries:,} audit entries of {terminal.counted(loss.rows_changed, 'changed row')}"
        f"{span}; {terminal.counted(len(loss.relations), 'relation')}, {loss.bytes:,} bytes."
    )
    click.echo("All of it would be lost; none of these changes could be rolled back any more.")


def _show_candidate(candidate: Any, force: bool) -> None:
    name = candidate.subject
    reason = candidate.refusal or (None if force else candidate.doubt)
    if reason:
        message, remedy = reason
        click.echo(f"{name}: no index: {message}. {remedy[0].upper()}{remedy[1:]}.")
    elif candidate.is_there:
        click.echo(f"{name}: the index is there already: {candidate.existing.qualified}")
    else:
        about = (
            "of a size that nobody knows"
            if candidate.bytes is None
            else f"about {candidate.bytes:,} bytes"
        )
        share = "" if candidate.share is None else f" of about {candidate.share:.1%} of its rows"
        click.echo(
            f"{name}: an index{share}, {about}. Building it reads the table"
            f" ({candidate.facts.bytes:,} bytes) twice; until it is dropped, no update of"
            f" {candidate.entry['column']} is HOT."
        )


COMMANDS: tuple[click.Command, ...] = (ledger_, index_)
