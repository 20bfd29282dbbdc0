"""Batches, digests, changed rows, other columns: each fault is seen by its check, with its row."""

from __future__ import annotations

import re
from typing import Any

import pytest

from integration.conftest import App
from support import data, migration
from support.verification import LEDGER, Check, Run, reading
from trueup.core import ledger, runs, statements
from trueup.migration import engine, plan, session

SCOPE = plan.Scope(("deal_opportunities",))
PACE = plan.Pace(100, 0, 1000)
CHANGED = f"""
    select row_id from {LEDGER}.stage_normalization_log
    where table_name = 'deal_opportunities' and action = 'update' order by row_id::int
"""
OTHERS = "other_columns_untouched"
TAMPERED, FOLLOWERS = data("audit_faults.yml").values()


def changed_row(run: Run) -> int:
    """A row that the run changed."""
    return int(run.query(CHANGED)[0][0])


def edit(run: Run, value: str | None, row: int) -> None:
    run.query("update deal_opportunities set stage = %s where id = %s", value, row)


def messages(check: Check) -> str:
    """What people read."""
    return "\n".join(offender["message"] for offender in check.sample)


# ---------------------------------------------------------------------------------------- digests


def recorded(app: App, run_id: Any) -> str | None:
    """The digest of a run in the ledger."""
    ((digest,),) = app.query(
        f"select audit_digest from {LEDGER}.migration_runs where run_id = %s", run_id
    )
    return None if digest is None else str(digest)


def test_the_digest_is_recorded_printed_and_the_same_everywhere(built: App) -> None:
    made = migration.make_plan(built, SCOPE, PACE)
    code, out, err = migration.done(built, "apply", "--yes")
    digest = recorded(built, made.run_id)
    assert code == 0 and digest and re.fullmatch("[0-9a-f]{64}", digest), err
    assert out.count(digest) == 2 and f'"auditDigest":"{digest}"' in out
    with reading(built) as run:
        assert run.query(
            "select count(*), count(audit_digest), count(distinct audit_digest)"
            f" from {LEDGER}.stage_migration_batches"
        ) == [(6, 6, 6)]
        assert digest in run.checks()["audit_consistency"].expected[0]
        for setting in ("timezone to 'Asia/Kathmandu'", "datestyle to 'German'",
                        "extra_float_digits to -3", "intervalstyle to 'sql_standard'"):  # fmt: skip
            run.query(f"set local {setting}")
        assert run.differs() == {}


def changes(change: str) -> str:
    """A change to the first entry of the audit of the deals."""
    return (
        f"update {LEDGER}.stage_normalization_changes set {change} where ctid ="
        f" (select changes.ctid from {LEDGER}.stage_normalization_changes as changes inner join"
        f" {LEDGER}.stage_migration_batches using (batch_id)"
        " where table_name = 'deal_opportunities' order by run_at limit 1)"
    )


@pytest.mark.parametrize("what", TAMPERED)
def test_a_ledger_that_was_changed_fails(deals: Run, what: str) -> None:
    fault, words = TAMPERED[what], TAMPERED[what]["words"]
    ((batch,),) = deals.query(f"select min(batch_id) from {LEDGER}.stage_migration_batches")
    deals.query(changes(fault["entry"]) if "entry" in fault else fault["plant"])
    ours = (
        "verification__batch_tracking",
        "verification__digests",
        "check_changes",
        "check_others",
    )
    assert deals.differs(purposes=ours) == {"audit_consistency": "fail"}
    check = deals.checks(purposes=ours)["audit_consistency"]
    assert words in messages(check), messages(check)
    if "are not those of" not in words:
        assert batch in {offender.get("batch_id") for offender in check.sample}
        assert f"batch {batch}: " in messages(check)
    # but for what is no part of the audit, the run's own digest tells, too
    assert (check.expected[0].split()[-1] == check.found[0].split()[-1]) == (
        what in ("a counter", "a batch's digest", "no batch's digest") or "its plan" in words
    )


