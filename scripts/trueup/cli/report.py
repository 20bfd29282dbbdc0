"""The command `trueup report`: a run as a page, as JSON, and in a few lines."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from trueup.cli.base import FORMAT, examples
from trueup.cli.base import settings as read_settings
from trueup.core.errors import TrueupError

ENDINGS = (".html", ".json")


@click.command()
@click.argument("run", required=False)
@click.option(
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="File to write; its ending decides: .html or .json. May be repeated."
    "  [default: run-<id>.html in the state folder]",
)
@click.option("--no-verify", is_flag=True, help="Leave out the checks of `trueup verify`.")
@FORMAT
@examples("""
trueup report
trueup report 3f2a91c0 --output run.html --output run.json
trueup report --no-verify
trueup report --format json | jq .verdict
""")
def report(run: str | None, outputs: tuple[Path, ...], no_verify: bool, form: str) -> None:
    """Write a page about RUN, or the run that `trueup status` shows, with the sign-off list.

    The page is one file without external parts. It shows the changes by value, by tenant and over
    time, the values left alone and why, the present checks, and the items that a person must sign
    off. --format json prints the same data; a file is then only written with --output.
    """
    from trueup.core import connection
    from trueup.migration import report as job
    from trueup.migration import report_page
    from trueup.show import page
    from trueup.verification import verify

    for output in outputs:
        if output.suffix not in ENDINGS:
            raise TrueupError(
                f"{output}: the ending decides the format; allowed: {', '.join(ENDINGS)}"
            )
        page.check_writable(output)
    settings = read_settings()
    with connection.connect(settings, writes=False) as connected:
        click.echo(connection.describe(connected, settings), err=form == "json")
        verified = partial(verify.summary, settings, connected, verifies=not no_verify)
        made = job.make(settings, connected, run, verified)
    if not outputs and form == "text":
        settings.state.mkdir(parents=True, exist_ok=True)
        outputs = (settings.state / f"run-{made['run']['short_id']}.html",)
    for output in outputs:
        text = report_page.build(made) if output.suffix == ".html" else job.as_json(made) + "\n"
        page.write(output, text)
    if form == "json":
        click.echo(job.as_json(made))
    else:
        _show(made)
    for output in outputs:
        click.echo(f"written: {output}", err=form == "json")


COUNTS = ("rows_planned", "rows_updated", "rows_failed", "rows_left",
          "batches", "batches_completed", "batches_failed")  # fmt: skip


def _show(made: Any) -> None:
    """Verdict, totals, and the sign-off list."""
    from rich.markup import escape

    from trueup.show import terminal

    out = terminal.console()
    out.print(
        f"run {made['run']['short_id']}: {made['verdict']['sentence']}",
        markup=False,
        soft_wrap=True,
    )
    headings = ("column", "promised", "changed", "refused", "stay", "batches", "done", "failed")
    table = terminal.new_table(*headings, right=range(1, 8))
    for column in made["columns"]:
        name = f"{column['table_name']}.{column['column_name']}"
        table.add_row(escape(name), *(f"{column[count]:,}" for count in COUNTS))
    out.print(table)
    marks = {"met": "✓", "not met": "✗"}
    for line in made["sign_off"]:
        out.print(f"{marks.get(line['state'], '☐')} {line['title']}: {line['evidence']}",
                  markup=False, soft_wrap=True)  # fmt: skip


COMMANDS: tuple[click.Command, ...] = (report,)
