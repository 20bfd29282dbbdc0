"""The command that takes a run back: rollback."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click
import psycopg

from trueup.cli.base import FORMAT, LIMIT, ask, examples, opened
from trueup.cli.base import settings as read_settings
from trueup.cli.migration import carry_out, refuse_on_dry_run, runner_options, scope_options
from trueup.core.errors import TrueupError
from trueup.show import terminal


@click.command()
@click.argument("run")
@scope_options
@click.option("--batch", "batch_id", type=int, metavar="N", help="Only this batch of RUN.")
@click.option("--value-before", "values_before", multiple=True, metavar="TEXT",
              help="Only rows that had this value before RUN. May be repeated.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show the rows to restore; change nothing.")
@LIMIT
@FORMAT
@runner_options
@examples("""
trueup rollback 3f2a91c0 --dry-run
trueup rollback 3f2a91c0
trueup rollback 3f2a91c0 --table companies --tenant 7
trueup rollback 3f2a91c0 --value-before "Late round" --yes
trueup rollback 3f2a91c0 --dry-run --format json > rollback.json
""")
def rollback(
    run: str,
    tables: tuple[str, ...],
    columns: tuple[str, ...],
    tenants: tuple[str, ...],
    batch_id: int | None,
    values_before: tuple[str, ...],
    dry_run: bool,
    limit: int,
    form: str,
    yes: bool,
    log_format: str | None,
    verbose: bool,
    allow_blind_brakes: bool = False,
    **pace: Any,
) -> None:
    """Undo the changes of RUN; a rollback can be rolled back, too.

    A row gets the value it had before RUN if it still has the value that RUN wrote and no other run
    has changed it since. Other rows are listed as conflicts, up to --limit, and left alone.

    `trueup status`, `pause`, `resume` and `cancel` work as for any run. Exits with 1 if a
    restorable row was not restored or the rollback was stopped; conflicts do not count.
    """
    from trueup.core import connection
    from trueup.core import runs as module
    from trueup.migration import plan, rollback_terminal, runner
    from trueup.migration import rollback as job

    settings = read_settings()
    if dry_run:
        refuse_on_dry_run(
            log_format=log_format, verbose=verbose, allow_blind_brakes=allow_blind_brakes, **pace
        )
    if form == "json" and not dry_run:
        raise TrueupError(
            "--format json needs --dry-run: it shows the rows to restore",
            "For JSON log lines during the rollback use --log-format json.",
        )
    log_form = log_format or settings.log_format
    quiet = form == "json" or (log_form == "json" and not dry_run)
    known = plan.defaults(settings)
    usual = plan.Pace(known["batch_size"], known["sleep_ms"], known["target_ms"])
    scope = job.Scope(tables, columns, tenants, batch_id, values_before)
    how = {"writes": not dry_run, "application_name": "trueup apply"}
    with opened(settings, quiet, **how) as (connected, schema):
        reverted = job.find(settings, connected, run, scope)

        def make(keep: bool) -> job.Rollback:
            shown = None if form == "json" else limit or None
            with terminal.progress("rollback") as progress:
                return job.make(settings, connected, reverted, scope, usual, keep, shown, progress)

        made = make(keep=yes and not dry_run)
        if not made.reasons and not made.rows and scope != job.Scope():
            raise TrueupError(
                f"run {reverted.short_id} has changed no row of this scope",
                "`stage_normalization_log` lists its changes. Write names as in the tables; the"
                " tenant `none` means the rows of no tenant.",
            )
        if form == "json":
            click.echo(job.as_json(made))
            return
        rollback_terminal.show(terminal.console(stderr=quiet), made, limit or None)
        if not made.rows:
            click.echo(job.nothing(settings, connected, made), err=quiet)
            return
        what = f"{terminal.counted(made.rows, 'row')} in {terminal.counted(made.batches, 'batch')}"
        if dry_run:
            click.echo(f"{what} would be restored. Nothing has been changed.")
            return
        question = (
            f"Roll back run {reverted.short_id}: restore {what}"
            f" of database {connected.info.dbname}?"
        )
        connected.rollback()  # no lock is held while waiting for the answer
        ask(yes, question)
        if not yes:  # rows may have changed in the meantime
            reverted = job.find(settings, connected, run, scope)
            made = make(keep=True)
            if not made.rows:
                click.echo(job.nothing(settings, connected, made), err=quiet)
                return
        stored = module.find(connected, schema, str(made.run_id), module.PLANNED)
        runner.set_pace(connected, schema, stored, module.PLANNED, **pace)
        connected.commit()
    click.echo(f"Rollback {stored.short_id} of run {reverted.short_id} begins.", err=quiet)
    try:
        carry_out(settings, stored, log_form, verbose, allow_blind_brakes)
    except TrueupError:
        # a later `apply` must not start a rollback that did not begin
        with suppress(TrueupError, psycopg.Error), connection.connect(settings) as connected:
            plan.close(settings, connected, stored, "cancelled", module.PLANNED)
            connected.commit()
        raise


COMMANDS: tuple[click.Command, ...] = (rollback,)
