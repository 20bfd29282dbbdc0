"""The commands of the dbt project: profile, doctor, compiled, docs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from trueup.cli.base import FORMAT, examples
from trueup.cli.base import settings as read_settings
from trueup.core.errors import TrueupError
from trueup.show import terminal


@click.command()
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


@click.command()
@FORMAT
@examples("""
trueup doctor
DATABASE_URL=postgresql://me@db.example/app trueup doctor
""")
def doctor(form: str) -> None:
    """Check the environment, the server and every managed column before anything runs.

    A line each, with the commands that fix it. Exits with 2 if something needed is missing.
    """
    from trueup.cli import doctor as job
    from trueup.core import records
    from trueup.findings import failed

    found = []
    out = terminal.console()
    for finding in job.examine(read_settings()):
        found.append(finding)
        if form == "text":
            terminal.show_finding(out, vars(finding))
    if form == "json":
        click.echo(records.as_json([vars(finding) for finding in found]))
    sys.exit(2 if failed(found) else 0)


@click.command("compiled")
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


@click.command()
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
    from trueup.core import connection, dbt
    from trueup.local import server

    settings = read_settings()
    made = settings.state / "target" / "static_index.html"
    made.unlink(missing_ok=True)
    with server.as_found(settings.state):
        environment = connection.dbt_environment(settings, writes=False)
        outcome = dbt.run(settings, environment, "docs", "generate", "--static")
    if not made.exists():
        why = "; ".join(f"{each.name}: {each.message}" for each in outcome.failures)
        raise TrueupError(
            f"dbt docs could not be made: {why or 'dbt wrote no page'}",
            f"The full log is in {settings.state / 'logs' / 'dbt.log'}",
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, file)
    click.echo(f"written: {file}")


COMMANDS: tuple[click.Command, ...] = (profile, doctor, compiled_, docs)
