"""Rollback: what comes back, what is left alone, and that nothing is ever half done."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from typing import Any

import pytest

from integration.conftest import App
from support import PROOFS, fire, migration, standby
from support.migration import roll_back, take_back
from trueup.core import runs
from trueup.core.errors import TrueupError
from trueup.migration import engine, plan, rollback
from trueup.verification import verify

LEDGER = "trueup_ledger"
STAGES = plan.Scope(("portfoliocompanies",), ("stage",))
DEALS = plan.Scope(("deal_opportunities",))
CELLS = "select id, stage from portfoliocompanies order by id"
ROWS = 350_000 if PROOFS else 3000  # changes of proof 3


def migrate(app: App, scope: plan.Scope = STAGES, **more: Any) -> plan.Plan:
    """A run that has changed all that was planned."""
    made = migration.make_plan(app, scope)
    outcome = migration.apply(app, made, **more)
    assert outcome.status == "completed" and made.rows_planned > 100
    return made


def stages(app: App) -> dict[int, str | None]:
    return dict(app.query(CELLS))


def log_of(app: App, run_id: Any) -> dict[int, tuple[str, str]]:
    """What a run did, by company, from the audit."""
    return {
        int(key): (before, after)
        for key, before, after in app.query(
            f"select row_id, stage_before, stage_after from {LEDGER}.stage_normalization_log"
            " where run_id = %s and column_name = 'stage' and table_name = 'portfoliocompanies'"
            " and action <> 'quarantine' order by run_at", run_id,
        )
    }  # fmt: skip


def conflicts(app: App, run_id: Any) -> dict[int, list[Any]]:
    return {
        int(key): list(rest)
        for key, *rest in app.query(
            "select row_key, value_before, value_written, value_now, reason"
            f" from {LEDGER}.migration_conflicts where run_id = %s", run_id,
        )
    }  # fmt: skip


def unlike(found: dict[int, Any], expected: dict[int, Any]) -> dict[int, tuple[Any, Any]]:
    """Five of the rows that are not as they should be; pytest compares 350,000 for hours."""
    keys = [k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k)]
    return {key: (found.get(key), expected.get(key)) for key in keys[:5]}


def write(app: App, key: int, stage: str | None) -> None:
    """The application edits a row."""
    app.query("update portfoliocompanies set stage = %s where id = %s", stage, key)


def changed_keys(app: App, run_id: Any) -> list[int]:
    """Companies that a run has changed and that can be deleted."""
    return sorted(log_of(app, run_id).keys() - with_investments(app))


def with_investments(app: App) -> set[int]:
    return {key for (key,) in app.query("select distinct company_id from investments")}


# --------------------------------------------------------------------------- what comes back


def test_a_row_that_was_changed_twice_comes_back_to_its_first_value(built: App) -> None:
    """The trap: to join every log row of a time window restores a middle value."""
    before = stages(built)
    made = migration.make_plan(built, STAGES)
    mapped = dict(
        built.query(
            f"select value_before, value_after from {LEDGER}.migration_value_map"
            " where run_id = %s and map_id is not null", made.run_id,
        )
    )  # fmt: skip
    dirty = sorted(key for key, value in before.items() if value in mapped)
    same, other, edited = dirty[:3]

    def spelling(key: int, is_same: bool) -> Any:
        value = before[key]
        assert value is not None
        return next(
            each for each in sorted(mapped)
            if each != value and (mapped[each] == mapped[value]) == is_same
        )  # fmt: skip

    middle = {same: spelling(same, True), other: spelling(other, False),
              edited: spelling(edited, False)}  # fmt: skip
    written: list[str] = []

    def report(event: engine.Event) -> None:
        if event.kind != "batch_completed" or written:
            return
        now = stages(built)
        if all(now[key] != before[key] for key in middle):
            for key, value in middle.items():
                write(built, key, value)
            written.append("once")

    assert migration.apply(built, made, report).status == "completed"
    assert written
    twice = built.query(
        f"select row_id, count(*) from {LEDGER}.stage_normalization_log where run_id = %s"
        " group by row_id having count(*) > 1 order by 1", made.run_id,
    )  # fmt: skip
    assert {int(key): number for key, number in twice} == dict.fromkeys(middle, 2)
    write(built, edited, "Somebody's")
    now = stages(built)
    assert now[other] == mapped[middle[other]] != mapped[before[other] or ""]

    back, outcome = roll_back(built, made.run_id)
    assert outcome.status == "completed"
    assert stages(built) == {**before, edited: "Somebody's"}
    assert conflicts(built, back.run_id) == {
        edited: [before[edited], mapped[middle[edited]], "Somebody's", "edited"]
    }
    own = log_of(built, back.run_id)
    assert own[other] == (mapped[middle[other]], before[other])
    assert own[same] == (mapped[before[same] or ""], before[same])
    forth, outcome = roll_back(built, back.run_id)
    assert outcome.status == "completed" and stages(built) == now
    assert log_of(built, forth.run_id)[other] == (before[other], mapped[middle[other]])


def test_a_later_run_is_later_although_the_clock_stood_back(built: App) -> None:
    """The order of two runs comes from the numbers of the audit's entries."""
    made = migrate(built)
    key, (before, after) = next(iter(log_of(built, made.run_id).items()))
    write(built, key, before)
    again = migration.make_plan(built, STAGES)
    assert migration.apply(built, again).status == "completed"
    for table, names in (("migration_runs", ("planned_at", "started_at", "finished_at")),
                         ("stage_normalization_changes", ("run_at",))):  # fmt: skip
        moved = ", ".join(f"{name} = {name} - interval '1 day'" for name in names)
        built.query(f"update {LEDGER}.{table} set {moved} where run_id = %s", again.run_id)
    back, outcome = roll_back(built, made.run_id)
    assert outcome.status == "completed" and back.reasons == {"changed by a later run": 1}
    assert stages(built)[key] == after


