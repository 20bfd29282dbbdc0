"""The commands of the vocabulary: try, unmapped, alias."""

from __future__ import annotations

from pathlib import Path

import click

from trueup.cli.base import FORMAT, LIMIT, examples
from trueup.cli.base import settings as read_settings
from trueup.core.errors import TrueupError
from trueup.show import terminal
from trueup.vocabulary import value_tables

VOCABULARY = click.option(
    "--vocabulary", help="Which vocabulary.  [default: the first of dbt_project.yml]"
)


@click.command("try")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--column", required=True, help="Name of the column, as the header has it.")
@click.option(
    "--encoding", help="How the file was saved, if not as UTF-8: cp1252, latin-1, utf-16."
)
@VOCABULARY
@FORMAT
@LIMIT
@click.option(
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write a report too; its ending decides: .html or .json. May be repeated.",
)
@examples("""
trueup try deals.csv --column Status
trueup try deals.csv --column Status --output status.html
trueup try export.csv --column "Last Round" --encoding cp1252
trueup try deals.csv --column Status --format json
""")
def try_(
    file: Path,
    column: str,
    encoding: str | None,
    vocabulary: str | None,
    form: str,
    limit: int,
    outputs: tuple[Path, ...],
) -> None:
    """Show what would become of a column of a CSV file. Changes nothing.

    The file is loaded into a temporary database on the embedded PostgreSQL, the models are built
    on it, and the database is dropped again.
    """
    from trueup.cli import try_csv as job
    from trueup.show import page

    settings = read_settings()
    for output in outputs:
        if output.suffix not in job.ENDINGS:
            raise TrueupError(
                f"{output}: the ending decides the format; allowed: {', '.join(job.ENDINGS)}"
            )
        page.check_writable(output)
    trial = job.run(settings, file, column, encoding, vocabulary)
    reports = {
        output: job.as_page(trial, settings, file, column)
        if output.suffix == ".html"
        else job.as_json(trial) + "\n"
        for output in outputs
    }
    for output, text in reports.items():
        page.write(output, text)
    if form == "json":
        click.echo(job.as_json(trial))
    else:
        job.show(trial, f"{file.name}, column {column}", limit or None)
    for output in outputs:
        click.echo(f"written: {output}", err=form == "json")


@click.command()
@click.option("--csv", "as_csv", is_flag=True, help="Lines for the alias seed, to be completed.")
@FORMAT
@LIMIT
@examples("""
trueup unmapped
trueup unmapped --limit 0 --csv > review.csv
""")
def unmapped(as_csv: bool, form: str, limit: int) -> None:
    """List the undecided values, commonest first, with suggestions.

    Reads audit_unmapped_values as the last `dbt build` left it. A suggestion is the nearest alias
    by spelling; it is never applied.
    """
    from trueup.core import connection, records
    from trueup.vocabulary import values

    settings = read_settings()
    with connection.connect(settings, writes=False) as connected:
        rows = values.read(connected, settings, "vocabulary__unmapped", vocabulary=None, unit=None)
        quiet = as_csv or form == "json"
        click.echo(connection.describe(connected, settings), err=quiet)
    shown = rows if limit == 0 else rows[:limit]
    if as_csv:
        for row in shown:
            if row["seed_line"] is not None:
                click.echo(row["seed_line"])
    elif form == "json":
        click.echo(records.as_json(shown))
    elif rows:
        value_tables.show_unmapped(terminal.console(), rows, limit or None)
    else:
        click.echo("Nothing waits: every value is decided.")


@click.group()
def alias() -> None:
    """Decide what spellings mean."""


@alias.command()
@click.argument("text")
@click.argument("value", required=False)
@click.option(
    "--match",
    type=click.Choice(["exact", "broader", "ambiguous", "out_of_scope"]),
    default="exact",
    show_default=True,
    help="exact and broader take a VALUE, the others none.",
)
@click.option("--reason", required=True, help="Why; a reviewer in a year's time reads it.")
@click.option("--by", help="Who decided.  [default: git's user.name]")
@VOCABULARY
@examples("""
trueup alias add "Serie Seed" seed --reason "partner bank's export"
trueup alias add "Series Q" series-c+ --match broader --reason "later than C"
trueup alias add "Mezz" --match out_of_scope --reason "debt"
""")
def add(
    text: str, value: str | None, match: str, reason: str, by: str | None, vocabulary: str | None
) -> None:
    """Add a spelling to the alias seed: what TEXT means, decided once for every row.

    Writes one line, with who, when and why, and keeps the file sorted. Refuses what is decided
    already, under any case, dash or accent.
    """
    from trueup.local import server
    from trueup.vocabulary import aliases

    settings = read_settings()
    with server.as_found(settings.state):
        path, line = aliases.add(settings, vocabulary, text, value, match, reason, by)
    click.echo(f"{path.relative_to(settings.project)}: {line}")
    click.echo("`dbt build` applies it; audit_pending_changes then shows the rows it would change.")


COMMANDS: tuple[click.Command, ...] = (try_, unmapped, alias)