def test_a_change_that_was_edited_names_batch_and_row(deals: Run) -> None:
    """And nothing but this check fails."""
    key, batch, before, after = deals.query(
        f"select row_id, batch_id, stage_before, stage_after from {LEDGER}.stage_normalization_log"
        " where table_name = 'deal_opportunities' order by row_id::int limit 1"
    )[0]
    deals.query(
        f"update {LEDGER}.stage_normalization_changes set map_ids[array_position(row_keys, %s)] ="
        f" (select min(map_id) from {LEDGER}.migration_value_map where value_after <> %s"
        "  and table_name = 'deal_opportunities' and map_id is not null) where batch_id = %s",
        key, after, batch,
    )  # fmt: skip
    assert deals.differs() == {"audit_consistency": "fail"}
    check = deals.checks()["audit_consistency"]
    (of_run,) = (each for each in check.sample if each["message"].startswith("run "))
    (of_batch,) = (each for each in check.sample if "row_key" not in each and each != of_run)
    (of_row,) = (each for each in check.sample if "row_key" in each)
    assert of_batch["batch_id"] == of_row["batch_id"] == batch
    assert (of_row["row_key"], of_row["value_now"], of_row["status"]) == (key, after, "fail")
    assert of_row["value_before"] != before
    assert f", now '{after}', and not touched since batch {batch}" in of_row["message"]


def stopped_after(batches: int) -> tuple[engine.Stop, Any]:
    """Somebody presses Ctrl-C once, after so many batches."""
    stop = engine.Stop()
    seen: list[str] = []

    def report(event: engine.Event) -> None:
        seen.append(event.kind)
        if seen.count("batch_completed") == batches:
            stop.requested = True

    return stop, report


def test_a_run_that_ends_early_has_its_digest_once_it_has_ended(built: App) -> None:
    """Interrupted it has none yet, cancelled it has: neither is a fault of the audit."""
    made = migration.make_plan(built, SCOPE, PACE)
    stop, report = stopped_after(2)
    assert migration.apply(built, made, report, stop).status == "interrupted"
    unfinished = {"batch_tracking": "fail", "canonical_values": "fail"}
    assert recorded(built, made.run_id) is None
    with reading(built) as run:
        assert run.differs() == unfinished
    migration.printed(built, "cancel", str(made.run_id)[:8], "--yes")
    assert recorded(built, made.run_id)
    with reading(built) as run:
        assert run.differs() == unfinished
        run.query(changes("tenants = array_replace(tenants, tenants[1], '77')"))
        assert run.checks()["audit_consistency"].status == "fail"


def test_a_run_that_is_cancelled_while_it_works(built: App) -> None:
    made = migration.make_plan(built, SCOPE, PACE)

    def report(event: engine.Event) -> None:
        if event.kind == "batch_completed":
            built.query(f"update {LEDGER}.stage_migration_control"
                        " set requested_status = 'cancelled'")  # fmt: skip

    outcome = migration.apply(built, made, report)
    assert outcome.status == "cancelled"
    assert outcome.audit_digest and outcome.audit_digest == recorded(built, made.run_id)
    with reading(built) as run:
        assert run.checks()["audit_consistency"].status == "ok"


def test_a_run_that_is_gone_on_with_after_its_end(built: App) -> None:
    """A resumed run writes more; the digest of its first end is not the one of its last."""
    made = migration.make_plan(built, SCOPE, PACE)
    stop, report = stopped_after(2)
    migration.apply(built, made, report, stop)
    built.query(f"update {LEDGER}.migration_runs set status = 'completed_with_failures'")
    with migration.connect(built) as connected:
        own = statements.statements(built.settings)["run__note_audit_digest"]
        digests = [own.run(connected, run_id=made.run_id).fetchall() for _ in range(2)]
    assert digests[0] == digests[1]  # twice is as good as once
    first = recorded(built, made.run_id)
    stop, report = stopped_after(1)
    migration.apply(built, made, report, stop)
    with reading(built) as run:
        assert run.checks()["audit_consistency"].status == "ok"
    outcome = migration.apply(built, made)
    assert outcome.status == "completed" and outcome.audit_digest != first
    with reading(built) as run:
        assert run.differs() == {}


