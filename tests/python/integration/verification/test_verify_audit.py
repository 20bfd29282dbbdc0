"""Batches, digests, changed rows and other columns: each fault is seen, by its check, with its row.

The statements are run as `trueup verify` runs them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from integration.conftest import App
from integration.migration.test_migration_shapes import EMBEDDED, Shape, odd  # noqa: F401  a fixture
from integration.migration.test_migration_shapes import migrate as migrate_odd
from support import migration
from trueup.core import ledger, runs, statements
from trueup.migration import engine, plan, rollback, session
from trueup.migration import runner as job

DEALS = plan.Scope(("deal_opportunities",))
COMPANIES = plan.Scope(("portfoliocompanies",))
PLACE = "deal_opportunities__stage"
LEDGER = "trueup_ledger"
CHANGED = f"""
    select row_id from {LEDGER}.stage_normalization_log
    where table_name = 'deal_opportunities' and action = 'update' order by row_id::int
"""
RANK = ("pass", "info", "warn", "fail")


@dataclass
class Found:
    """A check, from all statements that are about it."""

    status: str = "pass"
    expected: list[str] = field(default_factory=list)
    actual: list[str] = field(default_factory=list)
    offenders: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    @property
    def messages(self) -> str:
        """What people read."""
        return "\n".join(offender["message"] for offender in self.offenders)


def verified(app: App, run_id: Any, place: str = PLACE, **options: Any) -> dict[str, Found]:
    """The checks of this file, by id."""
    found = statements.statements(app.settings)
    values = {"tenants": None, "table_names": None, "is_quiesced": False, "epsilon": 0,
              "sample_size": 1, "seed": 1, "most": 100, **options}  # fmt: skip
    names = ("verify__batch_tracking", "verify__digests", f"verify_changes__{place}",
             f"verify_others__{place}")  # fmt: skip
    checks: dict[str, Found] = {}
    with migration.connect(app) as connected:
        found["begin_reading"].run(connected)
        for name in names:
            for check, status, expected, actual, offenders, count in found[name].run(
                connected, run_id=run_id, **values
            ):
                each = checks.setdefault(check, Found())
                each.status = max(each.status, status, key=RANK.index)
                each.expected.append(expected)
                each.actual.append(actual)
                each.offenders += offenders
                each.count += count
                assert all(offender["status"] in RANK[1:] for offender in offenders)
                assert values["most"] is None or len(offenders) <= values["most"]
    return checks


def statuses(found: dict[str, Found]) -> dict[str, str]:
    """The checks that are not met."""
    return {name: each.status for name, each in found.items() if each.status not in RANK[:2]}


@dataclass(frozen=True)
class Migrated:
    """A migration of the deals that is over, and a row that it changed."""

    app: App
    made: plan.Plan
    outcome: engine.Outcome
    row: int

    def checks(self, **options: Any) -> dict[str, Found]:
        return verified(self.app, self.made.run_id, **options)

    def query(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.app.query(query, *parameters)


@pytest.fixture
def migrated(built: App) -> Migrated:
    """Verified once without a finding."""
    made = migration.make_plan(built, DEALS, plan.Pace(100, 0, 1000))
    outcome = migration.apply(built, made)
    done = Migrated(built, made, outcome, int(built.query(CHANGED)[0][0]))
    found = done.checks()
    assert list(found) == ["batch_tracking", "audit_consistency", "null_integrity", "row_counts",
                           "other_columns_untouched"]  # fmt: skip
    assert {name: each.status for name, each in found.items()} == {
        "batch_tracking": "pass", "audit_consistency": "pass", "null_integrity": "pass",
        "row_counts": "pass", "other_columns_untouched": "info",
    }  # fmt: skip
    assert found["audit_consistency"].offenders == []
    return done


# -------------------------------------------------------------------------------- batch tracking


def test_a_batch_that_failed_is_named(migrated: Migrated) -> None:
    ((batch,),) = migrated.query(
        f"update {LEDGER}.stage_migration_batches set status = 'failed', error_message = 'why',"
        f" rows_failed = 2 where batch_id = (select min(batch_id) from"
        f" {LEDGER}.stage_migration_batches) returning batch_id"
    )
    found = migrated.checks()
    assert statuses(found) == {"batch_tracking": "fail"}
    check = found["batch_tracking"]
    assert check.expected == ["6 batches completed, 0 rows quarantined"]
    assert check.actual == ["5 batches completed, 2 rows quarantined"]
    assert check.messages == (
        f"deal_opportunities.stage, batch {batch} is failed: why, 2 rows quarantined"
    )
    assert check.offenders[0]["batch_id"] == batch
    assert statuses(migrated.checks(table_names=["investments"])) == {}
    assert statuses(migrated.checks(table_names=["deal_opportunities"])) != {}


def test_offenders_are_counted_and_only_the_first_are_shown(migrated: Migrated) -> None:
    migrated.query(f"update {LEDGER}.stage_migration_batches set status = 'cancelled'")
    migrated.query("alter table deal_opportunities disable trigger user")
    migrated.query("update deal_opportunities set stage = 'other'")
    found = migrated.checks(most=2)
    rows = len(migrated.query(CHANGED))
    assert (len(found["batch_tracking"].offenders), found["batch_tracking"].count) == (2, 6)
    check = found["audit_consistency"]
    assert (check.status, len(check.offenders), check.count) == ("fail", 2, rows)
    assert len(migrated.checks(most=None)["audit_consistency"].offenders) == rows


# ---------------------------------------------------------------------------------------- digests


def recorded(app: App, run_id: Any) -> str | None:
    """The digest of a run in the ledger."""
    ((digest,),) = app.query(
        f"select audit_digest from {LEDGER}.migration_runs where run_id = %s", run_id
    )
    return None if digest is None else str(digest)


def test_the_digest_is_recorded_at_the_end_and_the_same_everywhere(migrated: Migrated) -> None:
    digest = recorded(migrated.app, migrated.made.run_id)
    assert digest and re.fullmatch("[0-9a-f]{64}", digest)
    assert migrated.outcome.audit_digest == digest
    assert migrated.query(
        f"select count(*), count(audit_digest), count(distinct audit_digest)"
        f" from {LEDGER}.stage_migration_batches"
    ) == [(6, 6, 6)]
    assert digest in migrated.checks()["audit_consistency"].expected[0]
    database = migrated.app.database
    for setting in ("timezone to 'Asia/Kathmandu'", "datestyle to 'German'",
                    "extra_float_digits to -3", "intervalstyle to 'sql_standard'"):  # fmt: skip
        migrated.query(f"alter database {database} set {setting}")
    assert statuses(migrated.checks()) == {}


def test_it_is_printed_and_in_the_report(built: App) -> None:
    made = migration.make_plan(built, DEALS)
    code, out, err = migration.done(built, "apply", "--yes")
    digest = recorded(built, made.run_id)
    assert code == 0 and digest, err
    assert out.count(digest) == 2 and f'"auditDigest":"{digest}"' in out


def changes(change: str, condition: str = "true") -> str:
    """A change to one entry of the audit."""
    return (
        f"update {LEDGER}.stage_normalization_changes set {change} where {condition} and ctid ="
        f" (select ctid from {LEDGER}.stage_normalization_changes where {condition}"
        f" order by run_at limit 1)"
    )


BATCHES = f"update {LEDGER}.stage_migration_batches set"
FIRST = f"where batch_id = (select min(batch_id) from {LEDGER}.stage_migration_batches)"
TAMPERED = {
    "an entry that is gone":
        (f"delete from {LEDGER}.stage_normalization_changes where ctid = (select min(ctid) from"
         f" {LEDGER}.stage_normalization_changes)", "rows audited; its audit is not what it was"),
    "a row that is gone":
        (changes("row_keys = row_keys[2:], tenants = tenants[2:], map_ids = map_ids[2:]"),
         "rows counted, "),
    "a list that is shorter":
        (changes("tenants = tenants[2:]"), "not as many keys as tenants and changes"),
    "a tenant": (changes("tenants = array_replace(tenants, tenants[1], '77')"), "its audit is not"),
    "a time": (changes("run_at = run_at + interval '1 microsecond'"), "its audit is not"),
    "what was compared": (changes("others_changed = '{}'"), "its audit is not what it was when"),
    "what was done": (changes("action = 'revert'"), "its audit is not what it was when"),
    "a counter": (f"{BATCHES} rows_updated = rows_updated + 1 {FIRST}", "rows counted, "),
    "a batch's column": (f"{BATCHES} column_name = 'amount' {FIRST}", "its audit is not what it"),
    "a batch's digest": (f"{BATCHES} audit_digest = 'x' {FIRST}", "its audit is not what it was"),
    "no batch's digest": (f"{BATCHES} audit_digest = null {FIRST}", "its audit is not what it was"),
    "a batch that is gone": (f"delete from {LEDGER}.stage_migration_batches {FIRST}",
                             "the run has no such batch"),
    "the run's digest": (f"update {LEDGER}.migration_runs set audit_digest = md5('')",
                         "are not those of its end, digest d41d8cd98f00b204e9800998ecf8427e"),
    "no run's digest": (f"update {LEDGER}.migration_runs set audit_digest = null",
                        "are not those of its end, digest removed"),
    "a value before": (f"update {LEDGER}.migration_value_map set value_before = 'x'"
                       " where map_id = 1", "value map are not those of its end"),
    "a value more": (f"insert into {LEDGER}.migration_value_map select run_id, table_name,"
                     " column_name, 4711, 'x', 'y', match_type, 0 from"
                     f" {LEDGER}.migration_value_map where map_id = 1",
                     "value map are not those of its end"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_a_ledger_that_was_changed_fails(migrated: Migrated, what: str) -> None:
    change, words = TAMPERED[what]
    ((batch,),) = migrated.query(f"select min(batch_id) from {LEDGER}.stage_migration_batches")
    migrated.query(change)
    found = migrated.checks()
    assert statuses(found) == {"audit_consistency": "fail"}
    check = found["audit_consistency"]
    assert words in check.messages, check.messages
    assert (
        "run " in words
        or "value map" in words
        or "its end" in words
        or (
            batch in {offender.get("batch_id") for offender in check.offenders}
            and f"batch {batch}: " in check.messages
        )
    )
    # but for a counter, which is no part of the audit, the run's own digest tells, too
    assert (check.expected[0].split()[-1] == check.actual[0].split()[-1]) == (
        what in ("a counter", "a batch's digest", "no batch's digest")
    )


def test_a_change_that_was_edited_names_batch_and_row(migrated: Migrated) -> None:
    """And nothing but this check fails."""
    key, batch, before, after = migrated.query(
        f"select row_id, batch_id, stage_before, stage_after from {LEDGER}.stage_normalization_log"
        " order by row_id::int limit 1"
    )[0]
    migrated.query(
        f"update {LEDGER}.stage_normalization_changes set"
        " map_ids[array_position(row_keys, %(key)s)] = (select min(map_id) from"
        f" {LEDGER}.migration_value_map where value_after <> %(after)s and map_id is not null)"
        " where batch_id = %(batch)s".replace("%(key)s", f"'{key}'")
        .replace("%(after)s", f"'{after}'").replace("%(batch)s", str(batch))
    )  # fmt: skip
    found = migrated.checks()
    assert statuses(found) == {"audit_consistency": "fail"}
    check = found["audit_consistency"]
    (of_run,) = (each for each in check.offenders if each["message"].startswith("run "))
    (of_batch,) = (each for each in check.offenders if "row_key" not in each and each != of_run)
    (of_row,) = (each for each in check.offenders if "row_key" in each)
    assert of_batch["batch_id"] == of_row["batch_id"] == batch
    assert (of_row["row_key"], of_row["value_now"], of_row["status"]) == (key, after, "fail")
    assert before not in (of_row["value_before"],)
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


@pytest.mark.parametrize("status", ["cancelled", "interrupted"])
def test_a_run_that_ends_early(built: App, status: str) -> None:
    """Cancelled it has its digest, interrupted not yet: neither is a fault of the audit."""
    made = migration.make_plan(built, DEALS, plan.Pace(100, 0, 1000))
    stop, report = stopped_after(2)
    assert migration.apply(built, made, report, stop).status == "interrupted"
    if status == "cancelled":
        code, out, err = migration.done(built, "cancel", str(made.run_id)[:8], "--yes")
        assert code == 0, out + err
    assert (recorded(built, made.run_id) is not None) == (status == "cancelled")
    found = verified(built, made.run_id)
    assert statuses(found) == {"batch_tracking": "fail"}  # batches were not done
    if status == "cancelled":
        built.query(changes("tenants = array_replace(tenants, tenants[1], '77')"))
        assert verified(built, made.run_id)["audit_consistency"].status == "fail"


def test_a_run_that_is_cancelled_while_it_works(built: App) -> None:
    made = migration.make_plan(built, DEALS, plan.Pace(100, 0, 1000))

    def report(event: engine.Event) -> None:
        if event.kind == "batch_completed":
            built.query(f"update {LEDGER}.stage_migration_control"
                        " set requested_status = 'cancelled'")  # fmt: skip

    outcome = migration.apply(built, made, report)
    assert outcome.status == "cancelled"
    assert outcome.audit_digest and outcome.audit_digest == recorded(built, made.run_id)
    assert statuses(verified(built, made.run_id)) == {"batch_tracking": "fail"}


def test_a_run_that_is_gone_on_with_after_its_end(built: App) -> None:
    """A resumed run writes more; the digest of its first end is not the one of its last."""
    made = migration.make_plan(built, DEALS, plan.Pace(100, 0, 1000))
    stop, report = stopped_after(2)
    migration.apply(built, made, report, stop)
    built.query(f"update {LEDGER}.migration_runs set status = 'completed_with_failures'")
    with migration.connect(built) as connected:
        own = statements.statements(built.settings)["note_audit_digest"]
        digests = [own.run(connected, run_id=made.run_id).fetchall() for _ in range(2)]
    assert digests[0] == digests[1]  # twice is as good as once
    first = recorded(built, made.run_id)
    stop, report = stopped_after(1)
    migration.apply(built, made, report, stop)
    assert "audit_consistency" not in statuses(verified(built, made.run_id))
    outcome = migration.apply(built, made)
    assert outcome.status == "completed" and outcome.audit_digest != first
    assert statuses(verified(built, made.run_id)) == {}


def test_who_interrupts_the_digest_interrupts_the_run(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = migration.make_plan(built, DEALS)
    run = session.Session.run
    stop = engine.Stop()

    def cancelled(self: Any, statement: str, **values: Any) -> Any:
        if statement == "note_audit_digest":
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
    assert statuses(verified(built, made.run_id)) == {}


def test_scans_of_a_run_take_as_long_as_they_take(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role's own timeouts are not for them; a batch has its own."""
    built.query(f"alter database {built.database} set statement_timeout = '9s'")
    made = migration.make_plan(built, DEALS)
    run = statements.Statement.run
    seen: dict[str, str] = {}

    def watched(self: Any, connection: Any, **values: Any) -> Any:
        cursor = connection.execute("select current_setting('statement_timeout')")
        seen[self.name.split("__")[0]] = cursor.fetchone()[0]
        return run(self, connection, **values)

    monkeypatch.setattr(statements.Statement, "run", watched)
    built.query("create function skip() returns trigger language plpgsql as"
                " $$begin return null; end$$")  # fmt: skip
    built.query("create trigger skip before update on deal_opportunities for each row"
                " when (old.fund_id is null) execute function skip()")  # fmt: skip
    outcome = migration.apply(built, made)
    assert outcome.missed and outcome.audit_digest
    for name in ("remaining_values", "reopen_batches", "missed_rows", "note_audit_digest"):
        assert seen.pop(name) == "0", name
    assert seen["claim_range"] == "9s" and seen["apply_batch"] not in ("0", "9s")
    # who cancels a run that nobody works on reads its audit, too
    made = migration.make_plan(built, DEALS)
    schema = ledger.schema(built.settings)
    with migration.connect(built) as connected:
        planned = runs.find(connected, schema, str(made.run_id), runs.PLANNED)
        job.close(connected, schema, planned, "cancelled")
    assert seen["note_audit_digest"] == "0"


