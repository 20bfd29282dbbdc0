"""The commands for a migration of members: `trueup bundle` and `trueup membership`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from trueup.cli.base import YES, ask, examples, opened, options
from trueup.cli.base import settings as read_settings
from trueup.core.errors import TrueupError
from trueup.show import terminal

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FORMATS = {".md": "markdown", ".json": "json", ".html": "html"}
source_options = options(
    click.argument("folder", metavar="CSVDIR", type=FOLDER),
    click.option("--config", required=True, metavar="FILE",
                 type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="migration-config.json: which level is which tier."),
    click.option("--seed-tiers", "seeds_tiers", is_flag=True,
                 help="Insert tiers of the vocabulary that are missing."),
)  # fmt: skip


@click.group()
@examples("""
trueup bundle plan export/ --config migration-config.json
trueup bundle apply export/ --config migration-config.json
trueup bundle verify --bundle bundle-3f2a91c0
""")
def bundle() -> None:
    """Import members, events and registrations, and verify a migration against its bundle.

    `status`, `verify`, `report` and `rollback` work as for any run.
    """


@bundle.command()
@click.option("--bundle", "-b", "folder", required=True, metavar="DIR",
              type=click.Path(path_type=Path), help="Path to migration bundle.")  # fmt: skip
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE",
              help="Output report path.  [default: ./verification-report.md]")  # fmt: skip
@click.option("--format", "-f", "form", type=click.Choice(["markdown", "json"]),
              help="Output format; without it, the ending of the path decides: .md, .json, .html."
                   "  [default: markdown]")  # fmt: skip
@click.option("--verbose", "-v", is_flag=True, help="Every record that was found.")
@click.option("--strict", is_flag=True, help="A warning counts as a failure.")
@click.option(
    "--offline", is_flag=True, help="Judge the bundle alone; the embedded PostgreSQL reads it."
)
@examples("""
trueup bundle verify --bundle ./migration-bundle-2024-01-15 --output ./verification-report.md
trueup bundle verify -b ./migration-bundle-2024-01-15 -f json -o ./verification-report.json
trueup bundle verify -b ./migration-bundle-2024-01-15 -o report.html --verbose
trueup bundle verify -b ./migration-bundle-2024-01-15 --offline
""")
def verify(folder: Path, output: Path | None, form: str | None, verbose: bool, strict: bool,
           offline: bool) -> None:  # fmt: skip
    """Does the database hold what the bundle of a migration says, record by record?

    Reads everything in one snapshot, and changes nothing. Exits with 0 if all checks passed, with 1
    if one failed, with 2 if the bundle or the database cannot be used.
    """
    from trueup.cli.findings import keep
    from trueup.core import connection
    from trueup.findings.document import is_failed
    from trueup.membership import bundle as job
    from trueup.membership import bundle_terminal as show
    from trueup.show import page

    output = output or Path("verification-report.json" if form == "json" else
                            "verification-report.md")  # fmt: skip
    form = form or FORMATS.get(output.suffix, "markdown")
    page.check_writable(output)
    settings = read_settings()
    if offline:
        settings = dataclasses.replace(settings, conninfo=None, environment="development")
    found = job.named(settings)
    given = job.read(folder)
    with connection.connect(settings, writes=False) as connected:
        click.echo(connection.describe(connected, settings))
        with terminal.progress("verify") as progress:
            document = job.verify(connected, found, given, offline, strict, progress)
    page.write(output, _formatted(document, form))
    click.echo(show.block(document, str(output), verbose), nl=False)
    if not offline:
        keep(settings, document)
    sys.exit(1 if is_failed(document) else 0)


@bundle.command()
@source_options
@click.option("--rehearse", is_flag=True, help="Also write everything, and roll it back.")
@examples("""
trueup bundle plan export/ --config migration-config.json
trueup bundle plan export/ --config migration-config.json --rehearse
""")
def plan(rehearse: bool, **given: Any) -> None:
    """Say what becomes of every row of the files. Nothing is written, and no plan is kept.

    Exits with 1 if rows are refused: they are listed with the reason.
    """
    from trueup.core import connection
    from trueup.membership import bundle as job
    from trueup.membership import importing

    settings, source = read_settings(), importing.Source(**given)
    found = job.named(settings)
    with (
        opened(settings) as (connected, _),
        connection.snapshot(connected),
        terminal.progress("plan") as progress,
    ):
        made = importing.make(settings, connected, found, source, rehearse, progress)
    _show(made)
    click.echo("Rehearsal: everything was written, and rolled back.\n" * rehearse, nl=False)
    click.echo(f"{terminal.counted(made.rows, 'row')} would be written, with those of the id"
               f" mapping. Nothing has been changed. Decisions: {made.digest[:16]}")  # fmt: skip
    sys.exit(1 if made.refusals else 0)


@bundle.command()
@source_options
@click.option("--bundle-out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Where the bundle goes.  [default: bundle-RUN]")  # fmt: skip
@YES
@examples("""
trueup bundle apply export/ --config migration-config.json
trueup bundle apply export/ --config migration-config.json --seed-tiers --yes
""")
def apply(bundle_out: Path | None, yes: bool, **given: Any) -> None:
    """Import the files in one transaction, with an image of every row, and write the bundle.

    Plans first and asks. A second import of the same files changes nothing. Exits with 1 if rows
    were refused; the others are imported, and the bundle lists them.
    """
    from trueup.core import connection
    from trueup.membership import bundle as job
    from trueup.membership import importing

    settings, source = read_settings(), importing.Source(**given)
    found = job.named(settings)
    with opened(settings) as (connected, _), connection.snapshot(connected):
        with terminal.progress("plan") as progress:
            made = importing.make(settings, connected, found, source, progress=progress)
        connected.commit()
        database = connected.info.dbname
    _show(made)
    short = str(made.run_id)[:8]
    ask(yes, f"Apply import {short}: write {terminal.counted(made.rows, 'row')} of database"
             f" {database}?")  # fmt: skip
    out = bundle_out or Path(f"bundle-{short}")
    with terminal.progress("apply") as progress:
        importing.apply(settings, made, source, out, progress)
    click.echo(f"Import {short} completed: {terminal.counted(made.rows, 'row')} written."
               f" Decisions: {made.digest[:16]}\nThe bundle: {out}."
               f" `trueup bundle verify --bundle {out}` verifies it,"
               f" `trueup rollback {short}` takes it back.")  # fmt: skip
    sys.exit(1 if made.refusals else 0)


@click.group()
@examples("""
trueup membership sample club
""")
def membership() -> None:
    """A club's database and files, to try `trueup bundle` on."""


