"""Every data test of the project fails on a fault of its kind, and stores the rows that are wrong.

tests/python/data/faults.yml lists the faults. They are planted with plain SQL, many at a time, in a
copy of the built database; then the tests run once. Exactly the tests that the faults name may
fail, and what they store must be exactly the rows that the faults name: each fault is found by its
tests, and by no other.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg import sql
from psycopg.rows import dict_row

from integration.conftest import App, create_database, drop_database
from support import data, migration
from trueup.cli import try_csv

# By group, then by what is wrong; the file says what each part of a fault means.
GROUPS: dict[str, dict[str, Any]] = data("faults.yml")
VERIFICATION_FAULTS: dict[str, Any] = data("verification_faults.yml")
# What these checks find is for people to read; all they can do is fail to be read.
VERIFICATION_FACTS = ("sample_inspection", "per_fund_breakdown")
VERIFICATION_TESTS = {
    f"verification_{check}" for check in (*VERIFICATION_FAULTS, *VERIFICATION_FACTS)
}
FAILED, WARNED, BROKEN = "fail", "warn", "error"  # statuses of dbt
VALUES_TEST = "audit_null_integrity_values_are_the_sources"
WEIGHTS_TEST = "fct_stage_allocations_weights_sum_to_one"
TRY_TEST = "stg_try__rows_one_row_per_record"
GUARD_TEST = "guard_drift"  # integration/guard plants its faults


@pytest.fixture
def fresh(shared_built: App) -> App:
    """The built database anew; the project is the module's, so that it is parsed once."""
    drop_database(shared_built.database)
    create_database(shared_built.database, "built_template")
    return shared_built