def roll_back(app: App, run_id: Any) -> tuple[Any, engine.Outcome]:
    """Take a run back as a whole."""
    with migration.connect(app) as connected:
        reverted = rollback.find(connected, ledger.schema(app.settings), str(run_id))
        connected.rollback()
        made = rollback.make(
            app.settings, connected, reverted, rollback.Scope(), migration.PACE, True
        )
    order = migration.order(app, made)
    stop = engine.Stop()
    return made.run_id, engine.apply(lambda: migration.connect(app), order, lambda _: None, stop)


def test_a_rollback_has_its_own_digest_and_leaves_the_other(migrated: Migrated) -> None:
    first = recorded(migrated.app, migrated.made.run_id)
    run_id, outcome = roll_back(migrated.app, migrated.made.run_id)
    assert outcome.audit_digest and outcome.audit_digest == recorded(migrated.app, run_id) != first
    assert statuses(migrated.checks()) == {}
    assert statuses(verified(migrated.app, run_id)) == {}
    assert recorded(migrated.app, migrated.made.run_id) == first
    check = verified(migrated.app, run_id)["other_columns_untouched"]
    assert check.status == "info" and "a rollback compares nothing" in check.messages


# ---------------------------------------------------------------------------------- changed rows


def test_an_edit_by_the_application_is_a_warning(migrated: Migrated) -> None:
    migrated.query("update deal_opportunities set stage = 'Mezzanine' where id = %s", migrated.row)
    found = migrated.checks()
    assert statuses(found) == {"audit_consistency": "warn"}
    (row,) = found["audit_consistency"].offenders
    assert row["row_key"] == str(migrated.row) and row["value_now"] == "Mezzanine"
    assert row["message"] == (
        f"deal_opportunities.stage, row {migrated.row}: '{row['value_before']}' →"
        f" '{row['value_written']}', now 'Mezzanine', edited since"
    )
    total = len(migrated.query(CHANGED))
    assert found["audit_consistency"].expected[1] == (
        f"deal_opportunities.stage: {total} changed rows, each as it was written last"
    )
    assert found["audit_consistency"].actual[1] == (
        f"deal_opportunities.stage: {total - 1} rows as they were written last,"
        " 1 edited or at odds with the audit, 0 deleted"
    )


