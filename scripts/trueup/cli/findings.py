"""What all commands that judge share: --output, the ledger, the exit code; and `verifications`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
import psycopg

from trueup.cli.base import FORMAT, LIMIT, examples
from trueup.cli.base import settings as read_settings
from trueup.core.errors import TrueupError, first_line
from trueup.show import terminal

ENDINGS = (".html", ".json", ".md")
OUTPUT = click.option(
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A file; its ending decides: .html, .json or .md. May be repeated.",
)


@click.command()
@click.argument("wanted", required=False, metavar="[RUN|VERIFICATION]")
@OUTPUT
@FORMAT
@LIMIT
@click.option("--verbose", is_flag=True, help="All rows that were read then.")
@examples("""
trueup verifications
trueup verifications 3f2a91c0 --limit 0 --format json
trueup verifications 9d1c44e2 --verbose
trueup verifications 9d1c44e2 --output verification.html
""")
def verifications(
    wanted: str | None, outputs: tuple[Path, ...], form: str, limit: int, verbose: bool
) -> None:
    """List what was judged, newest first, or show one verification again.

    RUN lists the verifications of a run. VERIFICATION is shown as it was stored: only the ledger is
    read, and the exit code is 0 whatever the verdict was.
    """
    from trueup.core import connection, ledger, records
    from trueup.findings import store
    from trueup.show import document as shown

    check_outputs(outputs)
    settings = read_settings()
    schema = ledger.schema(settings)
    document, rows = None, []
    with connection.connect(settings, writes=False) as connected:
        ledger.check(connected, schema, settings)
        kind, each = store.find(connected, schema, wanted) if wanted else ("run", None)
        if kind == "verification" and each:
            document = store.load(connected, schema, each)
        elif outputs:
            raise TrueupError(
                "--output writes one verification, and none is named",
                "`trueup verifications` lists them.",
            )
        else:
            rows = store.recent(connected, schema, limit or 1_000_000, each)
        click.echo(connection.describe(connected, settings), err=form == "json")
    if document:
        show(document, form, outputs, verbose)
    elif form == "json":
        click.echo(records.as_json(rows))
    elif rows:
        shown.show_list(terminal.console(), rows)
    else:
        click.echo("Nothing was verified yet; `trueup verify` does.")


def check_outputs(outputs: tuple[Path, ...]) -> None:
    """TrueupError before anything is read, if a file could not be written afterwards."""
    from trueup.show import page

    for output in outputs:
        if output.suffix not in ENDINGS:
            raise TrueupError(
                f"{output}: the ending decides the format; allowed: {', '.join(ENDINGS)}"
            )
        page.check_writable(output)


def finish(
    settings: Any, document: dict[str, Any], form: str, outputs: tuple[Path, ...], verbose: bool
) -> NoReturn:
    """Keep a document in the ledger, show it, and end with its exit code.

    If it cannot be kept, that is said, and the verdict stands all the same.
    """
    from trueup.findings.document import is_failed

    keep(settings, document)
    show(document, form, outputs, verbose)
    sys.exit(1 if is_failed(document) else 0)


def keep(settings: Any, document: dict[str, Any]) -> None:
    """Store a document in the ledger; if it cannot be kept, say why."""
    from trueup.core import connection, ledger
    from trueup.findings import store

    try:
        with connection.connect(settings) as connected:
            store.store(connected, ledger.schema(settings), document)
    except (psycopg.Error, TrueupError) as error:
        why = first_line(error) if isinstance(error, psycopg.Error) else error.message
        click.echo(
            f"This verification is not kept in the ledger: {why}\n"
            "docs/grants.md has the rights that it takes; --output keeps it in a file.",
            err=True,
        )


def show(document: dict[str, Any], form: str, outputs: tuple[Path, ...], verbose: bool) -> None:
    """Write the files, show the rest; the verdict is the last line."""
    from trueup.core import records
    from trueup.show import document as shown
    from trueup.show import page

    text = records.as_json(document)
    for output in outputs:
        if output.suffix == ".json":
            page.write(output, text + "\n")
        else:
            page.write(
                output, (as_page if output.suffix == ".html" else shown.as_markdown)(document)
            )
    out = terminal.console()
    if form == "json":
        click.echo(text)
    else:
        shown.show(out, document, None if verbose else shown.SHOWN)
    for output in outputs:
        click.echo(f"written: {output}", err=form == "json")
    if form == "text":
        shown.show_verdict(out, document)


def as_page(document: dict[str, Any]) -> str:
    """A system's own page if it has one, else the page that all share."""
    from trueup.show import document as shown
    from trueup.verification import check_page

    own: dict[str, Callable[[dict[str, Any]], str]] = {
        "verification": check_page.build,
        "bundle": partial(shown.as_page, template="bundle.html.j2"),
    }
    return own.get(document["system"], shown.as_page)(document)


COMMANDS: tuple[click.Command, ...] = (verifications,)