def rows_of(app: App, fault: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the sound database that a fault is about; one without cells if it names none."""
    if "row" not in fault:
        return [{}]
    with app.connect(row_factory=dict_row) as connection:
        found = connection.execute(fault["row"]).fetchall()
    assert found and next(iter(found[0].values())) is not None, f"nothing to spoil: {fault['row']}"
    return found


def plant(app: App, fault: dict[str, Any], row: dict[str, Any]) -> None:
    literals = {name: sql.Literal(value) for name, value in row.items()}
    app.query(sql.SQL(fault["plant"]).format(**literals).as_string())


def statuses(app: App, target: str = "target") -> dict[str, str]:
    """What the last run says of each test: pass, warn, fail or error."""
    results = json.loads((app.settings.state / target / "run_results.json").read_text())["results"]
    return {
        result["unique_id"].split(".")[2]: result["status"]
        for result in results
        if result["unique_id"].startswith("test.")
    }


def stored(app: App, test: str, columns: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The rows that a test has stored, as texts."""
    found = app.query(f"select {', '.join(columns)} from trueup_test_failures.{test}")
    return {tuple(map(str, row)) for row in found}


@pytest.mark.parametrize("group", GROUPS)
def test_every_fault_is_found_by_its_tests_and_no_others(fresh: App, group: str) -> None:
    expected: dict[str, dict[tuple[str, ...], set[tuple[str, ...]]]] = {}
    spoilt = [(fault, rows_of(fresh, fault)) for fault in GROUPS[group].values()]
    for fault, rows in spoilt:
        for test, stores in fault["found"].items():
            for cells in stores:
                found = expected.setdefault(test, {}).setdefault(tuple(cells), set())
                found |= {tuple(str(cell).format(**row) for cell in cells.values()) for row in rows}
    for fault, rows in spoilt:
        plant(fresh, fault, rows[0])

    fresh.dbt("test", "--select", "test_type:data")

    found_by = statuses(fresh)
    noticed = {test: status for test, status in found_by.items() if status != "pass"}
    if VALUES_TEST not in expected:
        noticed.pop(VALUES_TEST, None)  # most faults in a mart or its meanings are changed values
    assert noticed == {test: WARNED if test.endswith("_warn") else FAILED for test in expected}
    assert len(found_by) >= 60
    for test, by_columns in expected.items():
        ((columns, found),) = by_columns.items()
        assert stored(fresh, test, columns) == found, test


def test_every_kind_of_wrong_weight_is_found(fresh: App) -> None:
    documents = {
        "no weights": "{}",
        "a weight is not a number": '{"seed": 0.5, "Series A": "NaN", "series-b": 0.5}',
        "a weight is negative": '{"seed": -0.5, "series-a": 1.5}',
        "all weights are zero": '{"seed": 0, "series-a": 0.0}',
        "weights do not sum to 1": '{"seed": 0.4, "Seed": 0.3, "series-a": 0.300002}',
    }
    keys = [
        key
        for (key,) in fresh.query(
            "select id::text from public.fund_strategy_models order by id limit %s", len(documents)
        )
    ]
    for key, document in zip(keys, documents.values(), strict=True):
        fresh.query(
            "update public.fund_strategy_models set stage_allocation = %s where id = %s::uuid",
            document, key,
        )  # fmt: skip

    outcome = fresh.dbt("build", "--select", "fct_stage_allocations")

    assert [failure.name for failure in outcome.failures] == [WEIGHTS_TEST]
    found = stored(fresh, WEIGHTS_TEST, ("owner_key", "owner_weight_issue"))
    assert found == set(zip(keys, documents, strict=True))


def verified(app: App) -> dict[str, str]:
    """What the data tests of the checks say, by check."""
    app.dbt("test", "--select", "tag:verification")
    found = statuses(app)
    assert found.keys() == VERIFICATION_TESTS
    return {test.removeprefix("verification_"): status for test, status in found.items()}


def test_every_check_of_a_migration_passes_warns_and_fails(fresh: App) -> None:
    made = migration.make_plan(fresh)
    assert set(verified(fresh).values()) == {"pass"}  # none that has come to its end
    assert migration.apply(fresh, made).status == "completed"
    found = verified(fresh)
    assert found.pop("canonical_values") == WARNED  # what the plan listed as unknown
    assert set(found.values()) == {"pass"}
    assert stored(fresh, "verification_canonical_values", ("distinct status",)) == {("warn",)}

    spoilt = {check: rows_of(fresh, fault)[0] for check, fault in VERIFICATION_FAULTS.items()}
    for check, row in spoilt.items():
        plant(fresh, VERIFICATION_FAULTS[check], row)
    found = verified(fresh)
    assert {check: found.pop(check) for check in VERIFICATION_FACTS} == {
        "sample_inspection": "pass", "per_fund_breakdown": "pass",
    }  # fmt: skip
    assert found == {check: fault["status"] for check, fault in VERIFICATION_FAULTS.items()}
    for check, row in spoilt.items():
        text = VERIFICATION_FAULTS[check]["message"].format(**row)
        rows = stored(fresh, f"verification_{check}", ("status", "message"))
        assert any(text in message for _, message in rows), (check, text, rows)

    fresh.query("alter table public.investments rename column round to round_of_it")
    found = verified(fresh)
    assert {found[check] for check in VERIFICATION_FACTS} == {BROKEN}


def test_every_data_test_has_a_planted_fault(built: App) -> None:
    """A new data test without a fault in faults.yml is not known to be able to fail."""
    tests = known_tests(built, "parse")
    built.query("create table public.try_rows (row_number bigint, value text)")
    built.query("insert into public.try_rows values (1, 'Seed'), (2, 'Seed'), (2, 'Series A')")
    tried = {**try_csv.VARIABLES, "managed_columns": [{**try_csv.ENTRY, "vocabulary": "stage"}]}
    tests |= known_tests(built, "build", "--select", "stg_try__rows", variables=tried)
    assert statuses(built) == {TRY_TEST: FAILED}
    assert stored(built, TRY_TEST, ("row_number", "row_count")) == {("2", "2")}

    found = {test for group in GROUPS.values() for each in group.values() for test in each["found"]}
    assert tests == found | VERIFICATION_TESTS | {WEIGHTS_TEST, TRY_TEST, GUARD_TEST}


def known_tests(app: App, *arguments: str, variables: dict[str, Any] | None = None) -> set[str]:
    """The data tests that dbt knows when it runs this command."""
    app.dbt(*arguments, variables=variables)
    manifest = json.loads((app.settings.state / "target" / "manifest.json").read_text())
    nodes = manifest["nodes"].values()
    return {node["name"] for node in nodes if node["resource_type"] == "test"}
