"""The commands of the guard: new writes stay clean, in steps that data allows."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from trueup.cli.base import FORMAT, YES, ask, examples, opened
from trueup.cli.base import settings as read_settings
from trueup.core.errors import TrueupError
from trueup.show import terminal

MODES = ("off", "normalize", "warn", "enforce")
COLUMNS = click.argument("columns", nargs=-1, metavar="[COLUMN]...")
REASON = click.option("--reason", metavar="TEXT", help="Why; kept in the history of the mode.")
OVERRIDE = click.option("--override", is_flag=True,
                        help="Raise the mode without a gate; needs --reason.")  # fmt: skip


@click.group()
@examples("""
trueup guard install companies.status
trueup guard status
trueup guard seal companies.status --override --reason "enforced for two weeks"
""")
def guard() -> None:
    """Keep a column clean: triggers that count, warn, rewrite or refuse, and a CHECK at last.

    A COLUMN is named as column, table.column or schema.table.column.
    """


@guard.command()
@click.argument("column", required=False)
@FORMAT
@examples("""
trueup guard status
trueup guard status companies.status
trueup guard status --format json
""")
def status(column: str | None, form: str) -> None:
    """Show where each column stands: mode, since when, violations of a day, the next step.

    With a COLUMN also who would feel each step of enforcement, and who writes what. Exit code 1 if
    a guard is not what its seeds and its mode ask for.
    """
    from trueup.core import records, statements
    from trueup.findings import failed
    from trueup.guard import guard as job
    from trueup.guard import guard_terminal as show

    settings = read_settings()
    with opened(settings, form == "json", writes=False) as (connected, _):
        own = statements.statements(settings)
        scope = job.scopes(settings, connected, [column])[0] if column else None
        found: dict[str, Any] = {
            "scopes": records.rows(connected, own["guard__status"], scope=scope)
        }
        if scope:
            found["steps"] = records.rows(connected, own["guard__blast_radius"], scope=scope)
            found["writers"] = records.rows(connected, own["guard__writers"], scope=scope, most=20)
        findings = job.findings(settings, connected, scope)
    if form == "json":
        found["findings"] = [vars(finding) for finding in findings]
        click.echo(records.as_json(found))
    else:
        show.show_status(terminal.console(), found, findings)
    sys.exit(1 if failed(findings) else 0)


@guard.command()
@COLUMNS
@examples("""
trueup guard install
trueup guard install companies.status deals.status
""")
def install(columns: tuple[str, ...]) -> None:
    """Install the triggers, or bring them up to the seeds; without COLUMN for all managed columns.

    The owner of the table runs this. A writer waits for the lock a second at most; then it is tried
    again. The mode stays; a column without one has the default of TRUEUP_ENV, or what
    STAGE_VALIDATION_MODE, ENFORCEMENT_PERCENT, ENFORCE_WRITE_ONLY and STAGE_VALIDATION_DRY_RUN say.
    """
    from trueup.guard import guard as job

    settings = read_settings()
    with opened(settings) as (connected, _):
        job.findings(settings, connected)  # a wrong variable stops it
        for scope in job.scopes(settings, connected, columns):
            done = job.install(settings, connected, scope, click.echo, settings.environment)
            click.echo(f"{scope}: {done}")


@guard.command()
@click.argument("column")
@REASON
@OVERRIDE
@examples("""
trueup guard seal companies.status --override --reason "enforced for two weeks"
""")
def seal(column: str, reason: str | None, override: bool) -> None:
    """Replace the triggers of a column by a validated CHECK, which no mode switches off.

    Refused while rows are left that the CHECK would refuse. After a change of the vocabulary the
    same command puts a new CHECK in the place of the old one.
    """
    from trueup.guard import guard as job

    settings = read_settings()
    with opened(settings) as (connected, _):
        (scope,) = job.scopes(settings, connected, [column], installed=True)
        connected.rollback()
        _say(job.seal(settings, connected, scope, reason, override, click.echo))


@guard.command()
@COLUMNS
@click.option("--all", "of_all", is_flag=True, help="Every column that has a guard.")
@REASON
@YES
@examples("""
trueup guard drop companies.status --reason "the import is repaired first"
trueup guard drop --all --yes
""")
def drop(columns: tuple[str, ...], of_all: bool, reason: str | None, yes: bool) -> None:
    """Drop the triggers and the CHECK; the mode becomes off. The way out."""
    from trueup.guard import guard as job

    if bool(columns) == of_all:
        raise TrueupError("name the columns, or give --all")
    settings = read_settings()
    with opened(settings) as (connected, _):
        found = job.scopes(settings, connected, columns, installed=True)
        connected.rollback()
        ask(yes, f"Drop the guard of {', '.join(found) or 'no column'}?")
        for scope in found:
            job.drop(settings, connected, scope, reason, click.echo)
            click.echo(f"{scope}: the guard is dropped")


@guard.command()
@click.option("--every", type=click.IntRange(1, 3600), metavar="SECONDS",
              help="Go on, once in so many seconds, until interrupted.")  # fmt: skip
@FORMAT
@examples("""
trueup guard tick
trueup guard tick --every 60
""")
def tick(every: int | None, form: str) -> None:
    """Count what was written, warned and refused since the last tick; run it once a minute.

    By cron, a systemd timer, pg_cron (`select trueup_ledger.guard_tick()`), or with --every.
    """
    from trueup.core import records, statements
    from trueup.guard import guard_terminal as show

    settings = read_settings()
    while True:
        with opened(settings, form == "json") as (connected, _):
            found = records.rows(connected, statements.statement(settings, "guard__tick"))
            connected.commit()
        if form == "json":
            click.echo(records.as_json(found))
        else:
            show.show_rows(terminal.console(), found)
        if not every:
            return
        time.sleep(every)


@click.group()
@examples("""
trueup mode get
trueup mode set companies.status warn --override --reason "first look"
""")
def mode() -> None:
    """The modes of columns and endpoints, and their history."""


@mode.command("get")
@click.argument("scope", required=False)
@click.option("--history", is_flag=True, help="Every change, also the refused ones.")
@FORMAT
@examples("""
trueup mode get
trueup mode get companies.status --history
""")
def mode_get(scope: str | None, history: bool, form: str) -> None:
    """Show where each scope stands, or the history of its mode."""
    from trueup.core import records, statements
    from trueup.guard import guard as job
    from trueup.guard import guard_terminal as show

    settings = read_settings()
    with opened(settings, form == "json", writes=False) as (connected, _):
        own = statements.statements(settings)
        chosen = job.scopes(settings, connected, [scope])[0] if scope else None
        if history:
            found = records.rows(connected, own["guard__history"], scope=chosen, most=100)
        else:
            found = records.rows(connected, own["guard__status"], scope=chosen)
    if form == "json":
        click.echo(records.as_json(found))
    else:
        show.show_scopes(terminal.console(), found)


@mode.command("set")
@click.argument("scope")
@click.argument("new_mode", metavar="MODE", type=click.Choice(MODES))
@click.option("--percent", type=click.FloatRange(0, 100, min_open=True),
              help="For enforce: the share of the tenants.")  # fmt: skip
@click.option("--shadow/--no-shadow", default=None,
              help="Refuse nothing, record what would be refused.")  # fmt: skip
@click.option("--write-only/--no-write-only", default=None,
              help="In warn, enforce for writes; in enforce, only warn for reads.")  # fmt: skip
@click.option("--expect-version", type=int, metavar="N",
              help="Only if this is still the version that `mode get` shows.")  # fmt: skip
@REASON
@OVERRIDE
@examples("""
trueup mode set companies.status off --reason "noise"
trueup mode set companies.status enforce --percent 10 --override --reason "canary"
trueup mode set deals.status normalize --override --reason "while it migrates"
""")
def mode_set(
    scope: str, new_mode: str, percent: float | None, shadow: bool | None,
    write_only: bool | None, expect_version: int | None, reason: str | None, override: bool,
) -> None:  # fmt: skip
    """Change the mode of a scope. To lower it is always allowed; to raise it needs --override.

    A change that is refused is kept in the history, too; exit code 1. If the mode begins or ends to
    be normalize, the triggers are changed as well, which the owner of the table may do.
    """
    from trueup.guard import guard as job

    settings = read_settings()
    with opened(settings) as (connected, _):
        (chosen,) = job.scopes(settings, connected, [scope])
        outcome = job.set_mode(
            settings, connected, chosen, new_mode, percent, shadow, expect_version, reason,
            override, write_only,
        )  # fmt: skip
        connected.commit()
        _say(outcome)
        job.fit(settings, connected, chosen, click.echo)


def _say(finding: Any) -> None:
    """What became of a mode; exit code 1 if it was refused."""
    if finding.status == "ok":
        click.echo(f"{finding.subject}: {finding.message}")
        return
    click.echo(f"{finding.subject}: {finding.message}", err=True)
    if finding.remedy:
        click.echo(finding.remedy, err=True)
    sys.exit(1)


COMMANDS: tuple[click.Command, ...] = (guard, mode)