def test_an_edit_of_another_column_is_no_finding(migrated: Migrated) -> None:
    migrated.query("update deal_opportunities set source = 'edited', amount = 1")
    assert statuses(migrated.checks()) == {}
    migrated.query("update deal_opportunities set fund_id = null")
    assert statuses(migrated.checks()) == {}


TOUCHED = {
    "updated_at": "fail",  # a write that kept no time
    "updated_at - interval '2 minutes'": "fail",
    "updated_at - interval '30 seconds'": "warn",  # it may have waited for our batch
    "updated_at + interval '1 second'": "warn",
}


@pytest.mark.parametrize("moment", TOUCHED)
def test_a_write_that_updated_at_does_not_know(migrated: Migrated, moment: str) -> None:
    migrated.query("alter table deal_opportunities disable trigger user")
    migrated.query(
        f"update deal_opportunities set stage = 'Mezzanine', updated_at = {moment} where id = %s",
        migrated.row,
    )
    found = migrated.checks()
    assert statuses(found) == {"audit_consistency": TOUCHED[moment]}
    assert f", row {migrated.row}: " in found["audit_consistency"].messages


def test_a_time_without_its_zone_tells_less(migrated: Migrated) -> None:
    """It may be the time of another place: only the very moment of a change of ours counts."""
    migrated.query("alter table deal_opportunities disable trigger user")
    migrated.query("alter table deal_opportunities add touched timestamp")
    migrated.query("update deal_opportunities set touched = updated_at")
    migrated.query("update deal_opportunities set stage = 'Mezzanine' where id = %s", migrated.row)
    statement = statements.statements(migrated.app.settings)[f"verify_changes__{PLACE}"]
    other = statement._replace(sql=statement.sql.replace(".updated_at as", ".touched as").replace(
        "(application.updated_at)", "(application.touched)"))  # fmt: skip
    assert other.sql.count("application.touched") == 2
    values = dict.fromkeys(statement.parameters) | {"run_id": migrated.made.run_id}
    for moment, status in (("touched", "fail"), ("touched - interval '5 hours'", "warn")):
        migrated.query(f"update deal_opportunities set touched = {moment}")
        with migration.connect(migrated.app) as connected:
            assert other.run(connected, **values).fetchall()[0][:2] == ("audit_consistency", status)