def test_who_interrupts_the_digest_interrupts_the_run(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = migration.make_plan(built, SCOPE)
    run = session.Session.run
    stop = engine.Stop()

    def cancelled(self: Any, statement: str, **values: Any) -> Any:
        if statement == "run__note_audit_digest":
            stop.requested = True
            self.connection.execute("set local statement_timeout = 1")
            self.connection.execute("select pg_sleep(5)")
        return run(self, statement, **values)

    monkeypatch.setattr(session.Session, "run", cancelled)
    outcome = migration.apply(built, made, stop=stop)
    assert (outcome.status, outcome.audit_digest) == ("interrupted", None)
    assert recorded(built, made.run_id) is None
    monkeypatch.setattr(session.Session, "run", run)
    outcome = migration.apply(built, made)
    assert outcome.status == "completed" and outcome.audit_digest
    with reading(built) as ended:
        assert ended.differs() == {}


def test_scans_of_a_run_take_as_long_as_they_take(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role's own timeouts are not for them; a batch has its own."""
    built.query(f"alter database {built.database} set statement_timeout = '9s'")
    made = migration.make_plan(built, SCOPE)
    run = statements.Statement.run_with
    seen: dict[str, str] = {}

    def watched(self: Any, connection: Any, *values: Any, **more: Any) -> Any:
        cursor = connection.execute("select current_setting('statement_timeout')")
        seen[self.name.split("__")[0] if "__stage" in self.name else self.name] = cursor.fetchone()[
            0
        ]
        return run(self, connection, *values, **more)

    monkeypatch.setattr(statements.Statement, "run_with", watched)
    built.query("create function skip() returns trigger language plpgsql as"
                " $$begin return null; end$$")  # fmt: skip
    built.query("create trigger skip before update on deal_opportunities for each row"
                " when (old.fund_id is null) execute function skip()")  # fmt: skip
    outcome = migration.apply(built, made)
    assert outcome.missed and outcome.audit_digest
    for name in ("remaining_values", "reopen_batches", "missed_rows", "run__note_audit_digest"):
        assert seen.pop(name) == "0", name
    assert seen["run__claim_ranges"] == "9s" and seen["apply_batch"] not in ("0", "9s")
    # who cancels a run that nobody works on reads its audit, too
    made = migration.make_plan(built, SCOPE)
    schema = ledger.schema(built.settings)
    with migration.connect(built) as connected:
        planned = runs.find(connected, schema, str(made.run_id), runs.PLANNED)
        plan.close(built.settings, connected, planned, "cancelled")
    assert seen["run__note_audit_digest"] == "0"


# ---------------------------------------------------------------------------------- changed rows


def test_a_time_without_its_zone_tells_less(deals: Run) -> None:
    """It may be the time of another place: only the very moment of a change of ours counts."""
    deals.query("alter table deal_opportunities disable trigger user")
    deals.query("alter table deal_opportunities add touched timestamp")
    deals.query("update deal_opportunities set touched = updated_at")
    edit(deals, "Mezzanine", changed_row(deals))
    statement = deals.statements["check_changes__deal_opportunities__stage"]
    other = statement._replace(sql=statement.sql.replace(".updated_at as", ".touched as").replace(
        "(application.updated_at)", "(application.touched)"))  # fmt: skip
    assert other.sql.count("application.touched") == 2
    values = dict.fromkeys(statement.parameters) | {"run_id": deals.run_id}
    for moment, status in (("touched", "fail"), ("touched - interval '5 hours'", "warn")):
        deals.query(f"update deal_opportunities set touched = {moment}")
        found = other.run(deals.connection, **values).fetchall()
        assert found[0][:2] == ("audit_consistency", status)


def test_an_edit_between_two_runs_is_a_warning(migrated: App) -> None:
    """The later run begins with another value than the first one left."""
    with reading(migrated) as run:
        key, first = changed_row(run), run.run_id
    ((before,),) = migrated.query(
        "select raw_value from trueup_sample.spellings as s where canonical_value is not null and"
        " raw_value <> canonical_value and canonical_value <> (select stage from"
        " deal_opportunities where id = %s) order by weight desc, raw_value limit 1", key,
    )  # fmt: skip
    migrated.query("update deal_opportunities set stage = %s where id = %s", before, key)
    later = migration.make_plan(migrated, SCOPE)
    assert later.rows_planned == 1
    assert migration.apply(migrated, later).status == "completed"
    with reading(migrated, first) as run:
        assert run.differs() == {"audit_consistency": "warn"}
        (row,) = run.checks()["audit_consistency"].sample
        assert row["row_key"] == str(key)
        assert ", edited in between, before batch" in row["message"]
    # what was before the later run is what its plan saw
    with reading(migrated) as run:
        assert run.run_id == str(later.run_id) and run.differs() == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("map_ids[1] = 4711", "recorded a change that is not in the value map"),
        ("map_ids[1] = -1", "recorded a change that is not in the value map"),
        ("map_ids[1] = null", "recorded a change that is not in the value map"),
        ("map_ids = map_ids[2:]", "recorded a change that is not in the value map"),
        ("row_keys[1] = null", "row ?: "),
        ("row_keys[1] = 'x; drop table'", "row x; drop table: "),
        ("row_keys[1] = ''", "row : "),
        ("row_keys = row_keys || row_keys[1], tenants = tenants || tenants[1],"
         " map_ids = map_ids || map_ids[1]", "recorded twice by batch"),
    ],
)  # fmt: skip
def test_nonsense_in_the_audit_is_a_fault_and_no_error(deals: Run, change: str, words: str) -> None:
    deals.query(changes(change))
    found = deals.checks()
    assert found["audit_consistency"].status == "fail"
    assert words in messages(found["audit_consistency"]) + messages(found["row_counts"])


