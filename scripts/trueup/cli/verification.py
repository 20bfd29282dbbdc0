"""The command `trueup verify`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from trueup.cli.base import FORMAT, examples
from trueup.cli.base import settings as read_settings
from trueup.cli.findings import OUTPUT, check_outputs, finish
from trueup.show import terminal

SMALLEST = -300  # decimal exponent of a weight's tolerance; JSON's numbers are floats
MOST = 100_000  # rows of a sample


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
    help="All rows that docs/configuration.md allows, not only the first ten of a check.",
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
    """Check RUN, or the run that `trueup status` shows: values, NULLs, rows, audit, weights, marts.

    Reads everything in one snapshot, changes nothing, and keeps the result in the ledger. Exits
    with 1 if a check failed or could not be read, with 2 if nothing could be read. Warnings need a
    person's review: undecided values, rows edited after the run.
    """
    from trueup.core import connection
    from trueup.verification import verify as job

    check_outputs(outputs)
    settings = read_settings()
    options = job.Options(
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
            document = job.run(settings, connected, run, options, progress)
    finish(settings, document, form, outputs, verbose)


COMMANDS: tuple[click.Command, ...] = (verify,)
