"""The engine of `trueup verify`: one snapshot, and what cannot be read is no pass.

The checks themselves are tested beside their SQL: test_verify_values, _audit and _models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from integration.conftest import App
from support import migration
from trueup.core import statements
from trueup.core.errors import TrueupError
from trueup.core.statements import Statement
from trueup.migration import plan
from trueup.verification import checks, verify
from trueup.verification.checks import CHECKS, Check, Options, Verification, loads

DEALS = plan.Scope(("deal_opportunities",))
OF_VALUES = ("canonical_values", "null_integrity", "row_counts", "per_fund_breakdown")
OF_COLUMN = {*OF_VALUES, "audit_consistency", "sample_inspection", "other_columns_untouched",
             "models_agree"}  # fmt: skip
TYPES = "cast($1 as text), $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text"


def verified(app: App, wanted: str | None = None, **options: Any) -> Verification:
    with migration.connect(app) as connected:
        return verify.run(app.settings, connected, wanted, Options(**options))


def by_id(found: Verification) -> dict[str, Check]:
    return {check.id: check for check in found.checks}


def statuses(app: App) -> dict[str, str]:
    return {check.id: check.status for check in verified(app).checks}


@pytest.fixture
def migrated(built: App) -> App:
    """The deals, migrated: 600 rows."""
    made = migration.make_plan(built, DEALS)
    assert migration.apply(built, made).status == "completed"
    return built


@pytest.fixture
def replace_statement(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put other SQL in the place of a statement: called with its name and the SQL."""
    asked = statements.statements

    def replace(name: str, sql: str) -> None:
        def changed(settings: Any) -> dict[str, Statement]:
            found = asked(settings)
            return {**found, name: found[name]._replace(sql=sql)}

        monkeypatch.setattr(statements, "statements", changed)

    return replace


def test_a_run_without_a_fault_fails_no_check(migrated: App) -> None:
    found = verified(migrated)
    assert [check.id for check in found.checks] == list(CHECKS)
    assert statuses(migrated) == {
        "batch_tracking": "pass",
        "canonical_values": "warn",  # what the plan has left
        "null_integrity": "pass",
        "row_counts": "pass",
        "audit_consistency": "pass",
        "sample_inspection": "info",
        "per_fund_breakdown": "info",
        "weight_sums": "pass",
        "other_columns_untouched": "info",
        "models_agree": "pass",
    }
    assert not found.failed() and verified(migrated, is_strict=True).failed()
    for check in found.checks:
        assert check.message and check.duration_ms > 0
        assert len(check.expected) == len(check.actual) == check.parts > 0
        assert all(each["status"] in ("fail", "warn", "info") and each["message"]
                   for each in check.offenders)  # fmt: skip


def test_clean_data_is_planned_applied_and_verified_again(migrated: App) -> None:
    again = migration.make_plan(migrated, DEALS)
    assert again.rows_planned == 0
    migration.apply(migrated, again)
    assert not {"fail", "error"} & set(statuses(migrated).values())


# ------------------------------------------------------------------------ what cannot be read


@pytest.mark.parametrize(
    "fault",
    [
        "alter table deal_opportunities rename column stage to phase",
        "alter table deal_opportunities rename to deals",
        "revoke select on deal_opportunities from current_user",
    ],
)
def test_what_is_gone_is_an_error_and_the_others_are_still_read(migrated: App, fault: str) -> None:
    migrated.query(fault)
    found = by_id(verified(migrated))
    for name in OF_VALUES:
        assert found[name].status == "error", name
        assert found[name].message.startswith("Could not be read: ")
    assert found["batch_tracking"].status == found["weight_sums"].status == "pass"
    assert verified(migrated).failed()
    code, out, _ = migration.done(migrated, "verify")
    assert code == 1 and "✗ Canonical Values: Could not be read: " in out
    assert "trueup doctor" in out


def test_a_statement_that_takes_too_long_is_an_error_of_its_own_checks(migrated: App) -> None:
    migrated.query(f"alter database {migrated.database} set statement_timeout = '2s'")
    with migration.connect(migrated) as other:
        other.execute("lock table fund_baselines in access exclusive mode")
        found = by_id(verified(migrated))
    assert found["weight_sums"].status == "error"
    assert "statement timeout" in found["weight_sums"].message
    assert found["canonical_values"].status == "warn"


def test_a_column_that_is_not_managed_any_more_is_an_error(migrated: App) -> None:
    tables = ("stage_migration_control", "migration_baselines", "stage_migration_batches",
              "migration_value_map")  # fmt: skip
    for table in tables:
        migrated.query(f"update trueup_ledger.{table} set column_name = 'gone'")
    found = by_id(verified(migrated))
    assert {name for name, check in found.items() if check.status == "error"} == OF_COLUMN
    assert "not managed any more" in found["models_agree"].message