@pytest.mark.parametrize("value", [None, "", " \u00a0"])
def test_a_changed_row_without_a_value_is_named(migrated: Migrated, value: str | None) -> None:
    migrated.query("alter table deal_opportunities alter column stage drop not null")
    migrated.query("update deal_opportunities set stage = %s where id = %s", value, migrated.row)
    found = migrated.checks()
    assert statuses(found) == {"null_integrity": "fail", "audit_consistency": "warn"}
    shown = "NULL" if value is None else "blank"
    assert re.search(f"row {migrated.row}: .*, now {shown}$", found["null_integrity"].messages)
    assert found["null_integrity"].count == 1
    assert "without a value" in found["audit_consistency"].messages


def test_a_changed_row_that_is_deleted_is_named(migrated: Migrated) -> None:
    migrated.query("delete from deal_opportunities where id = %s", migrated.row)
    found = migrated.checks()
    assert statuses(found) == {"row_counts": "warn"}
    assert re.search(f"row {migrated.row}: .*, deleted since", found["row_counts"].messages)
    found = migrated.checks(is_quiesced=True)
    assert statuses(found) == {"row_counts": "fail"}
    assert [each["status"] for each in found["row_counts"].offenders] == ["fail"]


def test_an_edit_between_two_runs_is_a_warning(migrated: Migrated) -> None:
    """The later run begins with another value than the first one left."""
    ((before,),) = migrated.query(
        "select raw_value from trueup_sample.spellings as s where canonical_value is not null and"
        " raw_value <> canonical_value and canonical_value <> (select stage from"
        " deal_opportunities where id = %s) order by weight desc, raw_value limit 1", migrated.row,
    )  # fmt: skip
    migrated.query("update deal_opportunities set stage = %s where id = %s", before, migrated.row)
    later = migration.make_plan(migrated.app, DEALS)
    assert later.rows_planned == 1
    assert migration.apply(migrated.app, later).status == "completed"
    found = migrated.checks()
    assert statuses(found) == {"audit_consistency": "warn"}
    (row,) = found["audit_consistency"].offenders
    assert (
        row["row_key"] == str(migrated.row)
        and ", edited in between, before batch" in (row["message"])
    )
    # what was before the later run is what its plan saw
    assert statuses(verified(migrated.app, later.run_id)) == {}