def test_a_rollback_can_be_rolled_back(built: App) -> None:
    made = migrate(built)
    after = stages(built)
    back, _ = roll_back(built, made.run_id)
    assert stages(built) != after
    out = migration.printed(built, "rollback", str(made.run_id), "--yes")
    assert f"`trueup rollback {str(back.run_id)[:8]}` undoes that" in out
    assert "No row of run" in out
    migration.printed(built, "rollback", str(back.run_id)[:8], "--yes")
    assert stages(built) == after
    code, out, _ = migration.done(built, "runs")
    assert code == 0 and out.count("rollback") == 2 and out.count("migrate") == 1


# ------------------------------------------------------------------------------------ scope


def test_only_what_was_asked_for(built: App) -> None:
    """One scope after the other; what was restored before is left alone."""
    made = migration.make_plan(built)
    migration.apply(built, made)
    now = stages(built)
    written = log_of(built, made.run_id)
    tenants = dict(built.query("select id, fund_id from portfoliocompanies"))
    value = next(before for before, _ in written.values())
    ((batch,),) = built.query(
        f"select min(batch_id) from {LEDGER}.stage_migration_batches where run_id = %s"
        " and table_name = 'portfoliocompanies' and column_name = 'stage' and rows_updated > 0",
        made.run_id,
    )
    of_batch = {int(key) for (key,) in built.query(
        f"select row_id from {LEDGER}.stage_normalization_log where batch_id = %s", batch,
    )}  # fmt: skip
    stage: dict[str, Any] = {
        "table_names": ("portfoliocompanies",), "column_names": ("stage",)
    }  # fmt: skip
    restored: set[int] = set()
    for scope, asked in (
        # first, so that no later run makes every batch be looked at row by row
        ({"values_before": (value,)}, {k for k in written if written[k][0] == value}),
        ({"batch_id": batch}, of_batch),
        ({"tenants": ("none",)}, {k for k in written if tenants[k] is None}),
        ({"tenants": ("3", "none")}, {k for k in written if tenants[k] in (3, None)}),
        ({}, set(written)),
    ):
        wanted = asked - restored
        back, outcome = roll_back(built, made.run_id, rollback.Scope(**stage, **scope))
        assert outcome.status == "completed"
        assert back.rows == len(wanted) > 0
        now |= {key: written[key][0] for key in wanted}
        assert stages(built) == now
        assert log_of(built, back.run_id).keys() == wanted
        assert conflicts(built, back.run_id).keys() == asked & restored
        restored |= wanted
    rounds = f"select count(*) from {LEDGER}.stage_normalization_log where action = 'revert'"
    assert built.query(rounds) == [(len(written),)]  # nothing of other columns