def test_the_other_column_of_a_row_was_the_last_that_a_run_touched(everything: Run) -> None:
    """Then updated_at says nothing about the first: somebody may have edited it in between."""
    ((key,),) = everything.query(
        f"select row_id from {LEDGER}.stage_normalization_log where table_name ="
        " 'portfoliocompanies' group by row_id having count(distinct column_name) = 2 limit 1"
    )
    everything.query("alter table portfoliocompanies disable trigger user")
    everything.query("update portfoliocompanies set stage = 'x', current_stage = 'y' where id = %s",
                     int(key))  # fmt: skip
    for column, status in (("stage", "warn"), ("current_stage", "fail")):
        place = ("portfoliocompanies", column)
        assert everything.differs(place) == {"audit_consistency": status}, column
        assert f"row {key}: " in messages(everything.checks(place)["audit_consistency"])


# --------------------------------------------------------------------------------- other columns

MOVES = ("create function follow() returns trigger language plpgsql as"
         " $$begin new.source := coalesce(new.source, '') || new.id; return new; end$$;"
         " create function look() returns trigger language plpgsql as"
         " $$begin return null; end$$")  # fmt: skip


@pytest.mark.parametrize("what", FOLLOWERS)
def test_what_may_follow_an_update(deals: Run, what: str) -> None:
    status = FOLLOWERS[what]["status"]
    deals.query("drop trigger touch_row_version on deal_opportunities")
    deals.query(f"update {LEDGER}.migration_runs set findings = '[]'")  # of that trigger
    deals.query(f"{MOVES}; {FOLLOWERS[what]['ddl']}")
    check = deals.checks()[OTHERS]
    assert check.status == status
    if status == "ok":
        assert (check.sample, check.rows) == ([], 0)
        assert "cannot move: " in check.found[0]
    else:
        assert check.found == ["deal_opportunities.stage: not recorded"]
        assert "`trueup apply --hash-others` compares them" in messages(check)
        assert re.search(
            "not recorded; (trigger (follow|look)|generated column shown|rule watched) may",
            messages(check),
        )