def test_a_row_that_one_transaction_records_twice_fails(migrated: Migrated) -> None:
    migrated.query(
        changes("row_keys = row_keys || row_keys[1], tenants = tenants || tenants[1],"
                " map_ids = map_ids || map_ids[1]")
    )  # fmt: skip
    found = migrated.checks()
    assert statuses(found) == {"audit_consistency": "fail"}
    assert "recorded twice by batch" in found["audit_consistency"].messages


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
    ],
)
def test_nonsense_in_the_audit_is_a_fault_and_no_error(
    migrated: Migrated, change: str, words: str
) -> None:
    migrated.query(changes(change))
    found = migrated.checks()
    assert found["audit_consistency"].status == "fail"
    assert words in found["audit_consistency"].messages + found["row_counts"].messages


def test_only_the_tenants_that_are_asked_for(migrated: Migrated) -> None:
    ((tenant, other),) = migrated.query(
        "select cast(fund_id as text), (select cast(min(fund_id) as text) from deal_opportunities"
        " where fund_id <> d.fund_id) from deal_opportunities as d where fund_id is not null"
        f" and id in (select row_id::int from ({CHANGED}) as c) order by id limit 1"
    )
    migrated.query(
        "update deal_opportunities set stage = 'Mezzanine' where fund_id = %s", int(tenant)
    )
    assert statuses(migrated.checks()) == {"audit_consistency": "warn"}
    assert statuses(migrated.checks(tenants=[tenant])) == {"audit_consistency": "warn"}
    assert statuses(migrated.checks(tenants=[other])) == {}
    assert statuses(migrated.checks(tenants=[None])) == {}
    everyone = migrated.checks()["audit_consistency"].expected[1]
    parts = [migrated.checks(tenants=[each])["audit_consistency"].expected[1]
             for (each,) in migrated.query("select distinct cast(fund_id as text)"
                                           " from deal_opportunities")]  # fmt: skip
    numbers = [int(re.findall(r"\d+", text)[0]) for text in [everyone, *parts]]
    assert numbers[0] == sum(numbers[1:])
    migrated.query("update deal_opportunities set stage = 'Mezzanine' where fund_id is null")
    assert statuses(migrated.checks(tenants=[None])) == {"audit_consistency": "warn"}
    assert migrated.checks(tenants=[None])["audit_consistency"].offenders[0]["tenant"] is None


