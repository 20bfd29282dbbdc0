"""The second half of `trueup demo`: the columns themselves, changed in place and rolled back.

Plan, rehearsal, apply, verification, the edit of a user, and a rollback that spares it. What is
said at the end was looked up: the columns are compared with what they were before the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql
from rich.console import Console
from rich.markup import escape

from trueup.core import config, connection, ledger, runs
from trueup.core.connection import Connection
from trueup.core.settings import Settings
from trueup.migration import (
    engine,
    plan,
    rehearsal,
    rehearsal_terminal,
    report,
    report_page,
    rollback,
    run_terminal,
    runner,
)
from trueup.show import page, terminal
from trueup.verification import check_page, check_tables, store, verify

# in the state folder: what a page is about → its name
PAGES = {"the verification": "demo-verification.html", "the run, to sign off": "demo-run.html"}
OFFENDERS = 3  # shown per check
# predictions that are shown, by their unit: a value in words
WORDS: dict[str, Callable[[float], str]] = {
    "rows": lambda value: f"{value:,.0f}",
    "bytes": rehearsal_terminal.size,
    "share": lambda value: f"{100 * value:.1f} %",
}

Place = tuple[str, str]  # table, column


@dataclass(frozen=True)
class Edit:
    """What a user makes of a row after the run has changed it.

    before:  what it was before the run; written: by the run; now: by the user
    """

    entry: Mapping[str, Any]
    row_key: str
    before: str
    written: str
    now: str

    @property
    def place(self) -> Place:
        """Table and column."""
        return self.entry["table"], self.entry["column"]


def run(settings: Settings) -> tuple[bool, dict[str, Path]]:
    """Whether everything was as promised, and the pages: what about → where; none without a change.

    settings: of the embedded server, on which the sample was loaded and dbt has built the models.
    """
    out = terminal.console()
    made, rehearsed = _plan(settings)
    out.print("In place, in short transactions: plan, rehearse, apply, verify, roll back\n")
    run_terminal.show_plan_summary(out, made)
    out.print()
    if not made.rows_planned:
        with connection.connect(settings) as connected:
            runner.close_empty(connected, ledger.schema(settings), made)
        out.print("Nothing to change, and nothing to roll back.\n")
        return True, {}
    _show_rehearsal(out, rehearsed)
    edit = _edit_of(settings, made)
    with connection.connect(settings, superuser=True, autocommit=True) as connected:
        connected.execute("checkpoint")  # what was predicted assumes one
    with connection.connect(settings, writes=False) as connected:
        before = _digests(settings, connected, edit)
    outcome = _work(settings, made.run_id)
    run_terminal.show_outcome(out, outcome, str(made.run_id)[:8])
    out.print()
    pages = {about: settings.state / name for about, name in PAGES.items()}
    verification, run_page = pages.values()
    verified = _verify(settings, out, made, verification)
    _report(settings, out, made, run_page)
    out.print()
    if outcome.status != "completed":  # such a run is resumed, not rolled back
        return False, pages
    with connection.connect(settings) as connected:
        _write(settings, connected, edit)
    out.print(
        f"A user edits row {edit.row_key} of {'.'.join(edit.place)}: the run made"
        f" {terminal.visible(edit.written)} of {terminal.visible(edit.before)},"
        f" now it is {terminal.visible(edit.now)}\n",
        markup=False,
        soft_wrap=True,
    )
    is_spared = _roll_back(settings, out, made, edit, before)
    return verified and is_spared and not rehearsed.refusals, pages


def _plan(settings: Settings) -> tuple[plan.Plan, rehearsal.Rehearsal]:
    """Without pauses: nobody else works on the sample."""
    schema = ledger.schema(settings)
    pace = _pace(settings)
    with (
        connection.connect(settings) as connected,
        rehearsal.alone(settings, plan.entries(settings, plan.Scope())),
    ):
        for old in runs.unfinished(connected, schema):  # of a sample that is gone
            runner.close(connected, schema, old, "cancelled")
        connected.commit()
        with terminal.progress("plan") as progress:
            made = plan.make(settings, connected, plan.Scope(), pace, progress)
        with terminal.progress("rehearse") as progress:
            return made, rehearsal.rehearse(settings, connected, made, pace, progress)


def _work(settings: Settings, run_id: Any) -> engine.Outcome:
    """Carry out a run that is stored."""
    schema = ledger.schema(settings)
    with connection.connect(settings, writes=False) as connected:
        stored = runs.find(connected, schema, str(run_id), runs.PLANNED)
        places = runner.columns(connected, schema, stored)
    with run_terminal.bars(places) as tell:
        return runner.work(settings, stored, tell)


def _show_rehearsal(out: Console, rehearsed: rehearsal.Rehearsal) -> None:
    """One line per column; at length where the database refused something."""
    if rehearsed.refusals:
        rehearsal_terminal.show(out, rehearsed)
        out.print(rehearsal_terminal.verdict(rehearsed), soft_wrap=True)
        return
    headings = ("rehearsed: one batch, rolled back", "changed", "ms", "changes too", "log", "HOT")
    table = terminal.new_table(*headings, right=(1, 2, 4, 5))
    for column in rehearsed.columns:
        tried, predicted = column.tryout, column.prediction
        others = [each.column_name for each in tried.other_columns] if tried else []
        table.add_row(
            escape(f"{column.table_name}.{column.column_name}"),
            f"{tried.rows_changed:,}" if tried else "–",
            f"{tried.duration_ms:,.0f}" if tried and tried.duration_ms is not None else "–",
            escape(", ".join(others)),
            rehearsal_terminal.size(predicted.wal_bytes) if predicted else "–",
            WORDS["share"](predicted.hot_share) if predicted else "–",
        )
    out.print(table)
    out.print()


def _verify(settings: Settings, out: Console, made: plan.Plan, path: Path) -> bool:
    """Show the checks, keep them in the ledger and as a page; whether none failed."""
    with connection.connect(settings, writes=False) as connected:
        found = verify.run(settings, connected, str(made.run_id))
    document = verify.as_dict(found)
    check_tables.show(out, document, OFFENDERS)
    check_tables.show_verdict(out, document)
    out.print()
    with connection.connect(settings) as connected:
        store.store(connected, ledger.schema(settings), document)
    page.write(path, check_page.build(document))
    return not found.failed()


def _report(settings: Settings, out: Console, made: plan.Plan, path: Path) -> None:
    """The page, and what the rehearsal foresaw beside what came."""
    with connection.connect(settings, writes=False) as connected:
        found = report.make(
            settings,
            connected,
            str(made.run_id),
            lambda run: verify.summary(settings, connected, run),
        )
    page.write(path, report_page.build(found))
    compared = [each for each in found.predictions if each.unit in WORDS]
    table = terminal.new_table("", *(each.what for each in compared), right=range(1, 4))
    for who, values in (
        ("the rehearsal foresaw", [each.predicted for each in compared]),
        ("the run took", [each.real for each in compared]),
    ):
        words = [
            "–" if value is None else WORDS[each.unit](value)
            for each, value in zip(compared, values, strict=True)
        ]
        table.add_row(who, *words)
    out.print(table)


def _roll_back(
    settings: Settings, out: Console, made: plan.Plan, edit: Edit, before: dict[Place, str]
) -> bool:
    """Take the run back; whether all came back but the user's edit, which stayed."""
    schema = ledger.schema(settings)
    with connection.connect(settings) as connected:
        reverted = rollback.find(connected, schema, str(made.run_id))
        with terminal.progress("rollback") as progress:
            back = rollback.make(settings, connected, reverted, rollback.Scope(), _pace(settings),
                                 keep=True, progress=progress)  # fmt: skip
    outcome = _work(settings, back.run_id)
    with connection.connect(settings, writes=False) as connected:
        left = _conflicts(connected, schema, back.run_id)
        after = _digests(settings, connected, edit)
        now = _read(settings, connected, edit)
    restored = terminal.counted(outcome.totals["rows_updated"], "row")
    out.print(
        f"Rollback of run {reverted.short_id}: {restored} restored in {outcome.seconds:.1f} s,"
        f" {len(left):,} left alone"
    )
    table = terminal.new_table("row", "before the run", "the run wrote", "now", "reason")
    for where, *values in left:
        table.add_row(*(escape(terminal.visible(each)) for each in (" ".join(where), *values)))
    out.print(table)
    wrong = [".".join(place) for place in before if before[place] != after[place]]
    row = [".".join(edit.place), edit.row_key]
    is_spared = left == [(row, edit.before, edit.written, edit.now, "edited")] and now == edit.now
    is_restored = outcome.status == "completed" and not wrong
    short = str(back.run_id)[:8]
    if is_spared and is_restored:
        out.print(
            "\nEvery row of the managed columns is as it was before the run, but for the edit,"
            f"\nwhich nobody overwrote. `trueup rollback {short}` would undo the undo.\n"
        )
    else:
        different = f"; different from before the run: {', '.join(wrong)}" if wrong else ""
        out.print(
            f"\n[red]✗[/] rollback {short} is {outcome.status}, and did not bring back all but the"
            f" edit: row {escape(edit.row_key)} is {escape(terminal.visible(now))}{different}\n",
            soft_wrap=True,
        )
    return is_spared and is_restored


