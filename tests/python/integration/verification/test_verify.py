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
from support.verification import CHECKS, CLEAN
from trueup.core import statements
from trueup.core.errors import TrueupError
from trueup.core.statements import Statement
from trueup.findings import Finding
from trueup.findings.document import is_failed
from trueup.findings.runner import loads
from trueup.verification import verify
from trueup.verification.verify import Options

Document = dict[str, Any]

OF_COLUMN = {"canonical_values", "null_integrity", "row_counts", "per_fund_breakdown",
             "audit_consistency", "sample_inspection", "other_columns_untouched",
             "models_agree"}  # fmt: skip
TYPES = (
    "cast($1 as text) as code, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text"
)
Replace = Callable[[str, str], None]


def verified(app: App, wanted: str | None = None, **options: Any) -> Document:
    with migration.connect(app) as connected:
        return verify.run(app.settings, connected, wanted, Options(**options))


def by_id(found: Document) -> dict[str, Finding]:
    return {check["code"]: Finding(**check) for check in found["checks"]}


def errors(found: Document) -> set[str]:
    return {check["code"] for check in found["checks"] if check["status"] == "error"}


@pytest.fixture
def replace_statement(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Put other SQL in the place of a statement: called with its name and the SQL."""
    asked = statements.statements

    def replace(name: str, sql: str) -> None:
        def changed(settings: Any) -> dict[str, Statement]:
            found = asked(settings)
            return {**found, name: found[name]._replace(sql=sql)}

        monkeypatch.setattr(statements, "statements", changed)

    return replace


def test_a_run_without_a_fault_fails_no_check(shared: App) -> None:
    found = verified(shared)
    assert list(by_id(found)) == list(CHECKS)
    assert {code: check.status for code, check in by_id(found).items()} == CLEAN
    assert not is_failed(found) and is_failed(verified(shared, is_strict=True))
    for check in by_id(found).values():
        assert check.message and check.expected and check.found
        assert len(check.expected.split("\n")) == len(check.found.split("\n"))


# ------------------------------------------------------------------------ what cannot be read


@pytest.mark.parametrize(
    "fault",
    [
        "alter table {} rename column stage to phase",
        "alter table {} rename to deals",
        "revoke select on {} from current_user",
    ],
)
def test_what_is_gone_is_an_error_and_the_others_are_still_read(migrated: App, fault: str) -> None:
    migrated.query(fault.format("deal_opportunities"))
    found = verified(migrated, tables=("deal_opportunities",))
    assert errors(found) >= OF_COLUMN - {"other_columns_untouched", "models_agree"}
    assert is_failed(found)
    for name in errors(found):
        assert by_id(found)[name].message.startswith("Could not be read: ")
    assert by_id(found)["batch_tracking"].status == by_id(found)["weight_sums"].status == "ok"


def test_a_statement_that_takes_too_long_is_an_error_of_its_own_checks(migrated: App) -> None:
    migrated.query(f"alter database {migrated.database} set statement_timeout = '1s'")
    with migration.connect(migrated) as other:
        other.execute("lock table fund_baselines in access exclusive mode")
        found = verified(migrated)
    assert errors(found) == {"weight_sums"}
    assert "statement timeout" in by_id(found)["weight_sums"].message


def test_a_column_that_is_not_managed_any_more_is_an_error(migrated: App) -> None:
    tables = ("stage_migration_control", "migration_baselines", "stage_migration_batches",
              "migration_value_map")  # fmt: skip
    for table in tables:
        migrated.query(f"update trueup_ledger.{table} set column_name = 'gone'"
                       " where column_name = 'stage'")  # fmt: skip
    found = verified(migrated)
    assert errors(found) == OF_COLUMN
    assert "no longer managed" in by_id(found)["models_agree"].message
    migrated.query("delete from trueup_ledger.stage_migration_control")
    with pytest.raises(TrueupError, match="has lost its row of"):
        verified(migrated)


def test_after_a_lost_connection_nothing_more_passes(
    shared: App, replace_statement: Replace
) -> None:
    replace_statement(
        "verification__digests", f"select pg_terminate_backend(pg_backend_pid()), {TYPES}"
    )
    found = verified(shared)
    assert by_id(found)["batch_tracking"].status == "ok"  # was read before
    assert errors(found) == set(CHECKS) - {"batch_tracking"}
    assert "connection was lost before it was read" in by_id(found)["weight_sums"].message


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("verification__batch_tracking", "batch_tracking"),
        ("verification__digests", "audit_consistency"),
        ("verification__weights", "weight_sums"),
        ("check_values__deal_opportunities__stage", "canonical_values"),
    ],
)
def test_a_check_that_says_nothing_has_not_passed(
    shared: App, replace_statement: Replace, statement: str, check: str
) -> None:
    replace_statement(statement, f"select {TYPES} where false")
    found = verified(shared)
    assert check in errors(found) and "said nothing" in by_id(found)[check].message


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
    assert not is_failed(found)
    assert found["details"]["columns"][0]["row_total"] == 600
    assert [done for _, done, _ in seen] == list(range(len(seen))) and seen[0][2] == len(seen)
    assert "canonical values of deal_opportunities.stage" in {what for what, _, _ in seen}
    later = by_id(verified(migrated))
    assert later["audit_consistency"].status == "fail" and later["row_counts"].status != "ok"


# ------------------------------------------------------------------------------------ what is asked


def test_tables_and_funds_that_the_run_does_not_have_are_refused(shared: App) -> None:
    with pytest.raises(TrueupError, match=r"--table x: .* allowed: deal_opportunities, investm"):
        verified(shared, tables=("deal_opportunities", "x"))
    with pytest.raises(TrueupError, match=r"--tenant 99: .* allowed: 1, 2, 3.*, 12, none\n"):
        verified(shared, tenants=("1", "99"))


def test_the_rows_of_no_fund_are_asked_for_as_none(shared: App) -> None:
    found = by_id(verified(shared, tables=("deal_opportunities",), tenants=("none",)))
    ((rows,),) = shared.query("select count(*) from deal_opportunities where fund_id is null")
    (line,) = found["per_fund_breakdown"].sample
    assert (line["tenant"], line["rows"]) == (None, rows)


def test_what_is_read_has_a_bound_and_what_is_counted_has_none(
    migrated: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value of jsonb with millions of offenders is more than PostgreSQL can make."""
    migrated.query("update deal_opportunities set stage = 'Series Z'")

    def audit() -> Finding:
        return by_id(verified(migrated, reads_all=True, sample_size=1))["audit_consistency"]

    every = audit()
    assert every.rows == len(every.sample) > 100
    monkeypatch.setattr(verify, "MOST_LISTED", 3)
    first = audit()
    assert first.sample == every.sample[:3]
    assert first.rows == every.rows and first.message == every.message


def test_without_a_seed_every_sample_is_another_one(shared: App) -> None:
    first, second = verified(shared), verified(shared)
    assert first["details"]["seed"] != second["details"]["seed"]
    samples = [by_id(found)["sample_inspection"].sample for found in (first, second)]
    assert len(samples[0]) == len(samples[1]) == 100 and samples[0] != samples[1]


def test_a_project_without_the_vars_is_told(built: App) -> None:
    path = built.project / "dbt_project.yml"
    path.write_text(path.read_text().replace("  verification:\n    sample_size", "  other:\n    x"))
    with pytest.raises(TrueupError, match="has no var verification"):
        verified(built)


# ------------------------------------------------------------------------------------------ secrets


def test_what_the_database_says_is_shown_without_the_password(
    shared: App, replace_statement: Replace
) -> None:
    password = shared.environment["PGPASSWORD"]
    shared.query(
        "create or replace function leak(text) returns text language plpgsql as"
        f" $$ begin raise exception 'cannot connect with password={password}'; end $$"
    )
    replace_statement("verification__weights", f"select leak('x'), {TYPES}")
    found = verified(shared)
    assert errors(found) == {"weight_sums"}
    assert "password=***" in by_id(found)["weight_sums"].message
    assert password not in json.dumps(found)


def test_numbers_are_written_and_read_again_as_the_same_text(shared: App) -> None:
    """jsonb → Python → JSON → jsonb → Python → JSON: the second text is the first."""

    def through_the_database(text: str) -> str:
        ((stored,),) = shared.query("select cast(cast(%s as jsonb) as text)", text)
        return json.dumps(loads(stored))

    for number in (
        "1.10", "12345678901234567890.5", "1e400", "-1e400", "9" * 400 + ".5", "1" * 5001,
        "1e-400", "0.000001", "1e25", "9007199254740993", "9007199254740992.7", "-0.0", "1e16",
        "123456789.123456789",
    ):  # fmt: skip
        once = through_the_database(f'{{"a": [{number}, "é"]}}')
        assert "Infinity" not in once
        assert through_the_database(once) == once