def test_the_other_column_of_a_row_was_the_last_that_a_run_touched(built: App) -> None:
    """Then updated_at says nothing about the first: somebody may have edited it in between."""
    made = migration.make_plan(built, COMPANIES)
    assert migration.apply(built, made).status == "completed"
    ((key,),) = built.query(
        f"select row_id from {LEDGER}.stage_normalization_log where table_name ="
        " 'portfoliocompanies' group by row_id having count(distinct column_name) = 2 limit 1"
    )
    built.query("alter table portfoliocompanies disable trigger user")
    built.query("update portfoliocompanies set stage = 'x', current_stage = 'y' where id = %s",
                int(key))  # fmt: skip
    for column, status in (("stage", "warn"), ("current_stage", "fail")):
        found = verified(built, made.run_id, f"portfoliocompanies__{column}")
        assert statuses(found) == {"audit_consistency": status}, column
        assert f"row {key}: " in found["audit_consistency"].messages


@pytest.mark.parametrize(
    "shape",
    [shape for shape in EMBEDDED if shape.table not in ("odd_varchar", "odd_text_c", "odd_a__b")],
    ids=lambda shape: shape.table,
)
def test_keys_of_all_kinds(odd: App, shape: Shape) -> None:  # noqa: F811  the fixture
    migrate_odd(odd, shape, plan.Pace(batch_size=40, sleep_ms=0, target_ms=1000, stripes=4))
    ((run_id,),) = odd.query(
        f"select run_id from {LEDGER}.migration_runs where status = 'completed' and audit_digest is"
        f" not null and run_id in (select run_id from {LEDGER}.stage_normalization_changes)"
        " order by planned_at desc limit 1"
    )
    place = statements.column_statement("", shape.table, shape.column)[2:]
    found = verified(odd, run_id, place)
    assert {each.status for each in found.values()} == {"pass"}
    assert "cannot move" in found["other_columns_untouched"].actual[0]
    name, column = (psycopg.sql.Identifier(each) for each in (shape.table, shape.column))
    with odd.connect() as connected:
        connected.execute(psycopg.sql.SQL("update {} set {} = 'x'").format(name, column))
    found = verified(odd, run_id, place, most=None)
    assert statuses(found) == {"audit_consistency": "warn"}
    assert found["audit_consistency"].count > 100