def _edit_of(settings: Settings, made: plan.Plan) -> Edit:
    """A row that the run will change, and what a user makes of it afterwards: another value."""
    column = next(column for column in made.columns if column.examples)
    (entry,) = plan.entries(settings, plan.Scope((column.table_name,), (column.column_name,)))
    row = column.examples[0]
    others = [value.after for value in column.values if value.after not in (None, row.after)]
    now = next(iter(others), None) or f"{row.after}, says a user"
    return Edit(entry, row.row_key, row.before, row.after, now)


def _digests(settings: Settings, connected: Connection, edit: Edit) -> dict[Place, str]:
    """What stands in the managed columns, by column, without the row of the edit."""
    found = {}
    for entry in plan.entries(settings, plan.Scope()):
        place = (entry["table"], entry["column"])
        query = sql.SQL(
            "select cast(sum(cast(hashtextextended(concat({key}, ' ', quote_nullable({column})), 0)"
            " as numeric)) as text) from {table} where {key} is distinct from %s"
        ).format(**_names(settings, entry))
        left_out = edit.row_key if place == edit.place else None
        found[place] = connected.execute(query, [left_out]).fetchall()[0][0]
    return found


def _read(settings: Settings, connected: Connection, edit: Edit) -> str | None:
    """What the row has now."""
    query = sql.SQL("select {column} from {table} where {key} = %s")
    rows = connected.execute(query.format(**_names(settings, edit.entry)), [edit.row_key])
    return rows.fetchall()[0][0]  # type: ignore[no-any-return]