def test_a_column_that_the_ledger_has_lost_is_no_pass(migrated: App) -> None:
    migrated.query("delete from trueup_ledger.stage_migration_control")
    with pytest.raises(TrueupError, match="has lost its row of"):
        verified(migrated)


def test_a_row_that_became_empty_is_named_once(migrated: App) -> None:
    """By the count where the run has not touched it, else by the audit, and by its fund."""
    changed = "(select row_id from trueup_ledger.stage_normalization_log)"
    keys = migrated.query(
        f"(select id from deal_opportunities where fund_id = 2 and id::text in {changed} limit 1)"
        f" union all (select id from deal_opportunities where fund_id = 2 and stage = 'seed'"
        f" and id::text not in {changed} limit 1)"
    )
    assert len(keys) == 2
    migrated.query("alter table deal_opportunities alter column stage drop not null")
    for (key,) in keys:
        migrated.query("update deal_opportunities set stage = null where id = %s", key)
    for fund in ((), ("2",)):
        found = by_id(verified(migrated, tenants=fund))["null_integrity"]
        named = [each["row_key"] for each in found.offenders if "row_key" in each]
        assert sorted(named) == sorted(str(key) for (key,) in keys)
        assert found.offender_count == len(found.offenders) == 3


def test_a_refused_row_that_nobody_counted_fails(migrated: App) -> None:
    migrated.query(
        "insert into trueup_ledger.migration_quarantine (run_id, batch_id, table_name, column_name,"
        " row_key, sqlstate, error_message)"
        " select run_id, batch_id, table_name, column_name, '1', '23514', 'no'"
        " from trueup_ledger.stage_migration_batches limit 1"
    )
    found = by_id(verified(migrated))["batch_tracking"]
    assert found.status == "fail" and "1 rows quarantined" in found.message


def test_after_a_lost_connection_nothing_more_passes(
    migrated: App, replace_statement: Callable[[str, str], None]
) -> None:
    replace_statement("verify__digests", f"select pg_terminate_backend(pg_backend_pid()), {TYPES}")
    found = by_id(verified(migrated))
    assert found["batch_tracking"].status == "pass"  # was read before
    lost = {name for name, check in found.items() if check.status == "error"}
    assert lost == set(CHECKS) - {"batch_tracking"}
    assert "the connection was lost before it was read" in found["weight_sums"].message


@pytest.mark.parametrize("name", ["batch_tracking", "audit_consistency", "weight_sums",
                                  "canonical_values"])  # fmt: skip
def test_a_check_that_says_nothing_has_not_passed(
    migrated: App, replace_statement: Callable[[str, str], None], name: str
) -> None:
    statement = {
        "batch_tracking": "verify__batch_tracking",
        "audit_consistency": "verify__digests",
        "weight_sums": "verify__weights",
        "canonical_values": "verify_values__deal_opportunities__stage",
    }[name]
    replace_statement(statement, f"select {TYPES} where false")
    check = by_id(verified(migrated))[name]
    assert check.status == "error" and "said nothing" in check.message


# ---------------------------------------------------------------------- one snapshot, read only


def test_everything_is_read_in_one_snapshot_that_can_write_nothing(migrated: App) -> None:
    """A row is lost between the first statement and the second: the verification is of before."""
    seen = []
    with migration.connect(migrated) as connected:

        def watch(what: str, done: int, total: int) -> None:
            seen.append((what, done, total))
            if done == 1:
                migrated.query("delete from deal_opportunities where id % 2 = 0")
                migrated.query("delete from trueup_ledger.stage_normalization_changes")
            row = connected.execute(
                "select current_setting('transaction_read_only'),"
                " current_setting('transaction_isolation')"
            ).fetchone()
            assert row == ("on", "repeatable read")

        found = verify.run(migrated.settings, connected, None, progress=watch)
    assert not found.failed()
    assert found.facts["columns"][0]["row_total"] == 600
    assert [done for _, done, _ in seen] == list(range(len(seen))) and seen[0][2] == len(seen)
    assert "Canonical Values of deal_opportunities.stage" in {what for what, _, _ in seen}
    later = by_id(verified(migrated))
    assert later["audit_consistency"].status == "fail" and later["row_counts"].status != "pass"


# ------------------------------------------------------------------------------------ what is asked


def test_tables_and_tenants_that_the_run_does_not_have_are_refused(migrated: App) -> None:
    with pytest.raises(TrueupError, match=r"--table investments: .* allowed: deal_opportunities"):
        verified(migrated, tables=("deal_opportunities", "investments"))
    with pytest.raises(TrueupError, match=r"--tenant 99: .* allowed: 1, 2, 3.*, 12, none\n"):
        verified(migrated, tenants=("1", "99"))


