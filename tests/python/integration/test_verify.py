"""`trueup verify`: each check is seen failing with a fault of its own, and naming it."""

from __future__ import annotations

import json

import pytest

from integration import migration
from integration.conftest import App
from trueup import plan, verify

DEALS = plan.Scope(("deal_opportunities",))
CHANGED = """
    select row_id from trueup_ledger.stage_normalization_log
    where table_name = 'deal_opportunities' order by row_id::int limit 1
"""


def statuses(app: App) -> dict[str, str]:
    return {check.id: check.status for check in verified(app).checks}


def verified(app: App) -> verify.Verification:
    with migration.connect(app) as connected:
        return verify.run(app.settings, connected, None)


def offenders(app: App, check: str) -> str:
    return "\n".join(line for c in verified(app).checks if c.id == check for line in c.offenders)


@pytest.fixture
def migrated(built: App) -> App:
    """The deals, migrated: 600 rows, verified once without a finding but what the plan listed."""
    migration.apply(built, migration.make_plan(built, DEALS))
    assert statuses(built) == {
        "batch_tracking": "pass",
        "canonical_values": "warn",
        "null_integrity": "pass",
        "row_counts": "pass",
        "audit_consistency": "pass",
    }
    return built


def test_what_the_plan_left_alone_is_a_warning_with_its_reason(migrated: App) -> None:
    found = offenders(migrated, "canonical_values")
    assert "left as the plan listed it, unknown" in found
    assert "should have been changed" not in found and "written since" not in found
    code, out, _ = migration.done(migrated, "verify")
    assert code == 0 and "! Canonical Values" in out and "[INFO] Verification PASSED" in out
    code, out, _ = migration.done(migrated, "verify", "--strict")
    assert code == 1 and "[ERROR] Verification FAILED" in out
    code, out, _ = migration.done(migrated, "verify", "--format", "json")
    assert code == 0 and json.loads(out)["summary"]["warnings"] == 1


def test_clean_data_is_planned_applied_and_verified_again(migrated: App) -> None:
    again = migration.make_plan(migrated, DEALS)
    assert again.rows_planned == 0
    migration.apply(migrated, again)
    assert "fail" not in statuses(migrated).values()


def test_a_spelling_that_was_never_changed_fails(built: App) -> None:
    made = migration.make_plan(built, DEALS)
    built.query(
        "update trueup_ledger.stage_migration_batches set status = 'completed' where run_id = %s",
        made.run_id,
    )
    built.query("update trueup_ledger.migration_runs set status = 'completed'")
    assert statuses(built)["canonical_values"] == "fail"
    assert "should have been changed, for example row " in offenders(built, "canonical_values")


def test_a_spelling_that_is_written_again_is_a_warning(migrated: App) -> None:
    ((key,),) = migrated.query(CHANGED)
    migrated.query("update deal_opportunities set stage = 'Series A' where id = %s", int(key))
    assert statuses(migrated)["canonical_values"] == "warn"
    assert "'Series A': 1 rows, written since the plan" in offenders(migrated, "canonical_values")
    assert statuses(migrated)["audit_consistency"] == "warn"
    assert f"row {key}: " in offenders(migrated, "audit_consistency")


def test_a_new_row_with_an_old_spelling_is_a_warning(migrated: App) -> None:
    migrated.query(
        "insert into deal_opportunities (id, fund_id, company_name, stage)"
        " values (-1, 1, 'late', 'Series A')"
    )
    assert statuses(migrated)["canonical_values"] == "warn"
    assert statuses(migrated)["row_counts"] == "warn"


@pytest.mark.parametrize("value", [None, "", " \u00a0"])
def test_a_value_that_became_empty_fails_and_is_named(migrated: App, value: str | None) -> None:
    migrated.query("alter table deal_opportunities alter column stage drop not null")
    ((key,),) = migrated.query(CHANGED)
    migrated.query("update deal_opportunities set stage = %s where id = %s", value, int(key))
    assert statuses(migrated)["null_integrity"] == "fail"
    assert f"row {key}: was " in offenders(migrated, "null_integrity")


def test_a_value_left_alone_that_became_null_fails_with_its_tenant(migrated: App) -> None:
    migrated.query("alter table deal_opportunities alter column stage drop not null")
    migrated.query(
        "update deal_opportunities set stage = null where id = (select min(id) from"
        " deal_opportunities where fund_id = 2 and row_version = 1)"
    )
    assert statuses(migrated)["null_integrity"] == "fail"
    assert "tenant 2: 1 NULL" in offenders(migrated, "null_integrity")


def test_a_lost_row_is_a_warning_with_its_tenant(migrated: App) -> None:
    migrated.query("delete from deal_opportunities where id = (select max(id) from"
                   " deal_opportunities where fund_id = 1 and row_version = 1)")  # fmt: skip
    assert statuses(migrated)["row_counts"] == "warn"
    assert "tenant 1: " in offenders(migrated, "row_counts")


def test_a_failed_batch_fails_and_is_named(migrated: App) -> None:
    migrated.query(
        "update trueup_ledger.stage_migration_batches set status = 'failed', error_message = 'why'"
        " where batch_id = (select min(batch_id) from trueup_ledger.stage_migration_batches)"
    )
    assert statuses(migrated)["batch_tracking"] == "fail"
    assert "is failed: why" in offenders(migrated, "batch_tracking")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("update trueup_ledger.stage_migration_batches set rows_updated = rows_updated + 1"
         " where rows_updated > 0", "rows counted"),
        ("update trueup_ledger.stage_normalization_changes set row_keys = row_keys[2:],"
         " tenants = tenants[2:], map_ids = map_ids[2:]", "rows audited"),
        ("update trueup_ledger.stage_normalization_changes set row_keys ="
         " array_cat(row_keys[1:1], row_keys[3:]), map_ids = map_ids[2:], tenants = tenants[2:];"
         " update trueup_ledger.stage_normalization_changes set row_keys = row_keys || row_keys[1],"
         " map_ids = map_ids || map_ids[1], tenants = tenants || tenants[1]", "recorded twice"),
    ],
)  # fmt: skip
def test_books_that_do_not_agree_fail(migrated: App, change: str, words: str) -> None:
    for statement in change.split(";"):
        migrated.query(statement)
    assert statuses(migrated)["audit_consistency"] == "fail"
    assert words in offenders(migrated, "audit_consistency")


def test_an_edit_of_another_column_is_no_finding(migrated: App) -> None:
    before = statuses(migrated)
    migrated.query("update deal_opportunities set source = 'edited'")
    assert statuses(migrated) == before


def test_a_check_that_cannot_be_read_is_an_error(migrated: App) -> None:
    migrated.query("alter table deal_opportunities rename column stage to phase")
    found = {check.id: check for check in verified(migrated).checks}
    assert found["canonical_values"].status == "error"
    code, out, _ = migration.done(migrated, "verify")
    assert code == 1 and "✗ Canonical Values" in out


def test_a_column_that_is_not_managed_any_more_is_an_error(migrated: App) -> None:
    migrated.query("update trueup_ledger.stage_migration_control set column_name = 'gone'")
    assert statuses(migrated)["canonical_values"] == "error"
    assert "not managed any more" in offenders(migrated, "canonical_values")
