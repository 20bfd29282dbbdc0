"""The page of `trueup verify` of a real run: its numbers are the tables'."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from integration.conftest import App
from support import migration
from support.page_reader import check
from support.verification import CHECKS
from trueup.migration import plan
from trueup.verification import check_page, verify

DEALS = "select fund_id, id, stage from deal_opportunities"


@pytest.fixture
def applied(built: App) -> tuple[App, dict[int, tuple[Any, Any]]]:
    """A database with a run over the deals, and what they were before: key → tenant, value."""
    before = {key: (tenant, value) for tenant, key, value in built.query(DEALS)}
    migration.apply(built, migration.make_plan(built, plan.Scope(("deal_opportunities",))))
    return built, before


def test_the_page_of_a_run_counts_what_the_tables_have(
    applied: tuple[App, dict[int, tuple[Any, Any]]],
) -> None:
    app, before = applied
    after = {key: (tenant, value) for tenant, key, value in app.query(DEALS)}
    changed = {key for key, found in after.items() if found != before[key]}
    with migration.connect(app) as connected:
        made = verify.run(app.settings, connected, None)
    read = check(check_page.build(made))

    assert [each["code"] for each in made["checks"]] == list(CHECKS)
    for each in made["checks"]:
        assert each["name"] in read.text
    assert f"rows changed {len(changed):,} of {len(changed):,} promised" in read.text
    ((_, rows, promised, done, *_),) = read.tables["By column"][1:]
    assert [int(each.replace(",", "")) for each in (rows, promised, done)] == [
        len(after), len(changed), len(changed)
    ]  # fmt: skip
    tenants = {
        row[0]: (int(row[1].replace(",", "")), int(row[3].replace(",", "")))
        for row in read.tables["Tenants of deal_opportunities.stage"][1:]
    }
    total = Counter(_named(tenant) for tenant, _ in after.values())
    moved = Counter(_named(after[key][0]) for key in changed)
    assert tenants == {name: (rows, moved[name]) for name, rows in total.items()}
    sample = read.tables["Sample"][1:]
    assert len(sample) == check_page.READ
    for key, tenant, _, became, now, *_ in sample:
        assert int(key) in changed
        assert (tenant, became) == (_named(after[int(key)][0]), after[int(key)][1])
        assert now == "as written"


def test_the_page_of_a_rollback_shows_what_came_back(
    applied: tuple[App, dict[int, tuple[Any, Any]]],
) -> None:
    app, before = applied
    changed = sum(value != before[key][1] for _, key, value in app.query(DEALS))
    ((run_id,),) = app.query("select run_id from trueup_ledger.migration_runs")
    migration.printed(app, "rollback", str(run_id), "--yes")
    ((back,),) = app.query(
        "select run_id from trueup_ledger.migration_runs where kind = 'rollback'"
    )
    with migration.connect(app) as connected:
        made = verify.run(app.settings, connected, str(back))
    read = check(check_page.build(made))
    assert f"rows restored {changed:,} of {changed:,} restorable" in read.text
    assert f"{changed:,} rows came back to" in read.text
    assert "Canonical Values" not in read.text  # what comes back may be anything
    assert len(read.tables["Sample"]) == 1 + check_page.READ


def _named(tenant: Any) -> str:
    return "no fund" if tenant is None else str(tenant)
