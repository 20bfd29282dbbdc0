"""The commands `trueup verify` and `trueup verifications`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click
import psycopg

from trueup.cli.base import FORMAT, LIMIT, examples
from trueup.cli.base import settings as read_settings
from trueup.core.errors import TrueupError, first_line
from trueup.show import terminal

ENDINGS = (".html", ".json", ".md")
SMALLEST = -300  # decimal exponent of a weight's tolerance; JSON's numbers are floats
MOST = 100_000  # rows of a sample
OUTPUT = click.option(
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A file; its ending decides: .html, .json or .md. May be repeated.",
)


class Epsilon(click.ParamType[Decimal]):
    """A tolerance of a sum that is to be 1."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Decimal:
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("nan")
        if number.is_finite() and 0 <= number <= 1 and (not number or number.adjusted() > SMALLEST):
            return number
        return self.fail(f"{value!r} is not a number from 0 to 1, such as 1e-6", param, ctx)


@click.command()
@click.argument("run", required=False)
@click.option(
    "--quiesced",
    is_flag=True,
    help="No other program has written since the run: missing rows are a failure.",
)
@click.option(
    "--tenant",
    "--fund-id",
    "tenants",
    multiple=True,
    help="Only rows of this tenant; none = rows of no tenant. May be repeated.",
)
@click.option("--table", "tables", multiple=True, help="Only this table. May be repeated.")
@click.option(
    "--sample-size",
    type=click.IntRange(0, MOST),
    help="Changed rows to show, chosen at random.  [default: the var verification, 100]",
)
@click.option(
    "--seed",
    type=click.IntRange(-(2**63), 2**63 - 1),
    help="The same seed, the same sample.  [default: a random one, which is printed]",
)
@click.option(
    "--epsilon",
    type=Epsilon(),
    help="How far the sum of weights may be from 1.  [default: the var weight_sum_epsilon, 1e-6]",
)
@click.option("--strict", is_flag=True, help="A warning counts as a failure.")
@OUTPUT
@FORMAT
@click.option(
    "--verbose",
    is_flag=True,
    help="Up to 10,000 offenders of each check, not only the first ten.",
)
@examples("""
trueup verify
trueup verify --strict --quiesced
trueup verify 3f2a91c0 --verbose
trueup verify --tenant 7 --tenant none --table companies
trueup verify --output verification.html --output verification.json
trueup verify --format json | jq .summary
""")  # fmt: skip
def verify(run: str | None, form: str, outputs: tuple[Path, ...], verbose: bool,
           **asked: Any) -> None:  # fmt: skip
    """Check a run, or the newest migration: values, NULLs, rows, audit, weights, marts.

    Reads everything in one snapshot, changes nothing, and keeps the result in the ledger. Exits
    with 1 if a check failed or could not be read, with 2 if nothing could be read. Warnings need a
    person's review: undecided values, rows edited after the run.
    """
    from trueup.core import connection
    from trueup.verification import check_tables
    from trueup.verification import verify as job
    from trueup.verification.checks import Options

    _check_outputs(outputs)
    settings = read_settings()
    options = Options(
        tables=asked["tables"],
        tenants=asked["tenants"],
        is_quiesced=asked["quiesced"],
        sample_size=asked["sample_size"],
        seed=asked["seed"],
        epsilon=asked["epsilon"],
        is_strict=asked["strict"],
        reads_all=verbose,
    )
    with connection.connect(settings, writes=False) as connected:
        click.echo(connection.describe(connected, settings), err=form == "json")
        with terminal.progress("verify") as progress:
            found = job.run(settings, connected, run, options, progress)
    document = job.as_dict(found)
    _keep(settings, found.schema, document)
    _show(document, form, outputs, None if verbose else check_tables.SHOWN)
    sys.exit(1 if found.failed() else 0)


@click.command()
@click.argument("wanted", required=False, metavar="[RUN|VERIFICATION]")
@OUTPUT
@FORMAT
@LIMIT
@click.option("--verbose", is_flag=True, help="All offenders that were read then.")
@examples("""
trueup verifications
trueup verifications 3f2a91c0 --limit 0 --format json
trueup verifications 9d1c44e2 --verbose
trueup verifications 9d1c44e2 --output verification.html
""")
def verifications(
    wanted: str | None, outputs: tuple[Path, ...], form: str, limit: int, verbose: bool
) -> None:
    """List stored verifications, newest first, or show one again.

    RUN lists the verifications of a run. VERIFICATION is shown as it was stored: only the ledger is
    read, and the exit code is 0 whatever the verdict was.
    """
    from trueup.core import connection, ledger, records
    from trueup.verification import check_tables, store

    _check_outputs(outputs)
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
        _show(document, form, outputs, None if verbose else check_tables.SHOWN)
    elif form == "json":
        click.echo(records.as_json(rows))
    elif rows:
        check_tables.show_list(terminal.console(), rows)
    else:
        click.echo("Nothing was verified yet; `trueup verify` does.")


def _check_outputs(outputs: tuple[Path, ...]) -> None:
    """TrueupError before anything is read, if a file could not be written afterwards."""
    from trueup.show import page

    for output in outputs:
        if output.suffix not in ENDINGS:
            raise TrueupError(
                f"{output}: the ending decides the format; allowed: {', '.join(ENDINGS)}"
            )
        page.check_writable(output)


def _keep(settings: Any, schema: str, document: Mapping[str, Any]) -> None:
    """Store it in the ledger; if that fails, print a note. The verdict does not change."""
    from trueup.core import connection
    from trueup.verification import store

    try:
        with connection.connect(settings) as connected:
            store.store(connected, schema, dict(document))
    except (psycopg.Error, TrueupError) as error:
        why = first_line(error) if isinstance(error, psycopg.Error) else error.message
        click.echo(
            f"This verification is not kept in the ledger: {why}\n"
            "docs/grants.md has the rights that it takes; --output keeps it in a file.",
            err=True,
        )


def _show(
    document: dict[str, Any], form: str, outputs: tuple[Path, ...], limit: int | None
) -> None:
    """Write the files, show the rest; the verdict is the last line."""
    from trueup.core import records
    from trueup.show import page
    from trueup.verification import check_tables

    text = records.as_json(document)
    for output in outputs:
        page.write(output, text + "\n" if output.suffix == ".json" else _page(document, output))
    if form == "json":
        click.echo(text)
    else:
        out = terminal.console()
        check_tables.show(out, document, limit)
    for output in outputs:
        click.echo(f"written: {output}", err=form == "json")
    if form == "text":
        check_tables.show_verdict(out, document)


def _page(document: dict[str, Any], output: Path) -> str:
    from trueup.verification import check_page, markdown

    if output.suffix == ".md":
        return markdown.build(document)
    return check_page.build(document)


COMMANDS: tuple[click.Command, ...] = (verify, verifications)
