"""The commands about the ledger: creating it, and removing old records."""

from __future__ import annotations

from typing import Any

import click

from trueup.cli.base import FORMAT, YES, ask, examples, opened
from trueup.cli.base import settings as read_settings
from trueup.show import terminal


@click.group("ledger")
def ledger_() -> None:
    """The tool's own tables, in which runs are planned and recorded."""


@ledger_.command("init")
@examples("""
trueup ledger init
""")
def ledger_init() -> None:
    """Create the ledger's tables and views, or add missing ones.

    Runs `dbt run --select tag:ledger`. What is recorded stays, however often it is run.
    """
    from trueup.core import connection, ledger

    settings = read_settings()
    with connection.connect(settings, autocommit=True) as connected:
        click.echo(connection.describe(connected, settings))
        ledger.init(settings)
        schema = ledger.schema(settings)
        ledger.check(connected, schema, settings)
    count = len(ledger.relations(settings))
    click.echo(f"The ledger is ready: {count} tables and views in schema {schema}.")


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
    """Remove records of old runs that are no longer needed, after a preview.

    Runs that changed nothing are deleted. Other runs lose the counts taken before them and the list
    of values they left alone: such a run can still be rolled back, but not
    verified. Audit, batches, mappings of changed rows, quarantine and conflicts stay, and so do
    unfinished runs and the newest one. Only the ledger's owner may prune.
    """
    from trueup.core import records
    from trueup.migration import prune as job

    settings = read_settings()
    with opened(settings, form == "json", writes=not dry_run) as (connected, _):
        if not dry_run:
            job.check_rights(settings, connected)
        found = job.look(settings, connected, older_than)
        connected.rollback()  # nothing is held while a person thinks
        rows = sum(table["rows_removed"] for table in found["tables"])
        if form == "text":
            _show_prune(found, rows)
        if rows and not dry_run:
            counted = terminal.counted(rows, "row")
            ask(yes, f"Remove {counted} from the ledger in database {connected.info.dbname}?")
            found = job.remove(settings, connected, found)
            connected.commit()
    if form == "json":
        click.echo(records.as_json(found))
    elif found["is_removed"]:
        rows = sum(table["rows_removed"] for table in found["tables"])
        click.echo(f"Removed: {terminal.counted(rows, 'row')}. The next vacuum frees their space.")
    elif rows:
        click.echo("Nothing has been removed.")


def _show_prune(found: dict[str, Any], rows: int) -> None:
    when = f"{found['ended_before']:%Y-%m-%d %H:%M %Z}".strip()
    if found["unfinished_runs"]:
        click.echo(
            f"{terminal.counted(found['unfinished_runs'], 'unfinished run')} planned before {when}:"
            " left alone. `trueup runs` lists them, `trueup cancel` closes them."
        )
    if not rows:
        click.echo(f"Nothing to remove of runs that ended before {when}.")
        return
    empty = sum(run["is_removed_whole"] for run in found["runs"])
    click.echo(
        f"{terminal.counted(len(found['runs']), 'run')} ended before {when};"
        f" {empty:,} of them changed nothing and would be removed altogether."
    )
    names = ("table_name", "rows_removed", "bytes_removed", "rows_kept")
    headings = ("table", "rows to go", "bytes", "rows to stay")
    rows_of = [[each[name] for name in names] for each in found["tables"]]
    terminal.show_table(terminal.console(), headings, rows_of)


COMMANDS: tuple[click.Command, ...] = (ledger_,)