# --------------------------------------------------------------------------------- other columns


def followed(app: App, ddl: str, compares: bool = False) -> Found:
    """What the check says of a migration of the deals, without the sample's trigger."""
    app.query("drop trigger touch_row_version on deal_opportunities")
    app.query(
        "create function follow() returns trigger language plpgsql as"
        " $$begin new.source := coalesce(new.source, '') || new.id; return new; end$$"
    )
    app.query("create function look() returns trigger language plpgsql as"
              " $$begin return null; end$$")  # fmt: skip
    for statement in filter(str.strip, ddl.split(";")):
        app.query(statement)
    made = migration.make_plan(app, DEALS, plan.Pace(100, 0, 1000))
    assert migration.apply(app, made, compare_others=compares).status == "completed"
    found = verified(app, made.run_id)
    assert statuses({**found, "other_columns_untouched": Found()}) == {}
    return found["other_columns_untouched"]


TRIGGER = "create trigger follow before update on deal_opportunities for each row"
AFTER = "after update on deal_opportunities"
FOLLOWERS = {
    "nothing": ("", "pass"),
    "a trigger on every row": (f"{TRIGGER} execute function follow()", "info"),
    "one that is switched off": (
        f"{TRIGGER} execute function follow();"
        " alter table deal_opportunities disable trigger follow", "pass"),
    "one for replicas": (
        f"{TRIGGER} execute function follow();"
        " alter table deal_opportunities enable replica trigger follow", "pass"),
    "one that is always on": (
        f"{TRIGGER} execute function follow();"
        " alter table deal_opportunities enable always trigger follow", "info"),
    "one afterwards": (f"create trigger look {AFTER} for each row execute function look()", "info"),
    "one per statement": (
        f"create trigger look {AFTER} for each statement execute function look()", "info"),
    "one of this column": (
        "create trigger follow before update of amount, stage on deal_opportunities for each row"
        " execute function follow()", "info"),
    "one of another column": (
        "create trigger follow before update of amount on deal_opportunities for each row"
        " execute function follow()", "pass"),
    "one of inserts": (
        "create trigger follow before insert on deal_opportunities for each row"
        " execute function follow()", "pass"),
    "a column computed from this one": (
        "alter table deal_opportunities add shown text generated always as (lower(stage)) stored",
        "info"),
    "a column computed from another": (
        "alter table deal_opportunities add shown text generated always as (lower(source)) stored",
        "pass"),
}  # fmt: skip


@pytest.mark.parametrize("what", FOLLOWERS)
def test_what_follows_an_update(built: App, what: str) -> None:
    ddl, status = FOLLOWERS[what]
    check = followed(built, ddl)
    assert check.status == status
    if status == "pass":
        assert (check.offenders, check.count) == ([], 0) and "cannot move: " in check.actual[0]
    else:
        assert check.actual == ["deal_opportunities.stage: not recorded"]
        assert "`trueup apply --hash-others` compares them" in check.messages
        assert re.search("not recorded; (trigger (follow|look)|generated column shown) may",
                         check.messages)  # fmt: skip
        # what was there when the run was planned and is gone speaks against it, too
        built.query("drop function follow() cascade")
        built.query("drop function look() cascade")
        built.query("alter table deal_opportunities drop column if exists shown cascade")
        ((run_id,),) = built.query(f"select run_id from {LEDGER}.migration_runs")
        check = verified(built, run_id)["other_columns_untouched"]
        assert check.status == "info"
        assert check.actual == ["deal_opportunities.stage: not recorded"]
        assert re.search("not recorded; the plan found: (trigger (follow|look) |generated column)",
                         check.messages)  # fmt: skip