def test_a_fund_is_looked_at_alone_and_so_are_the_rows_of_none(migrated: App) -> None:
    migrated.query("delete from deal_opportunities where id = (select min(id) from"
                   " deal_opportunities where fund_id = 2)")  # fmt: skip
    assert by_id(verified(migrated, tenants=("2",)))["row_counts"].status == "warn"
    for others in (("1", "3"), ("none",)):
        check = by_id(verified(migrated, tenants=others))["row_counts"]
        assert (check.status, check.offenders) == ("pass", [])
    of_none = by_id(verified(migrated, tenants=("none",)))["per_fund_breakdown"]
    assert {each["tenant"] for each in of_none.offenders} == {None}
    ((rows,),) = migrated.query("select count(*) from deal_opportunities where fund_id is null")
    assert [each["rows"] for each in of_none.offenders] == [rows]


def test_a_shortfall_fails_where_nobody_else_is_at_work(migrated: App) -> None:
    migrated.query("delete from deal_opportunities where id = (select max(id) from"
                   " deal_opportunities where fund_id = 1)")  # fmt: skip
    assert by_id(verified(migrated))["row_counts"].status == "warn"
    found = by_id(verified(migrated, is_quiesced=True))["row_counts"]
    assert found.status == "fail" and "1" in {each.get("tenant") for each in found.offenders}


def test_what_is_read_has_a_bound_and_what_is_counted_has_none(
    migrated: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value of jsonb with millions of offenders is more than PostgreSQL can make."""
    migrated.query("update deal_opportunities set stage = 'Series Z'")
    every = by_id(verified(migrated, reads_all=True, sample_size=1))["audit_consistency"]
    assert every.offender_count == len(every.offenders) > 100
    monkeypatch.setattr(checks, "MOST_OFFENDERS", 3, raising=False)
    first = by_id(verified(migrated, reads_all=True, sample_size=1))["audit_consistency"]
    assert first.offenders == every.offenders[:3]
    assert first.offender_count == every.offender_count and first.message == every.message


def test_a_seed_says_which_rows_are_in_the_sample(migrated: App) -> None:
    def keys(**options: Any) -> list[str]:
        sample = by_id(verified(migrated, **options))["sample_inspection"].offenders
        return [each["row_key"] for each in sample]

    assert keys(seed=7, sample_size=20) == keys(seed=7, sample_size=20)
    assert set(keys(seed=7, sample_size=20)) != set(keys(seed=8, sample_size=20))
    assert len(keys(sample_size=20)) == 20 and len(keys()) == 100 and keys(sample_size=0) == []
    one, other = verified(migrated), verified(migrated)
    assert one.options.seed != other.options.seed


def test_a_project_without_the_vars_is_told(migrated: App) -> None:
    path = migrated.project / "dbt_project.yml"
    path.write_text(path.read_text().replace("  verification:\n    sample_size", "  other:\n    x"))
    with pytest.raises(TrueupError, match="has no var verification"):
        verified(migrated)


# ------------------------------------------------------------------------------------------ secrets


def test_what_the_database_says_is_shown_without_the_password(
    migrated: App, replace_statement: Callable[[str, str], None]
) -> None:
    password = migrated.environment["PGPASSWORD"]
    migrated.query(
        "create function leak(text) returns text language plpgsql as"
        f" $$ begin raise exception 'cannot connect with password={password}'; end $$"
    )
    replace_statement("verify__weights", f"select leak('x'), {TYPES}")
    found = verified(migrated)
    check = by_id(found)["weight_sums"]
    assert check.status == "error" and "password=***" in check.message
    assert password not in json.dumps(verify.as_dict(found))


@pytest.mark.parametrize(
    "number",
    ["1.10", "12345678901234567890.5", "1e400", "-1e400", "9" * 400 + ".5", "1" * 5001, "1e-400",
     "0.000001", "1e25", "9007199254740993", "9007199254740992.7", "-0.0", "1e16",
     "123456789.123456789"],
)  # fmt: skip
def test_numbers_are_written_and_read_again_as_the_same_text(
    shared_built: App, number: str
) -> None:
    """jsonb → Python → JSON → jsonb → Python → JSON: the second text is the first."""
    read = "select cast(cast(%s as jsonb) as text)"

    def through_the_database(text: str) -> str:
        ((stored,),) = shared_built.query(read, text)
        return json.dumps(loads(stored))

    once = through_the_database(f'{{"a": [{number}, "é"]}}')
    assert "Infinity" not in once
    assert through_the_database(once) == once
