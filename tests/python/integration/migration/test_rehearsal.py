"""`trueup plan --rehearse`: what it finds, who may, and that it leaves nothing behind."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import pytest

from integration.conftest import App
from integration.migration.test_migration_shapes import (
    EMBEDDED,
    OPERATOR,
    Shape,
    cells,
    create,
    dump,
    ledger_rows,
    odd,  # noqa: F401  a fixture
    operator,  # noqa: F401  a fixture
    table,
)
from support import fire, migration
from trueup.migration import engine, plan, rehearsal, tried_batch
from trueup.migration.tried_batch import KEPT, QUARANTINED, STOPS

STAGES = plan.Scope(("portfoliocompanies",), ("stage",))
PACE = plan.Pace(batch_size=1000, sleep_ms=0, target_ms=1000, stripes=2)
SCRATCH = "select count(*) from pg_tables where tablename like 'rehearsal%%'"


def rehearse(
    app: App, scope: plan.Scope = STAGES, pace: plan.Pace = PACE
) -> tuple[plan.Plan, rehearsal.ColumnRehearsal]:
    """A plan and the rehearsal of its one column, in this process."""
    with migration.connect(app) as connected:
        made = plan.make(app.settings, connected, scope, pace)
        rehearsed = rehearsal.rehearse(app.settings, connected, made, pace)
    (column,) = rehearsed.columns
    return made, column


def tried(column: rehearsal.ColumnRehearsal) -> tried_batch.Tryout:
    assert column.tryout is not None
    return column.tryout


def trigger(app: App, body: str, what: str = "before update", name: str = "more") -> None:
    """A further row trigger on portfoliocompanies; body: what it does before it returns."""
    app.query(
        f"create function {name}() returns trigger language plpgsql as"
        f" $$ begin {body}; return new; end $$"
    )
    word = "constraint trigger" if "deferr" in what else "trigger"
    app.query(f"create {word} {name} {what.partition(' deferr')[0]} on portfoliocompanies"
              f"{' deferrable initially deferred' if 'deferr' in what else ''}"
              f" for each row execute function {name}()")  # fmt: skip


def dirty_row(app: App) -> int:
    """A row that the batch with the most rows will change: the first with a planned value."""
    ((key,),) = app.query(
        "select min(cast(t.row_key as bigint)) from trueup_sample.truth as t"
        " where t.table_name = 'portfoliocompanies' and t.column_name = 'stage'"
        " and t.canonical_value <> t.raw_value and cast(t.row_key as bigint) % 2 = 0"
    )
    return int(key)


# ------------------------------------------------------------------------- nothing is touched


def test_the_command_leaves_everything_as_it_was(built: App) -> None:
    stop = engine.Stop()

    def report(event: engine.Event) -> None:
        stop.requested = stop.requested or event.kind == "batch_completed"

    other = migration.make_plan(built, plan.Scope(("portfoliocompanies",)))
    assert migration.apply(built, other, report, stop).status == "interrupted"
    rows, before = ledger_rows(built, other.run_id), dump(built)
    audit = fire.changes_of(built)
    for arguments in (
        ("plan", "--rehearse"), ("apply", "--dry-run"), ("plan", "--rehearse", "--format", "json")
    ):  # fmt: skip
        code, out, err = migration.done(built, *arguments)
        assert code == 0, out + err
    shown = json.loads(out)
    assert dump(built) == before
    assert ledger_rows(built, other.run_id) == rows
    assert fire.changes_of(built) == audit
    assert built.query(SCRATCH) == [(0,)]
    ((stored,),) = built.query(
        "select rehearsal from trueup_ledger.migration_runs where run_id = %s", shown["run_id"]
    )
    assert stored == shown["rehearsal"]
    assert len(stored["columns"]) == len([c for c in shown["columns"] if c["rows_planned"]])
    for column in stored["columns"]:
        assert column["reason"] is None and column["prediction"]["rows"] > 0
        assert column["tryout"]["refusals"] == []
    states = built.query(
        "select status, count(*) from trueup_ledger.stage_migration_batches where run_id = %s"
        " group by status", shown["run_id"],
    )  # fmt: skip
    assert states == [("pending", shown["batches"])]
    assert migration.apply(built, other).status == "completed"


def test_without_the_option_nothing_is_rehearsed(built: App) -> None:
    code, out, err = migration.done(built, "plan")
    assert code == 0, err
    assert "rehearsed" not in out
    assert built.query("select rehearsal from trueup_ledger.migration_runs") == [(None,)]


def test_what_people_read(built: App) -> None:
    code, out, err = migration.done(
        built, "plan", "--rehearse", "--table", "portfoliocompanies", "--column", "stage"
    )
    assert code == 0, err
    assert "rehearsed portfoliocompanies.stage" in out
    assert "rows changed in" in out and "and rolled back" in out
    assert "other columns change too: row_version of" in out and "→ 2; updated_at of" in out
    assert "% of the updates HOT" in out and "of disk (table" in out
    assert "carries it out" in out


# ------------------------------------------------------------------------- what triggers change


def test_other_columns_are_named_with_an_example(built: App) -> None:
    built.query(
        "alter table portfoliocompanies add column letters int"
        " generated always as (length(stage)) stored"
    )
    made, column = rehearse(built)
    found = {each.column_name: each for each in tried(column).other_columns}
    assert set(found) == {"updated_at", "row_version", "letters"}
    assert tried(column).rows_changed == tried(column).rows > 100
    version = found["row_version"]
    assert (version.before, version.after, version.rows) == ("1", "2", tried(column).rows)
    query = "select length(stage) from portfoliocompanies where id = %s"
    assert [(int(found["letters"].before or 0),)] == built.query(query, found["letters"].row_key)
    assert column.prediction is not None and column.prediction.hot_share == 0
    assert migration.apply(built, made).status == "completed"


def test_an_edit_of_somebody_else_is_no_trigger_s(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = tried_batch._Trial._read
    edited: list[str] = []

    def read_and_edit(self: Any, purpose: str, **values: Any) -> Mapping[str, Any]:
        rows = read(self, purpose, **values)
        if not edited:  # between the first look and the batch
            edited.extend(list(rows)[:2])
            built.query("update portfoliocompanies set website = 'https://new'"
                        " where id = %s", edited[0])  # fmt: skip
            built.query("update portfoliocompanies set stage = 'x' where id = %s", edited[1])
        return rows

    monkeypatch.setattr(tried_batch._Trial, "_read", read_and_edit)
    _, column = rehearse(built)
    assert len(edited) == 2
    assert {each.column_name for each in tried(column).other_columns} == {
        "updated_at", "row_version"
    }  # fmt: skip
    assert tried(column).refusals == []
    assert tried(column).rows == tried(column).rows_changed


def test_rows_that_triggers_write_elsewhere_are_counted(built: App) -> None:
    built.query("create table public.seen (id bigint)")
    trigger(built, "insert into public.seen values (new.id)", "after update")
    _, column = rehearse(built)
    (other,) = tried(column).other_rows
    assert (other.relation, other.inserted) == ("public.seen", tried(column).rows_changed)
    assert built.query("select count(*) from public.seen") == [(0,)]


# ------------------------------------------------------------------------- what would go wrong


def test_a_row_that_is_refused_is_found_and_later_quarantined(built: App) -> None:
    bad = dirty_row(built)
    trigger(built, f"if new.id = {bad} then raise 'not this one'; end if")
    arguments = ("--table", "portfoliocompanies", "--column", "stage", "--stripes", "2",
                 "--batch-size", "1000")  # fmt: skip
    code, out, err = migration.done(built, "plan", "--rehearse", *arguments)
    assert code == 1
    assert f"row {bad}: not this one (P0001) → apply would put the row into quarantine" in out
    assert "The rehearsal found 1 error" in err and "carries it out" in out
    ((stored,),) = built.query("select rehearsal from trueup_ledger.migration_runs")
    (column,) = stored["columns"]
    assert [each["row_key"] for each in column["tryout"]["refusals"]] == [str(bad)]
    assert column["tryout"]["is_complete"]
    assert column["tryout"]["rows"] == column["tryout"]["rows_changed"] + 1
    assert column["prediction"] is not None
    code, out, err = migration.done(built, "apply", "--yes", "--allow-blind-brakes")
    assert code == 1, out + err
    assert built.query("select row_key from trueup_ledger.migration_quarantine") == [(str(bad),)]


def test_a_dry_run_rehearses_and_ends_with_1_where_a_row_is_refused(built: App) -> None:
    trigger(built, f"if new.id = {dirty_row(built)} then raise 'not this one'; end if")
    code, out, _ = migration.done(built, "apply", "--dry-run")
    assert code == 1
    assert "not this one" in out and "would change in" in out
    assert built.query("select status from trueup_ledger.migration_runs") == [("cancelled",)]


def test_many_refused_rows_are_not_all_looked_for(built: App) -> None:
    trigger(built, "raise 'none of them'")
    _, column = rehearse(built)
    assert [each.consequence for each in tried(column).refusals] == [QUARANTINED] * 3
    assert not tried(column).is_complete
    assert tried(column).rows_changed == 0


def test_what_is_checked_at_the_commit_is_checked(built: App) -> None:
    bad = dirty_row(built)
    trigger(built, f"if new.id = {bad} then raise check_violation; end if",
            "after update deferred")  # fmt: skip
    _, column = rehearse(built)
    (refusal,) = tried(column).refusals
    assert (refusal.row_key, refusal.consequence) == (str(bad), QUARANTINED)


def test_an_error_that_would_stop_the_run(built: App) -> None:
    trigger(built, "perform * from no_such_table")
    _, column = rehearse(built)
    (refusal,) = tried(column).refusals
    assert (refusal.row_key, refusal.sqlstate, refusal.consequence) == (None, "42P01", STOPS)
    assert "no_such_table" in refusal.message


def test_a_row_that_a_trigger_skips_is_told(built: App) -> None:
    bad = dirty_row(built)
    trigger(built, f"if new.id = {bad} then return null; end if")
    made, column = rehearse(built)
    (refusal,) = tried(column).refusals
    assert (refusal.row_key, refusal.consequence) == (str(bad), KEPT)
    assert column.prediction is not None
    assert 0 < made.rows_planned - column.prediction.rows < 10
    assert migration.apply(built, made).status == "completed_with_failures"


def test_rows_that_somebody_holds(built: App) -> None:
    with migration.connect(built) as holder:
        holder.execute("select from portfoliocompanies for update")
        started = time.monotonic()
        made, column = rehearse(built)
        assert time.monotonic() - started < 10
    assert "others held rows of it" in tried(column).notes[0]
    assert tried(column).refusals == [] and tried(column).duration_ms is None
    assert column.prediction is not None and column.prediction.rows == made.rows_planned


def test_a_batch_that_takes_too_long_is_tried_in_part(built: App) -> None:
    fire.slow_down(built, 0.004)
    _, column = rehearse(built)
    assert "took longer than a batch may" in tried(column).notes[0]
    assert 0 < tried(column).rows_changed == tried(column).rows < tried(column).rows_planned
    assert (tried(column).duration_ms or 0) < 1000  # 0.8 of deadlock_timeout
    assert tried(column).refusals == []


# ------------------------------------------------------------------------- the scratch table


def test_a_copy_that_cannot_be_changed_is_dropped(built: App) -> None:
    built.query("create sequence ticket")
    built.query("alter table portfoliocompanies add column ticket text unique")
    trigger(built, "new.ticket := nextval('ticket')")
    _, column = rehearse(built)
    assert column.prediction is None and "duplicate key" in (column.reason or "")
    assert tried(column).refusals == []
    assert built.query(SCRATCH) == [(0,)]


def test_what_a_kill_left_behind_is_dropped(built: App) -> None:
    built.query("create function slow(t text) returns text language plpgsql immutable as"
                " 'begin perform pg_sleep(0.0005); return t; end'")  # fmt: skip
    built.query("create index on portfoliocompanies (slow(name))")
    before = dump(built)
    process = migration.command(built, "plan", "--rehearse", "--table", "portfoliocompanies")
    try:
        with built.connect() as watch:
            fire.until(lambda: fire.one(watch, SCRATCH.replace("%%", "%")))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            fire.until(
                lambda: not fire.one(watch, "select count(*) from pg_stat_activity where datname"
                                     " = current_database() and application_name like 'trueup %'")
            )  # fmt: skip
    finally:
        end(process)
    assert built.query(SCRATCH) == [(1,)]
    assert dump(built) == before
    built.query("drop index portfoliocompanies_slow_idx")
    _, column = rehearse(built)
    assert column.prediction is not None, column.reason
    assert built.query(SCRATCH) == [(0,)]


def test_two_at_once_are_refused(built: App) -> None:
    settings = dataclasses.replace(built.settings, conninfo=built.url)
    managed = plan.entries(settings, STAGES)
    with rehearsal.alone(settings, managed):
        code, _, err = migration.done(built, "plan", "--rehearse")
        assert code == 2
        assert "another rehearsal of portfoliocompanies.stage is under way" in err
        assert built.query("select count(*) from trueup_ledger.migration_runs") == [(0,)]
        # who waits for its turn holds back nobody: no snapshot, no transaction id
        assert built.query(
            "select state, backend_xmin, backend_xid from pg_stat_activity"
            " where application_name = 'trueup rehearsal' and datname = current_database()"
        ) == [("idle in transaction", None, None)]
    code, _, err = migration.done(built, "plan", "--rehearse", "--table", "portfoliocompanies")
    assert code == 0, err


def test_a_role_that_may_not_make_tables(operator: App, built: App) -> None:  # noqa: F811
    arguments = ("plan", "--rehearse", "--format", "json")
    code, out, err = migration.done(operator, *arguments)
    assert code == 0, err
    for column in json.loads(out)["rehearsal"]["columns"]:
        assert column["prediction"] is None
        assert f"grant create on schema trueup_ledger to {OPERATOR}" in column["reason"]
        assert column["tryout"]["rows_changed"] == column["tryout"]["rows"] > 0
    with fire.superuser(built) as root:
        root.execute(f"grant create on schema trueup_ledger to {OPERATOR}")
    code, out, err = migration.done(operator, *arguments)
    assert code == 0, err
    for column in json.loads(out)["rehearsal"]["columns"]:
        assert column["prediction"] is not None, column["reason"]
    assert built.query(SCRATCH) == [(0,)]


# ------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("stripes", [1, 4])
@pytest.mark.parametrize("shape", EMBEDDED, ids=lambda shape: shape.table)
def test_a_table_of_this_shape(odd: App, shape: Shape, stripes: int) -> None:  # noqa: F811
    with odd.connect() as connected:
        create(connected, shape)
    before = cells(odd, shape)
    made, column = rehearse(odd, plan.Scope((shape.table,)), plan.Pace(40, 0, 1000, stripes))
    assert cells(odd, shape) == before
    assert tried(column).rows_changed == tried(column).rows > 0
    assert (tried(column).refusals, tried(column).other_columns) == ([], [])
    assert column.prediction is not None, column.reason
    assert column.prediction.rows == made.rows_planned
    assert column.prediction.wal_bytes > 100 * made.rows_planned
    assert odd.query(SCRATCH) == [(0,)]


def test_tenant_by_tenant(odd: App) -> None:  # noqa: F811
    shape = table("odd_bigint")
    with odd.connect() as connected:
        create(connected, shape)
    pace = plan.Pace(40, 0, 1000, 1, by_tenant=True)
    made, column = rehearse(odd, plan.Scope((shape.table,)), pace)
    assert tried(column).rows_changed == tried(column).rows == tried(column).rows_planned > 0
    assert column.prediction is not None, column.reason
    assert column.prediction.rows == made.rows_planned


def end(process: subprocess.Popen[str]) -> None:
    """Nothing of ours is left running."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.communicate()