def _write(settings: Settings, connected: Connection, edit: Edit) -> None:
    """As the application would: the user is no run of ours, and leaves no audit."""
    query = sql.SQL("update {table} set {column} = %s where {key} = %s")
    connected.execute(query.format(**_names(settings, edit.entry)), [edit.now, edit.row_key])
    connected.commit()


def _names(settings: Settings, entry: Mapping[str, Any]) -> dict[str, sql.Composable]:
    """Table, column and key (as text) of a managed column of the sample: its keys have one part."""
    schema = config.app_schema(settings)
    (key,) = entry["key"]
    return {
        "table": sql.Identifier(schema, entry["table"]),
        "column": sql.Identifier(entry["column"]),
        "key": sql.SQL("cast({} as text)").format(sql.Identifier(key)),
    }


def _conflicts(connected: Connection, schema: str, run_id: Any) -> list[tuple[Any, ...]]:
    """What a rollback left alone: [column, row], before the run, what it wrote, now, and why."""
    query = sql.SQL(
        "select array[table_name || '.' || column_name, row_key], value_before, value_written,"
        " value_now, reason from {} where run_id = %s order by table_name, column_name, row_key"
    ).format(sql.Identifier(schema, "migration_conflicts"))
    return connected.execute(query, [run_id]).fetchall()


def _pace(settings: Settings) -> plan.Pace:
    known = plan.defaults(settings)
    return plan.Pace(known["batch_size"], sleep_ms=0, target_ms=known["target_ms"])