def test_a_rule_may_follow_an_update(migrated: Migrated) -> None:
    migrated.query("drop trigger touch_row_version on deal_opportunities")
    migrated.query(f"update {LEDGER}.migration_runs set findings = '[]'")
    assert migrated.checks()["other_columns_untouched"].status == "pass"
    migrated.query("create rule watched as on update to deal_opportunities do also"
                   " select 1")  # fmt: skip
    check = migrated.checks()["other_columns_untouched"]
    assert check.status == "info" and "rule watched may move them" in check.messages


def test_a_trigger_of_a_partition(odd: App) -> None:  # noqa: F811  the fixture
    shape = next(shape for shape in EMBEDDED if shape.table == "odd_partitioned")
    migrate_odd(odd, shape, migration.PACE)
    ((run_id,),) = odd.query(
        f"select run_id from {LEDGER}.stage_normalization_changes order by run_at desc limit 1"
    )
    check = "other_columns_untouched"
    assert verified(odd, run_id, "odd_partitioned__stage")[check].status == "pass"
    odd.query("create function look() returns trigger language plpgsql as"
              " $$begin return null; end$$")  # fmt: skip
    odd.query("create trigger look after update on odd_rest_1 for each row"
              " execute function look()")  # fmt: skip
    assert verified(odd, run_id, "odd_partitioned__stage")[check].status == "info"


def test_other_columns_that_were_compared(built: App) -> None:
    """Nothing follows the update but the sample's trigger, whose columns are allowed to move."""
    made = migration.make_plan(built, DEALS)
    migration.apply(built, made, compare_others=True)
    check = verified(built, made.run_id)["other_columns_untouched"]
    assert (check.status, check.offenders) == ("pass", [])
    assert check.actual == ["deal_opportunities.stage: compared in every batch"]


def test_a_column_that_a_trigger_moved_fails_with_its_batch(built: App) -> None:
    check = followed(
        built, f"{TRIGGER} when (new.id % 7 = 0) execute function follow()", compares=True
    )
    moved = dict(
        built.query(
            f"select row_id, batch_id from {LEDGER}.stage_normalization_log"
            " where mod(row_id::int, 7) = 0"
        )
    )
    assert check.status == "fail" and len(moved) > 10
    assert {each["row_key"]: each["batch_id"] for each in check.offenders} == moved
    assert check.count == len(moved)
    key, batch = next(iter(moved.items()))
    assert f"row {key}: other columns changed with it, in batch {batch}" in check.messages
    ((run_id,),) = built.query(f"select run_id from {LEDGER}.migration_runs")
    of_none = verified(built, run_id, tenants=[None])["other_columns_untouched"]
    assert 0 < of_none.count < check.count
    assert {each["tenant"] for each in of_none.offenders} == {None}


def test_some_batches_compared_and_others_did_not(migrated: Migrated) -> None:
    migrated.query(changes("others_changed = '{}'"))
    check = migrated.checks()["other_columns_untouched"]
    assert (check.status, [each["status"] for each in check.offenders]) == ("info", ["info"])
    assert check.actual == ["deal_opportunities.stage: compared in 1 of 6 entries of the audit"]
    migrated.query(changes("others_changed = row_keys[1:1]"))
    check = migrated.checks()["other_columns_untouched"]
    assert check.status == "fail"
    assert [each["status"] for each in check.offenders] == ["fail", "info"]


@pytest.mark.parametrize("statement", ["verify_others", "verify_changes"])
def test_a_table_that_is_gone_is_an_error(migrated: Migrated, statement: str) -> None:
    migrated.query("drop table deal_opportunities cascade")
    found = statements.statements(migrated.app.settings)[f"{statement}__{PLACE}"]
    values = dict.fromkeys(found.parameters) | {"run_id": migrated.made.run_id}
    with migration.connect(migrated.app) as connected, pytest.raises(psycopg.errors.UndefinedTable):
        found.run(connected, **values)


def test_no_run_and_no_such_column_is_no_row(migrated: Migrated) -> None:
    nowhere = "00000000-0000-0000-0000-000000000000"
    assert verified(migrated.app, nowhere) == {}
    assert list(verified(migrated.app, migrated.made.run_id, "investments__round")) == [
        "batch_tracking", "audit_consistency",
    ]  # fmt: skip
    assert list(migrated.checks(table_names=["investments"])) == [
        "batch_tracking", "audit_consistency",
    ]  # fmt: skip
