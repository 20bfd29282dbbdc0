"""The commands of in-place migrations: plan, apply, resume, pause, cancel, status, runs."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn

import click

from trueup.cli.base import FORMAT, LIMIT, YES, Command, examples
from trueup.cli.base import ask as _ask
from trueup.cli.base import settings as read_settings
from trueup.core import runs as ledger_runs
from trueup.core.errors import TrueupError
from trueup.show import terminal

PACES = ("conservative", "balanced", "aggressive")  # defined in the var migration


class Stripes(click.ParamType[int | None]):
    """auto, off, or a power of two."""

    name = "auto|off|N"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | None:
        if value is None or value == "auto" or isinstance(value, int):
            return None if value == "auto" else value
        if value == "off":
            return 1
        if value.isdigit() and 1 <= int(value) <= 64 and int(value) & (int(value) - 1) == 0:
            return int(value)
        return self.fail(f"{value!r} is not auto, off, or a power of two up to 64", param, ctx)


RUN = click.argument("run", required=False)


def scope_options(command: Command) -> Command:
    """--table, --column and --tenant."""
    for option in (
        click.option("--tenant", "--fund-id", "tenants", multiple=True,
                     help="Only this tenant; none = rows without a tenant. May be repeated."),
        click.option("--column", "columns", multiple=True, help="Only columns of this name."),
        click.option("--table", "tables", multiple=True, help="Only this table. May be repeated."),
    ):  # fmt: skip
        command = option(command)
    return command


def pace_options(command: Command) -> Command:
    """--batch-size, --stripes, --sleep-ms, --target-ms, --pace; defaults: the var migration."""
    for option in (
        click.option("--pace", type=click.Choice(PACES),
                     help="Batch size and sleep at once, as the var migration has them."),
        click.option("--target-ms", type=click.IntRange(1),
                     help="Wanted duration of a transaction; slower ones are cut in two."),
        click.option("--sleep-ms", type=click.IntRange(0), help="Pause per batch-size rows."),
        click.option("--stripes", type=Stripes(), default="auto", show_default=True,
                     help="Batches that share a key range, so that updates stay HOT."),
        click.option("--workers", type=click.IntRange(1, 32),
                     help="Number of batches to process in parallel."),
        click.option("--by", type=click.Choice(["key", "tenant"]), default="key",
                     show_default=True,
                     help="Batches by key range, or by tenant."),
        click.option("--batch-size", type=click.IntRange(1, 100_000),
                     help="Rows of one transaction."),
    ):  # fmt: skip
        command = option(command)
    return command


HASH_OTHERS = click.option(
    "--hash-others",
    "compare_others",
    is_flag=True,
    help="Record rows whose other columns change with the managed one.",
)


def runner_options(command: Command) -> Command:
    """Shared options of apply and resume: --sleep-ms to --verbose."""
    for option in (
        click.option("--verbose", is_flag=True, help="Log lines instead of a progress bar."),
        click.option("--log-format", type=click.Choice(["text", "json"]),
                     help="[default: LOG_FORMAT, else text]"),
        YES,
        click.option("--allow-blind-brakes", is_flag=True,
                     help="Run although a brake cannot read its value."),
        click.option("--max-quarantined", type=click.IntRange(0),
                     help="Stop the run if the database refuses more rows than this."),
        click.option("--target-ms", type=click.IntRange(1),
                     help="Wanted duration of a transaction."),
        click.option("--sleep-ms", type=click.IntRange(0), help="Pause per batch-size rows."),
        click.option("--workers", type=click.IntRange(1, 32),
                     help="Number of batches to process in parallel."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@scope_options
@pace_options
@FORMAT
@click.option("--all-values", is_flag=True, help="Show every spelling and every tenant.")
@click.option("--rehearse", is_flag=True,
              help="Try one batch of each column, roll it back, estimate a run.")  # fmt: skip
@examples("""
trueup plan
trueup plan --rehearse
trueup plan --table companies --tenant 7 --tenant none
trueup plan --pace conservative
trueup plan --format json > plan.json
""")
def plan(form: str, all_values: bool, rehearse: bool, **options: Any) -> None:
    """Count what an in-place migration would change, and store it as a plan. Changes no
    application data.

    Shows per column what becomes of every value, what stays and why, and what endangers the run.
    `trueup apply` carries it out, within a day and while vocabulary and statements are the same.
    A rehearsal that finds an error ends with exit code 1; the plan is kept.
    """
    from trueup.migration import run_terminal

    made, rehearsed = _plan(quiet=form == "json", rehearse=rehearse, **options)
    if form == "json":
        click.echo(run_terminal.plan_json(made, rehearsed))
        sys.exit(1 if rehearsed and rehearsed.refusals else 0)
    _show_plan(made, None if all_values else run_terminal.SHOWN)
    error = _show_rehearsal(rehearsed)
    short = str(made.run_id)[:8]
    if made.rows_planned:
        click.echo(
            f"Plan {short}: {terminal.counted(made.rows_planned, 'row')} in"
            f" {terminal.counted(made.batches, 'batch')}."
            f" Nothing has been changed. `trueup apply {short}` carries it out."
        )
    else:
        click.echo(f"Plan {short}: nothing to change, and nothing to apply.")
    sys.exit(1 if error else 0)


@click.command()
@RUN
@click.option("--dry-run", is_flag=True,
              help="Make and rehearse a plan, and keep nothing of it.")  # fmt: skip
@click.option("--resume", "resume_", is_flag=True, help="As `trueup resume`.")
@HASH_OTHERS
@runner_options
@examples("""
trueup apply
trueup apply 3f2a91c0 --yes
trueup apply --sleep-ms 0 --log-format json
trueup apply --dry-run
""")
def apply(run: str | None, dry_run: bool, resume_: bool, **options: Any) -> None:
    """Carry out a plan: RUN, or the newest one that was not started.

    It works in short transactions, each with its audit. Ctrl-C stops it after the current batch; it
    may be killed at any moment. Exits with 1 if a planned row was not
    changed or the run was stopped.
    """

    if dry_run:
        refuse_on_dry_run(run=run, resume=resume_, **options)
        _dry_run()
    statuses = ledger_runs.UNFINISHED if resume_ else ledger_runs.PLANNED
    _work(run, statuses, verb="Resume" if resume_ else "Apply", **options)


@click.command()
@RUN
@click.option("--resume-from", metavar="KEY", help="Skip keys up to KEY, in one table.")
@click.option("--table", help="The table of --resume-from.")
@HASH_OTHERS
@runner_options
@examples("""
trueup resume
trueup resume 3f2a91c0
trueup resume --resume-from 250000 --table companies
""")
def resume(run: str | None, **options: Any) -> None:
    """Continue a run that was paused, interrupted or killed, or that has failed batches.

    RUN, or the newest unfinished one. What is done is not done again.
    """

    _work(run, ledger_runs.UNFINISHED, verb="Resume", **options)


@click.command()
@RUN
@examples("""
trueup pause
trueup pause 3f2a91c0
""")
def pause(run: str | None) -> None:
    """Ask the runner to stop after its current batch; `trueup resume` continues the run."""
    _request(run, "paused", ("running",))


@click.command()
@RUN
@YES
@examples("""
trueup cancel 3f2a91c0
""")
def cancel(run: str | None, yes: bool) -> None:
    """Close a run for good. Its changes stay in place and audited."""

    _request(run, "cancelled", (*ledger_runs.PLANNED, *ledger_runs.UNFINISHED), yes=yes)


@click.command()
@click.option("--watch", is_flag=True, help="Show it again every second while it waits or runs.")
@FORMAT
@examples("""
trueup status
trueup status --watch
trueup status --format json
""")
def status(watch: bool, form: str) -> None:
    """Show the newest unfinished run; if there is none, how the newest run ended."""
    from trueup.core import connection, ledger, records
    from trueup.migration import run_terminal, runner

    settings = read_settings()
    schema = ledger.schema(settings)
    with connection.connect(settings, writes=False, autocommit=True) as connected:
        click.echo(connection.describe(connected, settings), err=form == "json")
        ledger.check(connected, schema, settings)
        while True:
            found = runner.status(connected, schema)
            if found is None:
                click.echo("There is no run yet; `trueup plan` makes one.")
                return
            progress, controls = found
            if form == "json":
                shown = {**progress, "columns": controls}
                click.echo(records.as_json(shown, indent=None if watch else 2))
            else:
                if watch and sys.stdout.isatty():
                    click.clear()
                run_terminal.show_status(terminal.console(), progress, controls)
            waits = progress["status"] in ledger_runs.PLANNED
            if not watch or not (waits or any(control["is_held"] for control in controls)):
                return
            time.sleep(1)


@click.command()
@FORMAT
@LIMIT
@examples("""
trueup runs
trueup runs --limit 0 --format json
""")
def runs(form: str, limit: int) -> None:
    """List plans and runs, newest first."""
    from trueup.core import connection, ledger, records, statements
    from trueup.migration import run_terminal

    settings = read_settings()
    schema = ledger.schema(settings)
    with connection.connect(settings, writes=False) as connected:
        ledger.check(connected, schema, settings)
        recent = statements.statement(settings, "runs__recent")
        rows = records.rows(connected, recent, most=limit or None)
        click.echo(connection.describe(connected, settings), err=form == "json")
    if form == "json":
        click.echo(records.as_json(rows))
    elif rows:
        run_terminal.show_runs(terminal.console(), rows)
    else:
        click.echo("There is no run yet; `trueup plan` makes one.")


def _plan(
    quiet: bool,
    tables: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    tenants: tuple[str, ...] = (),
    batch_size: int | None = None,
    stripes: int | None = None,
    sleep_ms: int | None = None,
    target_ms: int | None = None,
    pace: str | None = None,
    by: str = "key",
    workers: int | None = None,
    is_kept: bool = True,
    rehearse: bool = False,
) -> tuple[Any, Any]:
    """The plan, and its rehearsal or None."""
    from trueup.core import connection
    from trueup.migration import plan as job
    from trueup.migration import rehearsal, runner

    settings = read_settings()
    known = job.defaults(settings)
    rows, pause = job.named_pace(settings, pace or "balanced")
    wanted = job.Pace(
        batch_size=batch_size or rows,
        sleep_ms=pause if sleep_ms is None else sleep_ms,
        target_ms=target_ms or known["target_ms"],
        stripes=stripes,
        by_tenant=by == "tenant",
        workers=workers or known["workers"],
    )
    scope = job.Scope(tables, columns, tenants)
    job.entries(settings, scope)  # a wrong name is said before anything is compiled
    rehearsed = None
    with connection.connect(settings, application_name="trueup plan") as connected:
        click.echo(connection.describe(connected, settings), err=quiet)
        with terminal.progress("plan") as progress:
            made = job.make(settings, connected, scope, wanted, progress, is_kept)
        if rehearse:
            with terminal.progress("rehearse") as progress:
                rehearsed = rehearsal.rehearse(settings, connected, made, wanted, progress, is_kept)
        if is_kept:
            runner.close_empty(settings, connected, made)
    return made, rehearsed


def _work(
    wanted: str | None,
    statuses: tuple[str, ...],
    verb: str,
    yes: bool,
    log_format: str | None,
    verbose: bool,
    allow_blind_brakes: bool = False,
    resume_from: str | None = None,
    table: str | None = None,
    **pace: Any,
) -> None:
    from trueup.core import connection, ledger
    from trueup.migration import runner

    settings = read_settings()
    form = log_format or settings.log_format
    schema = ledger.schema(settings)
    with connection.connect(settings, application_name="trueup apply") as connected:
        click.echo(connection.describe(connected, settings), err=form == "json")
        ledger.check(connected, schema, settings)
        run = ledger_runs.find(connected, schema, wanted, statuses, ledger_runs.OPEN, verb.lower())
        runner.check(settings, connected, run)
        totals = runner.totals(connected, run)
        database = connected.info.dbname
        connected.rollback()  # nothing is held while a person thinks
        rows = max(totals["rows_planned"] - totals["rows_updated"], 0)
        batches = totals["total_batches"] - totals["completed_batches"]
        _ask(
            yes,
            f"{verb} {run.record['words']['noun']} {run.short_id}:"
            f" change {terminal.counted(rows, 'row')} in"
            f" {terminal.counted(batches, 'batch')} of database {database}?",
        )
        if not yes:  # much may have happened meanwhile
            run = ledger_runs.find(connected, schema, str(run.run_id), statuses)
            runner.check(settings, connected, run)
            totals = runner.totals(connected, run)
        runner.set_pace(connected, schema, run, statuses, **pace)
        if resume_from is not None:
            touched = runner.skip_to(connected, run, table, resume_from)
            click.echo(
                f"{terminal.counted(touched, 'batch')} skipped or shortened", err=form == "json"
            )
        connected.commit()
    carry_out(settings, run, form, verbose, allow_blind_brakes)


def carry_out(
    settings: Any, run: Any, form: str, verbose: bool, allow_blind_brakes: bool
) -> NoReturn:
    """Run the batches of a run that is stored, show it, and end with its exit code.

    form: text or json.
    """
    from trueup.core import connection
    from trueup.migration import engine, rollback, run_terminal, runner

    with connection.connect(settings) as connected:
        places = runner.columns(connected, run)
        indexes = runner.pending_indexes(connected, run, places)
    drops = [drop for row in indexes.values() for drop in row["drop_statements"]]
    try:
        with run_terminal.reporter(form, verbose, places, run.run_id) as report:
            outcome = runner.work(settings, run, report, allow_blind_brakes)
    except engine.LeaseLost:
        click.echo(
            f"Error: another runner has taken run {run.short_id} over; what was done is done.\n"
            "`trueup status` shows who works on it.",
            err=True,
        )
        sys.exit(1)
    except BrokenPipeError:
        _nobody_reads(f"run {run.short_id} is interrupted; `trueup resume {run.short_id}` goes on")
    try:
        if left_alone := outcome.totals["conflicts"]:
            event = rollback.left_alone(left_alone)
            shown = (
                run_terminal.as_json(event, run.run_id)
                if form == "json"
                else run_terminal.as_line(event)
            )
            click.echo(shown)
        if form == "json":
            click.echo(run_terminal.as_json(run_terminal.verdict(outcome), run.run_id))
        else:
            click.echo(run_terminal.as_line(run_terminal.completed(outcome)))
            run_terminal.show_outcome(terminal.console(), outcome, run.short_id)
    except BrokenPipeError:
        _nobody_reads(f"run {run.short_id} is {outcome.status}")
    if drops and outcome.status == "completed":
        words = "The index of rows that need work costs HOT updates. If no other run needs it:"
        click.echo("\n".join([words, *drops]), err=True)
    sys.exit(0 if outcome.status == "completed" else 1)


def refuse_on_dry_run(**options: Any) -> None:
    """TrueupError for options of a run that will not take place."""
    if nonsense := [
        "RUN" if name == "run" else f"--{name.replace('compare', 'hash').replace('_', '-')}"
        for name, value in options.items()
        if name != "yes" and value is not None and value is not False
    ]:
        raise TrueupError(
            f"--dry-run changes nothing, so it has no use for {', '.join(nonsense)}",
            "Leave it out; `trueup plan` has all options of a plan.",
        )


def _request(wanted: str | None, status: str, statuses: tuple[str, ...], yes: bool = True) -> None:
    from trueup.core import connection, ledger
    from trueup.migration import runner

    settings = read_settings()
    schema = ledger.schema(settings)
    with connection.connect(settings) as connected:
        click.echo(connection.describe(connected, settings))
        ledger.check(connected, schema, settings)
        verb = "Cancel" if status == "cancelled" else "Pause"
        run = ledger_runs.find(connected, schema, wanted, statuses, ledger_runs.OPEN, verb.lower())
        connected.rollback()  # nothing is held while a person thinks
        _ask(yes, f"{verb} run {run.short_id}, which is {run.status}?")
        holder = ledger_runs.request(connected, schema, run, status, statuses)
        if holder is None:
            runner.close(settings, connected, run, status, statuses)
        connected.commit()
    if holder:
        click.echo(f"{holder} will stop after its current batch; `trueup status` shows it.")
    else:
        click.echo(f"Nobody works on run {run.short_id}; it is {status} now.")


def _dry_run() -> NoReturn:
    from trueup.migration import run_terminal

    made, rehearsed = _plan(quiet=False, is_kept=False, rehearse=True)
    run_terminal.show_plan(terminal.console(), made, run_terminal.SHOWN)
    error = _show_rehearsal(rehearsed)
    click.echo(
        f"{terminal.counted(made.rows_planned, 'row')} would change in"
        f" {terminal.counted(made.batches, 'batch')}. Nothing has been changed, and no plan was"
        " kept: `trueup plan` makes one."
    )
    sys.exit(1 if error else 0)


def _show_plan(made: Any, limit: int | None) -> None:
    from trueup.migration import run_terminal

    run_terminal.show_plan(terminal.console(), made, limit)
    for event in run_terminal.plan_lines(made):
        click.echo(run_terminal.as_line(event))


def _show_rehearsal(rehearsed: Any) -> bool:
    """Show it if there is one; returns whether it found an error."""
    from trueup.migration import rehearsal_terminal

    if rehearsed is None:
        return False
    rehearsal_terminal.show(terminal.console(), rehearsed)
    if verdict := rehearsal_terminal.verdict(rehearsed):
        click.echo(verdict, err=True)
    return verdict is not None


def _nobody_reads(what: str) -> NoReturn:
    """End a command whose output was closed."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        click.echo(f"Error: the output was closed: {what}", err=True)
    sys.exit(1)


COMMANDS: tuple[click.Command, ...] = (plan, apply, resume, pause, cancel, status, runs)
