"""The commands of in-place migrations: plan, apply, resume, pause, cancel, status, runs."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn

import click

from trueup.cli.base import FORMAT, LIMIT, YES, examples, opened, options
from trueup.cli.base import ask as _ask
from trueup.cli.base import settings as read_settings
from trueup.core import runs as ledger_runs
from trueup.core.errors import TrueupError
from trueup.show import terminal

STRIPES = {"auto": None, "off": 1, "2": 2, "4": 4, "8": 8, "16": 16, "32": 32, "64": 64}
PACES = ("conservative", "balanced", "aggressive")  # defined in the var migration


RUN = click.argument("run", required=False)


WORKERS = click.option("--workers", type=click.IntRange(1, 32),
                       help="Number of batches to process in parallel.")  # fmt: skip
SLEEP = click.option("--sleep-ms", type=click.IntRange(0), help="Pause per batch-size rows.")
TARGET = click.option("--target-ms", type=click.IntRange(1),
                      help="Wanted duration of a transaction; slower ones are cut.")  # fmt: skip
HASH_OTHERS = click.option("--hash-others", "compare_others", is_flag=True,
                           help="Record rows whose other columns change too.")  # fmt: skip
scope_options = options(
    click.option("--table", "tables", multiple=True, help="Only this table. May be repeated."),
    click.option("--column", "columns", multiple=True, help="Only columns of this name."),
    click.option("--tenant", "--fund-id", "tenants", multiple=True,
                 help="Only this tenant; none = rows without a tenant. May be repeated."),
)  # fmt: skip
# the var migration has their defaults
pace_options = options(
    click.option("--batch-size", type=click.IntRange(1, 100_000), help="Rows of one transaction."),
    click.option("--by", type=click.Choice(["key", "tenant"]), default="key", show_default=True,
                 help="Batches by key range, or by tenant."),
    WORKERS,
    click.option("--stripes", type=click.Choice(list(STRIPES)), default="auto", show_default=True,
                 help="Batches that share a key range, so that updates stay HOT; 1 by tenant."),
    SLEEP,
    TARGET,
    click.option("--pace", type=click.Choice(PACES),
                 help="Batch size and sleep at once, as the var migration has them."),
)  # fmt: skip
# of apply, resume and rollback
runner_options = options(
    WORKERS,
    SLEEP,
    TARGET,
    click.option("--max-quarantined", type=click.IntRange(0),
                 help="Stop the run if the database refuses more rows than this."),
    click.option("--durability", type=click.Choice(["run", "batch"]),
                 help="When commits wait for the disk: at the end of a range and of the run"
                      " (run), or always (batch).  [default: run]"),
    click.option("--allow-blind-brakes", is_flag=True,
                 help="Run although a brake cannot read its value."),
    YES,
    click.option("--log-format", type=click.Choice(["text", "json"]),
                 help="[default: LOG_FORMAT, else text]"),
    click.option("--verbose", is_flag=True, help="Log lines instead of a progress bar."),
)  # fmt: skip


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
def plan(form: str, all_values: bool, rehearse: bool, **more: Any) -> None:
    """Count what an in-place migration would change, and store it as a plan. Changes no
    application data.

    Shows per column what becomes of every value, what stays and why, and what endangers the run.
    `trueup apply` carries it out, within a day and while vocabulary and statements are the same.
    A plan of the same rows that was not applied is closed; a run that has changed some must end
    first.
    A rehearsal that finds an error ends with exit code 1; the plan is kept.
    """
    from trueup.migration import rehearsal, rehearsal_terminal, run_terminal

    made, rehearsed = _plan(quiet=form == "json", rehearse=rehearse, **more)
    if form == "json":
        click.echo(run_terminal.plan_json(made, rehearsed))
        sys.exit(1 if rehearsed and rehearsal.refusals(rehearsed) else 0)
    run_terminal.show_plan(terminal.console(), made, None if all_values else run_terminal.SHOWN)
    for event in run_terminal.plan_lines(made):
        click.echo(run_terminal.as_line(event))
    error = rehearsal_terminal.show(terminal.console(), rehearsed)
    short = str(made.run_id)[:8]
    if made.rows_planned:
        click.echo(
            f"Plan {short}: {terminal.counted(made.rows_promised, 'row')} in"
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
def apply(run: str | None, dry_run: bool, resume_: bool, **more: Any) -> None:
    """Carry out a plan: RUN, or the newest one that was not started.

    It works in short transactions, each with its audit. Ctrl-C stops it after the current batch; it
    may be killed at any moment. Exits with 1 if a planned row was not
    changed or the run was stopped.
    """

    if dry_run:
        refuse_on_dry_run(run=run, resume=resume_, **more)
        _dry_run()
    statuses = ledger_runs.UNFINISHED if resume_ else ledger_runs.PLANNED
    _work(run, statuses, verb="Resume" if resume_ else "Apply", **more)


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
def resume(run: str | None, **more: Any) -> None:
    """Continue a run that was paused, interrupted or killed, or that has failed batches.

    RUN, or the one that `trueup status` shows. What is done is not done again.
    """

    _work(run, ledger_runs.UNFINISHED, verb="Resume", **more)


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
    """Show the run that works or has stopped half way, else how the newest run ended."""
    from trueup.core import records
    from trueup.migration import run_terminal, runner

    how = {"writes": False, "autocommit": True}
    with opened(read_settings(), form == "json", **how) as (connected, schema):
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
    from trueup.core import records, statements
    from trueup.migration import run_terminal

    settings = read_settings()
    with opened(settings, form == "json", writes=False) as (connected, _):
        recent = statements.statement(settings, "run__recent")
        rows = records.rows(connected, recent, most=limit or None)
    if form == "json":
        click.echo(records.as_json(rows))
    elif rows:
        run_terminal.show_runs(terminal.console(), rows)
    else:
        click.echo("There is no run yet; `trueup plan` makes one.")


def _plan(quiet: bool, rehearse: bool, is_kept: bool = True, **given: Any) -> tuple[Any, Any]:
    """The plan, and its rehearsal or None."""
    from trueup.core import connection
    from trueup.migration import plan as job
    from trueup.migration import rehearsal, runner

    settings = read_settings()
    known = job.defaults(settings)
    rows, pause = job.named_pace(settings, given.get("pace") or "balanced")
    sleep_ms = given.get("sleep_ms")
    wanted = job.Pace(
        batch_size=given.get("batch_size") or rows,
        sleep_ms=pause if sleep_ms is None else sleep_ms,
        target_ms=given.get("target_ms") or known["target_ms"],
        stripes=STRIPES[given.get("stripes", "auto")],
        by_tenant=given.get("by") == "tenant",
        workers=given.get("workers") or known["workers"],
    )
    scope = job.Scope(*(given.get(name, ()) for name in ("tables", "columns", "tenants")))
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
    from trueup.migration import runner

    settings = read_settings()
    form = log_format or settings.log_format
    with opened(settings, form == "json", application_name="trueup apply") as (connected, schema):
        run = ledger_runs.find(connected, schema, wanted, statuses, command=verb.lower())
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
            run_terminal.say(form, run.run_id, rollback.left_alone(left_alone))
        run_terminal.say(form, run.run_id, run_terminal.ended(form, outcome))
        if form != "json":
            run_terminal.show_outcome(terminal.console(), outcome, run.short_id)
    except BrokenPipeError:
        _nobody_reads(f"run {run.short_id} is {outcome.status}")
    if drops and outcome.status == "completed":
        words = "The index of rows that need work costs HOT updates. If no other run needs it:"
        click.echo("\n".join([words, *drops]), err=True)
    sys.exit(0 if outcome.status == "completed" else 1)


def refuse_on_dry_run(**given: Any) -> None:
    """TrueupError for options of a run that will not take place."""
    if nonsense := [
        "RUN" if name == "run" else f"--{name.replace('compare', 'hash').replace('_', '-')}"
        for name, value in given.items()
        if name != "yes" and value is not None and value is not False
    ]:
        raise TrueupError(
            f"--dry-run changes nothing, so it has no use for {', '.join(nonsense)}",
            "Leave it out; `trueup plan` has all options of a plan.",
        )


def _request(wanted: str | None, status: str, statuses: tuple[str, ...], yes: bool = True) -> None:
    from trueup.migration import plan as job

    settings = read_settings()
    with opened(settings) as (connected, schema):
        verb = "Cancel" if status == "cancelled" else "Pause"
        first = (*ledger_runs.OPEN, *ledger_runs.PLANNED)
        run = ledger_runs.find(connected, schema, wanted, statuses, first, verb.lower())
        connected.rollback()  # nothing is held while a person thinks
        _ask(yes, f"{verb} run {run.short_id}, which is {run.status}?")
        holder = ledger_runs.request(connected, schema, run, status, statuses)
        if holder is None:
            job.close(settings, connected, run, status, statuses)
        connected.commit()
    if holder:
        click.echo(f"{holder} will stop after its current batch; `trueup status` shows it.")
    else:
        click.echo(f"Nobody works on run {run.short_id}; it is {status} now.")


def _dry_run() -> NoReturn:
    from trueup.migration import rehearsal_terminal, run_terminal

    made, rehearsed = _plan(quiet=False, is_kept=False, rehearse=True)
    run_terminal.show_plan(terminal.console(), made, run_terminal.SHOWN)
    error = rehearsal_terminal.show(terminal.console(), rehearsed)
    click.echo(
        f"{terminal.counted(made.rows_planned, 'row')} would change in"
        f" {terminal.counted(made.batches, 'batch')}. Nothing has been changed, and no plan was"
        " kept: `trueup plan` makes one."
    )
    sys.exit(1 if error else 0)


def _nobody_reads(what: str) -> NoReturn:
    """End a command whose output was closed."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        click.echo(f"Error: the output was closed: {what}", err=True)
    sys.exit(1)


COMMANDS: tuple[click.Command, ...] = (plan, apply, resume, pause, cancel, status, runs)