def test_a_scope_that_the_run_does_not_have_is_refused(built: App) -> None:
    made = migrate(built, DEALS)
    run = str(made.run_id)
    for arguments, words in (
        (("--table", "investments"), "--table investments is not in run"),
        (("--column", "round"), "--column round is not in run"),
        (("--batch", "4711"), "--batch 4711 is not a batch of run"),
    ):
        code, out, err = migration.done(built, "rollback", run, *arguments, "--yes")
        assert code == 2 and words in err, out + err
    for arguments in (("--tenant", "4711"), ("--value-before", "no such value")):
        code, out, err = migration.done(built, "rollback", run, *arguments, "--yes")
        assert code == 2 and "has changed no row of this scope" in err, out + err
    code, out, err = migration.done(built, "rollback", run)
    assert code == 2 and "there is no terminal: Roll back run" in err, out + err
    code, _, err = migration.done(built, "rollback", "--yes")
    assert code == 2 and "RUN" in err
    assert built.query(f"select count(*) from {LEDGER}.migration_runs") == [(1,)]


def test_a_run_that_could_still_change_rows_is_refused(built: App) -> None:
    before = stages(built)
    made = migration.make_plan(built, STAGES)
    with pytest.raises(TrueupError, match="was never started"):
        take_back(built, made.run_id)
    stop = engine.Stop()
    done: list[engine.Event] = []

    def report(event: engine.Event) -> None:
        done.append(event)
        if sum(each.kind == "batch_completed" for each in done) == 2:
            with pytest.raises(TrueupError, match="works on run"):
                take_back(built, made.run_id)
            stop.requested = True

    assert migration.apply(built, made, report, stop).status == "interrupted"
    with pytest.raises(TrueupError, match="is interrupted and may be resumed") as caught:
        take_back(built, made.run_id)
    assert "trueup cancel" in str(caught.value.remedy)
    migration.printed(built, "cancel", str(made.run_id), "--yes")
    back, outcome = roll_back(built, made.run_id)
    assert outcome.status == "completed" and 0 < back.rows < made.rows_planned
    assert stages(built) == before


# ------------------------------------------------------------------------- while others write


def test_an_edit_during_the_rollback_is_never_overwritten(built: App) -> None:
    """Rows that somebody holds when their batch comes by, and changes before letting go."""
    built.query("alter table portfoliocompanies alter column stage drop not null")
    before = stages(built)
    made = migrate(built)
    keys = changed_keys(built, made.run_id)[::97][:8]
    held = threading.Event()

    def edit() -> None:
        with migration.connect(built) as connected:
            for number, key in enumerate(keys):
                connected.execute(
                    "update portfoliocompanies set stage = %s where id = %s",
                    [f"edit {number}" if number % 2 else None, key],
                )
            held.set()
            fire.until(lambda: fire.somebody_waits(built))
            connected.commit()

    thread = threading.Thread(target=edit)

    def report(event: engine.Event) -> None:
        if event.kind == "batch_started" and not thread.ident:
            thread.start()
            assert held.wait(10)

    back, outcome = roll_back(built, made.run_id, report=report)
    thread.join()
    assert outcome.status == "completed"
    edits = {key: f"edit {n}" if n % 2 else None for n, key in enumerate(keys)}
    assert stages(built) == {**before, **edits}
    found = conflicts(built, back.run_id)
    assert found.keys() == set(keys) and {row[3] for row in found.values()} == {"edited"}