def test_what_was_there_when_the_run_was_planned_and_is_gone_counts_too(built: App) -> None:
    built.query("drop trigger touch_row_version on deal_opportunities")
    three = ("a trigger on every row", "one afterwards", "a column computed from this one")
    built.query("; ".join([MOVES, *(FOLLOWERS[what]["ddl"] for what in three)]))
    migration.apply(built, migration.make_plan(built, SCOPE))
    with reading(built) as run:
        run.query("drop function follow() cascade; drop function look() cascade;"
                  " alter table deal_opportunities drop column shown cascade")  # fmt: skip
        check = run.checks()[OTHERS]
        assert (check.status, check.found) == (
            "info", ["deal_opportunities.stage: not recorded"]
        )  # fmt: skip
        said = messages(check).partition("not recorded; the plan found: ")[2]
        for fact in ("shown", "follow (trueup.follow)", "look (trueup.look)"):
            assert fact in said


def test_other_columns_that_were_compared_and_one_that_a_trigger_moved(built: App) -> None:
    """The columns of the sample's own trigger may move; a byte in another one fails, with batch."""
    migration.apply(built, migration.make_plan(built, plan.Scope(("investments",)), PACE),
                    compare_others=True)  # fmt: skip
    with reading(built) as run:
        check = run.checks(("investments", "round"))[OTHERS]
        assert (check.status, check.sample) == ("ok", [])
        assert check.found == [
            "investments.round: compared in every batch, but for row_version, updated_at"
        ]
        # what was not compared is not claimed
        run.query(f"alter table investments add notes text; {MOVES}; create trigger look"
                  " after update on investments for each row execute function look()")  # fmt: skip
        check = run.checks(("investments", "round"))[OTHERS]
        assert check.status == "info" and messages(check).endswith(
            "; added since the plan and not compared: notes; trigger look may move them after the"
            " comparison"
        )
    built.query(f"{MOVES}; create trigger follow before update on deal_opportunities for each row"
                " when (new.id % 7 = 0) execute function follow()")  # fmt: skip
    migration.apply(built, migration.make_plan(built, SCOPE, PACE), compare_others=True)
    with reading(built) as run:
        moved = dict(
            run.query(
                f"select row_id, batch_id from {LEDGER}.stage_normalization_log"
                " where table_name = 'deal_opportunities' and mod(row_id::int, 7) = 0"
            )
        )
        assert run.differs() == {OTHERS: "fail"} and len(moved) > 10
        check = run.checks()[OTHERS]
        assert {each["row_key"]: each["batch_id"] for each in check.sample} == moved
        assert check.rows == len(moved)
        key, batch = next(iter(moved.items()))
        assert f"row {key}: other columns changed with it, in batch {batch}" in messages(check)
        of_none = run.checks(tenants=[None])[OTHERS]
        assert 0 < of_none.rows < check.rows
        assert {each["tenant"] for each in of_none.sample} == {None}


def test_some_batches_compared_and_others_did_not(deals: Run) -> None:
    deals.query(changes("others_changed = '{}'"))
    check = deals.checks()[OTHERS]
    assert (check.status, [each["status"] for each in check.sample]) == ("info", ["info"])
    assert check.found == ["deal_opportunities.stage: compared in 1 of 6 entries of the audit"]
    deals.query(changes("others_changed = row_keys[1:1]"))
    check = deals.checks()[OTHERS]
    assert check.status == "fail"
    assert [each["status"] for each in check.sample] == ["fail", "info"]
