"""The command line: every command of trueup, its options and its help."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from trueup import __version__
from trueup.cli import ledger, migration, report, rollback, verification
from trueup.cli.base import FORMAT, LIMIT, Group, examples
from trueup.cli.base import settings as read_settings
from trueup.core.errors import TrueupError
from trueup.show import terminal
from trueup.vocabulary import value_tables

VOCABULARY = click.option(
    "--vocabulary", help="Which vocabulary.  [default: the first of dbt_project.yml]"
)


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="trueup")
@examples("""
trueup demo                                         see it work on a sample database
trueup try deals.csv --column Status                what would become of a file
trueup unmapped                                     what waits for a decision
trueup alias add "Serie Seed" seed --reason "..."   decide it
""")
def main() -> None:
    """Bring categorical columns of live PostgreSQL tables up to a canonical vocabulary.

    DATABASE_URL or the usual PG* variables choose the server; with none set, an embedded PostgreSQL
    below .trueup/ is used. Exit codes: 0 done, 1 a check failed, 2 wrong use or environment.
    """


@main.command()
@click.option("--companies", type=click.IntRange(min=1), default=100_000, show_default=True,
              help="Rows of the largest sample table.")  # fmt: skip
@click.option("--dirty-share", type=click.FloatRange(0, 1), default=0.56, show_default=True,
              help="Share of values that are not canonical.")  # fmt: skip
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Another seed, another sample."
)
@examples("""
trueup demo
trueup demo --companies 1000000 --dirty-share 0.2
""")
def demo(companies: int, dirty_share: float, seed: int) -> None:
    """Load a sample database, build the models on it, migrate it in place, and take that back.

    Plan, rehearsal, apply, verification, a user's edit, a rollback that spares it, as pages too.

    Works on the embedded PostgreSQL only, whatever server is configured. Running it again makes the
    sample anew.
    """
    from trueup.cli import demo as job

    sys.exit(job.run(read_settings(), companies, dirty_share, seed))


@main.command()
@click.option(
    "--port", type=click.IntRange(1024, 65535), help="Port to listen on; without it, a free one."
)
@examples("""
trueup up
trueup up --port 54321
""")
def up(port: int | None) -> None:
    """Start the embedded PostgreSQL and write profiles.yml for it.

    Says its address; a server that runs already is left running.
    """
    from trueup.core import connection, dbt
    from trueup.local import server

    settings = dataclasses.replace(read_settings(), conninfo=None, environment="development")
    server.start(settings.state, port)
    with connection.connect(settings, writes=False) as connected:
        click.echo(connection.describe(connected, settings))
    if dbt.write_profile(settings, connection.dbt_environment(settings)) is None:
        click.echo("profiles.yml was not made by trueup and was left alone.")


@main.command()
@examples("""
trueup profile
DATABASE_URL=postgresql://me@db.example/app trueup profile
""")
def profile() -> None:
    """Write profiles.yml, so that plain dbt works on the same server as trueup.

    The server is the configured one, else the embedded one. The file holds the password, is
    readable by you alone, and git ignores it. One that trueup has not made is left alone.
    """
    from trueup.core import connection, dbt

    settings = read_settings()
    with connection.connect(settings, writes=False) as connected:
        click.echo(connection.describe(connected, settings))
    written = dbt.write_profile(settings, connection.dbt_environment(settings, writes=False))
    if written is None:
        raise TrueupError(
            f"{settings.project / 'profiles.yml'} was not made by trueup and was left alone",
            "Move it away and run the command again.",
        )
    click.echo(f"{written.relative_to(settings.project)} written; `dbt build` works on this server")


@main.command()
@click.option("--remove-data", is_flag=True, help="Remove its databases, too.")
@examples("""
trueup down
trueup down --remove-data
""")
def down(remove_data: bool) -> None:
    """Stop the embedded PostgreSQL of this checkout; its data stays without --remove-data."""
    from trueup.local import server

    state = read_settings().state
    stopped = server.remove(state) if remove_data else server.stop(state)
    click.echo("stopped" if stopped else "was not running")


@main.command()
@FORMAT
@examples("""
trueup doctor
DATABASE_URL=postgresql://me@db.example/app trueup doctor
""")
def doctor(form: str) -> None:
    """Check the environment, the server and every managed column before anything runs.

    One line each, with the command that fixes it. Exits with 2 if something needed is missing.
    """
    from trueup.cli import doctor as job
    from trueup.core import records

    found = []
    out = terminal.console()
    for finding in job.examine(read_settings()):
        found.append(finding)
        if form == "text":
            terminal.show_finding(
                out, finding.status, finding.subject, finding.found, finding.remedy
            )
    if form == "json":
        click.echo(records.as_json([dataclasses.asdict(finding) for finding in found]))
    sys.exit(2 if any(finding.status == job.FAIL for finding in found) else 0)


@main.command("try")
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

    The file is loaded into a database of its own on the embedded PostgreSQL, the models are built
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


@main.command()
@click.option("--csv", "as_csv", is_flag=True, help="Lines for the alias seed, to be completed.")
@FORMAT
@LIMIT
@examples("""
trueup unmapped
trueup unmapped --limit 0 --csv > review.csv
""")
def unmapped(as_csv: bool, form: str, limit: int) -> None:
    """List the values nobody has decided on, commonest first, with suggestions.

    Reads audit_unmapped_values as the last `dbt build` left it. A suggestion is the nearest alias
    by spelling; it is never applied.
    """
    from trueup.core import connection, records
    from trueup.vocabulary import values

    settings = read_settings()
    with connection.connect(settings, writes=False) as connected:
        rows = values.unmapped(connected)
        quiet = as_csv or form == "json"
        click.echo(connection.describe(connected, settings), err=quiet)
    shown = rows if limit == 0 else rows[:limit]
    if as_csv:
        for row in shown:
            if row.seed_line is not None:
                click.echo(row.seed_line)
    elif form == "json":
        click.echo(records.as_json([dataclasses.asdict(row) for row in shown]))
    elif rows:
        value_tables.show_unmapped(terminal.console(), rows, limit or None)
    else:
        click.echo("Nothing waits: every value is decided.")


@main.command("compiled")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="compiled")
@examples("""
trueup compiled
trueup compiled ../compiled-before
""")
def compiled_(folder: Path) -> None:
    """Write the compiled SQL of every model, snapshot, analysis and data test into FOLDER.

    FOLDER/first is the SQL of a first run; FOLDER/later has the files that read otherwise once the
    tables are there. Needs no database and is the same on every machine, so that two revisions can
    be compared.
    """
    from trueup.core import statements

    written = statements.write(read_settings(), folder)
    click.echo(f"written: {len(written)} files below {folder}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False),
                default="docs-site/index.html")  # fmt: skip
@examples("""
trueup docs
trueup docs trueup-docs.html
""")
def docs(file: Path) -> None:
    """Write the pages of dbt docs as one FILE: every model, column, test and their lineage.

    To be opened in a browser, without a server. Types and sizes are those of the database.
    """
    from trueup.cli import docs as job

    job.write(read_settings(), file)
    click.echo(f"written: {file}")


@main.group()
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


for command in (
    *migration.COMMANDS,
    *verification.COMMANDS,
    *rollback.COMMANDS,
    *report.COMMANDS,
    *ledger.COMMANDS,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