def test_what_is_put_back_after_it_was_restored_stays(built: App) -> None:
    """Somebody writes anew what the run wrote, and the batch comes by a second time."""
    before = stages(built)
    made = migrate(built)
    written = log_of(built, made.run_id)
    batch = built.query(
        f"select row_keys from {LEDGER}.stage_normalization_changes where run_id = %s"
        " and cardinality(row_keys) > 2 order by batch_id desc limit 1", made.run_id,
    )  # fmt: skip
    mine, late = (int(key) for key in batch[0][0][:2])
    locker = migration.connect(built)
    locker.execute("select from portfoliocompanies where id = %s for update", [late])
    events: list[str] = []

    def report(event: engine.Event) -> None:
        events.append(event.kind)
        if event.kind == "second_look":
            write(built, mine, written[mine][1])
            locker.rollback()

    _, outcome = roll_back(built, made.run_id, report=report, lock_timeout_ms=20)
    locker.close()
    assert "second_look" in events and outcome.status == "completed"
    assert stages(built) == {**before, mine: written[mine][1]}


def test_a_batch_reads_the_batches_of_few_runs(built: App) -> None:
    """However many runs the ledger has seen: their batches are found by an index."""
    made = migrate(built)
    back = take_back(built, made.run_id)
    batches = f"{LEDGER}.stage_migration_batches"
    columns = [
        name for (name,) in built.query(
            "select column_name from information_schema.columns where table_schema = %s"
            " and table_name = 'stage_migration_batches'"
            " and column_name not in ('batch_id', 'run_id', 'reverts_batch_id')", LEDGER,
        )
    ]  # fmt: skip
    built.query(
        f"""
        create temporary table older as
        select runs.* from {LEDGER}.migration_runs as runs
        cross join generate_series(1, 60) where run_id = '{made.run_id}';
        update older set run_id = gen_random_uuid(), started_at = 'epoch', finished_at = 'epoch';
        insert into {LEDGER}.migration_runs select * from older;
        insert into {batches} (run_id, {", ".join(columns)})
        select older.run_id, {", ".join(f"b.{name}" for name in columns)} from older
        cross join {batches} as b cross join generate_series(1, 40) where b.run_id = '{made.run_id}'
        """
    )
    built.query("analyze")
    ((batch_id, batch_ids),) = built.query(
        f"select max(batch_id), array_agg(reverts_batch_id) from {batches} where run_id = %s",
        back.run_id,
    )  # fmt: skip
    statement = migration.order(built, back).statements["keys_to_revert__portfoliocompanies__stage"]
    values = dict.fromkeys(statement.parameters)
    values |= {"batch_ids": [batch_id], "values_before": [], "values_after": [], "map_ids": []}
    assert built.query(f"select count(*) > 10000 from {batches}") == [(True,)]
    for shared in (None, batch_ids):
        built.query(f"update {batches} set shared_batch_ids = %s where batch_id = %s",
                    shared, batch_id)  # fmt: skip
        with migration.connect(built) as connected:
            found = migration.explained(connected, statement, values)
        assert 0 < migration.rows_read(found, "stage_migration_batches") < 500, json.dumps(found)


def test_what_is_refused_by_now_is_quarantined(built: App) -> None:
    """A value by a constraint, a row by a trigger that writes something else."""
    before = stages(built)
    made = migrate(built)
    written = log_of(built, made.run_id)
    spellings = Counter(before for before, _ in written.values())
    value = min(spellings, key=lambda spelling: spellings[spelling])
    meddled = next(key for key in written if written[key][0] != value)
    refused = {key for key in written if written[key][0] == value} | {meddled}
    built.query(
        "alter table portfoliocompanies add constraint no_more"
        f" check (stage <> {sql_text(value)}) not valid"
    )
    built.query(
        "create function meddle() returns trigger language plpgsql as"
        " 'begin new.stage := ''meddled''; return new; end'"
    )
    built.query("create trigger meddle before update on portfoliocompanies for each row"
                f" when (new.id = {meddled}) execute function meddle()")  # fmt: skip
    code, out, err = migration.done(built, "rollback", str(made.run_id), "--yes", "--verbose")
    assert code == 1 and "no_more" in out, out + err
    assert stages(built) == {
        key: written[key][1] if key in refused else before[key] for key in before
    }
    rows = built.query(f"select row_key, value_before from {LEDGER}.migration_quarantine")
    assert {int(key): now for key, now in rows} == {key: written[key][1] for key in refused}
    assert built.query(f"select count(*) from {LEDGER}.migration_conflicts") == [(0,)]