@membership.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--members", type=click.IntRange(10, 1_000_000), default=2147, show_default=True,
              help="Members in the files; events and registrations follow from it.")  # fmt: skip
@examples("""
trueup membership sample club
trueup membership sample club --members 200
""")
def sample(folder: Path, members: int) -> None:
    """Make a club's tables in the database, and files of its old system in DIR.

    csv/ and migration-config.json are a good pack, csv-broken/ has rows of every fault. The good
    pack is imported twice: bundle-clean and bundle-rerun are the bundles, bundle-broken claims what
    is not true. A sample that is there is replaced; in production none is made.
    """
    from trueup.core import config, connection, ledger
    from trueup.local.sample import membership as club
    from trueup.membership import bundle as job
    from trueup.membership import importing

    settings = read_settings()
    if settings.environment == "production":
        raise TrueupError("the sample is not made in production", "Unset TRUEUP_ENV to try it.")
    found = job.named(settings)
    schema = str(config.project_variables(settings).get("app_schema", "public"))
    with connection.connect(settings) as connected:
        click.echo(connection.describe(connected, settings))
        ledger.check(connected, ledger.schema(settings), settings)
        club.write_files(connected, folder, members)
        club.make_tables(connected, schema, members)
        connected.commit()
    source = importing.Source(folder / "csv", folder / "migration-config.json")
    for name in ("bundle-clean", "bundle-rerun"):
        with connection.connect(settings) as connected, connection.snapshot(connected):
            made = importing.make(settings, connected, found, source)
            connected.commit()
        importing.apply(settings, made, source, folder / name)
        click.echo(f"{folder / name}: {terminal.counted(made.rows, 'row')} written")
    with connection.connect(settings) as connected:
        club.write_bundles(connected, folder)
    click.echo(f"{folder / 'bundle-broken'}: claims what is not true")
    click.echo(f"`trueup bundle verify --bundle {folder / 'bundle-clean'}` verifies one.")


def _show(made: Any) -> None:
    from trueup.membership import bundle_terminal as show

    show.show_plan(terminal.console(), made.summary, made.refused)


def _formatted(document: dict[str, Any], form: str) -> str:
    from trueup.cli.findings import as_page
    from trueup.core import records
    from trueup.membership import bundle_terminal as show

    if form == "json":
        return records.as_json(document) + "\n"
    return (as_page if form == "html" else show.as_markdown)(document)


COMMANDS: tuple[click.Command, ...] = (bundle, membership)