# ------------------------------------------------------------------------------------ proof 3


def enlarge(app: App, changes: int) -> None:
    """So many companies with a spelling that will change."""
    app.query("alter table portfoliocompanies disable trigger user")
    ((dirty,),) = app.query(
        "select count(*) from portfoliocompanies as p inner join trueup_sample.spellings as s"
        " on s.raw_value = p.stage where s.canonical_value <> s.raw_value"
    )
    app.query(
        "with dirty as (select p.*, row_number() over (order by p.id) as n"
        " from portfoliocompanies as p inner join trueup_sample.spellings as s"
        " on s.raw_value = p.stage where s.canonical_value <> s.raw_value)"
        " insert into portfoliocompanies (fund_id, name, stage, current_stage, sector)"
        " select fund_id, name, stage, current_stage, sector"
        " from generate_series(1, %s / 1000 + 1) as g cross join dirty order by g, n limit %s",
        changes, changes - dirty,
    )  # fmt: skip


def test_all_changes_are_taken_back_although_the_command_is_killed(built: App) -> None:
    """Proof 3."""
    enlarge(built, ROWS)
    built.query("alter table portfoliocompanies alter column stage drop not null")
    before = stages(built)
    made = migration.make_plan(built, STAGES, plan.Pace(ROWS // 70, 0, 1000))
    assert made.rows_planned == ROWS
    assert migration.apply(built, made).status == "completed"
    written = log_of(built, made.run_id)
    one, two, three, gone, again = changed_keys(built, made.run_id)[:: ROWS // 6][:5]
    for key, edit in ((one, "somebody's"), (two, None), (three, "")):
        write(built, key, edit)
    write(built, again, before[again])
    built.query("delete from portfoliocompanies where id = %s", gone)
    second = migration.make_plan(built, STAGES)
    assert second.rows_planned == 1 and migration.apply(built, second).status == "completed"
    now = stages(built)
    assert now[again] == written[again][1]

    process = migration.command(
        built, "rollback", str(made.run_id), "--yes", "--sleep-ms", "0" if PROOFS else "300"
    )
    with fire.superuser(built) as watch:
        query = f"select count(*) from {LEDGER}.stage_normalization_changes where action = 'revert'"
        fire.until(lambda: fire.one(watch, query) >= 5, 300)
        process.send_signal(signal.SIGKILL)
        process.wait()
        gone_too = (
            "select count(*) from pg_stat_activity where application_name like 'trueup apply%'"
            " and datname = current_database()"
        )
        fire.until(lambda: fire.one(watch, gone_too) == 0)  # what it had sent
        (rolled,) = watch.execute(
            f"select run_id, status from {LEDGER}.migration_runs where kind = 'rollback'"
        ).fetchall()
        assert rolled[1] == "running"
        half = stages(built)
        done = sum(half[key] == before[key] != now[key] for key in half)
        assert 0 < done < ROWS - 5
        audit = f"select sum(cardinality(row_keys)) from {LEDGER}.stage_normalization_changes"
        assert fire.one(watch, audit + " where action = 'revert'") == done
        fire.let_time_pass(watch, hours=1)
    out = migration.printed(built, "resume", str(rolled[0]), "--yes", "--sleep-ms", "0")
    assert "5 rows were left alone" in out
    left = {one, two, three, gone, again}
    wanted = {key: now[key] if key in left else before[key] for key in before if key != gone}
    assert unlike(stages(built), wanted) == {}
    assert conflicts(built, rolled[0]) == {
        key: [before[key], written[key][1], now.get(key), reason]
        for key, reason in ((one, "edited"), (two, "edited"), (three, "edited"),
                            (gone, "deleted"), (again, "changed by a later run"))
    }  # fmt: skip
    books = built.query(
        f"select sum(rows_updated), sum(rows_failed) from {LEDGER}.stage_migration_batches"
        " where run_id = %s", rolled[0],
    )  # fmt: skip
    assert books == [(ROWS - 5, 0)]
    assert len(log_of(built, rolled[0])) == ROWS - 5
    with migration.connect(built) as connected:
        checks = verify.run(built.settings, connected, str(rolled[0]))["checks"]
    assert {check["code"]: check["status"] for check in checks} == {
        "batch_tracking": "ok",
        "null_integrity": "ok",
        "row_counts": "ok",
        "audit_consistency": "ok",
        "sample_inspection": "info",
        "per_fund_breakdown": "info",
        "weight_sums": "ok",
        "other_columns_untouched": "ok",
        "models_agree": "ok",
    }


# ---------------------------------------------------------------------------- the command


def test_a_dry_run_shows_everything_and_leaves_nothing(built: App) -> None:
    made = migrate(built)
    keys = changed_keys(built, made.run_id)[:30]
    for key in keys:
        write(built, key, "somebody's")
    before = standby.dump(built.url, standby.PLAIN)
    out = migration.printed(built, "rollback", str(made.run_id)[:8], "--dry-run")
    assert f"{made.rows_planned - 30:,} rows in" in out and "Nothing has been changed." in out
    assert "30 conflicts" in out and out.count("somebody's") == 20 and "and 10 more" in out
    code, out, _ = migration.done(
        built, "rollback", str(made.run_id)[:8], "--dry-run", "--limit", "3"
    )
    assert code == 0 and out.count("somebody's") == 3
    code, out, _ = migration.done(
        built, "rollback", str(made.run_id), "--dry-run", "--format", "json"
    )
    found = json.loads(out)
    assert code == 0 and found["rows"] == made.rows_planned - 30
    assert found["reasons"] == {"edited": 30}
    (column,) = found["columns"]
    assert {int(each["row_key"]) for each in column["conflicts"]} == set(keys)
    assert sum(value["rows"] for value in column["restored"]) == found["rows"]
    assert standby.dump(built.url, standby.PLAIN) == before


def test_decisions_and_statements_are_those_that_were_stored(built: App) -> None:
    made = migrate(built, DEALS)
    back = take_back(built, made.run_id)
    built.query(f"update {LEDGER}.migration_value_map set value_after = 'other' where run_id = %s",
                back.run_id)  # fmt: skip
    code, _, err = migration.done(built, "apply", str(back.run_id), "--yes")
    assert code == 2 and "decisions of run" in err
    assert migration.done(built, "cancel", str(back.run_id), "--yes")[0] == 0
    other = take_back(built, made.run_id)
    with migration.connect(built) as connected:
        stored = runs.find(connected, LEDGER, str(other.run_id), runs.PLANNED)
    assert stored.kind == "rollback" and stored.sql_sha256 == runs.statements_digest(
        stored.statements
    )
    code, out, err = migration.done(built, "apply", str(other.run_id), "--yes")
    assert code == 0, out + err  # one that was stored and not begun is carried out like a plan
    later = take_back(built, other.run_id)  # but `apply` without RUN takes migrations only
    code, _, err = migration.done(built, "apply", "--yes")
    assert code == 2 and "there is no plan that was not started yet" in err, err
    status = f"select status from {LEDGER}.migration_runs where run_id = %s"
    assert built.query(status, later.run_id) == [("planned",)]
    built.query(f"update {LEDGER}.stage_migration_control set brake = 'a lagging standby'")
    code, out, err = migration.done(built, "status")
    assert code == 0 and "waits for a lagging standby" in out, out + err


# --------------------------------------------------------------------------------- helpers


def sql_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
