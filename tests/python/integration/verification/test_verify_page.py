"""The page of `trueup verify` of a real run: its numbers are the tables'."""

from __future__ import annotations

from collections import Counter
from typing import Any

from integration.conftest import App
from support import migration
from support.page_reader import Page, check
from support.verification import CHECKS
from trueup.migration import plan
from trueup.verification import check_page, verify

DEALS = "select fund_id, id, stage from deal_opportunities"


def test_the_pages_of_a_run_and_of_its_rollback_count_what_the_tables_have(built: App) -> None:
    before = {key: (tenant, value) for tenant, key, value in built.query(DEALS)}
    run = migration.make_plan(built, plan.Scope(("deal_opportunities",)))
    migration.apply(built, run)
    after = {key: (tenant, value) for tenant, key, value in built.query(DEALS)}
    changed = {key for key, found in after.items() if found != before[key]}
    made, read = verified(built)
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

    # what came back
    back, _ = migration.roll_back(built, run.run_id)
    _, read = verified(built, str(back.run_id))
    assert f"rows restored {len(changed):,} of {len(changed):,} restorable" in read.text
    assert f"{len(changed):,} rows came back to" in read.text
    assert "Canonical Values" not in read.text  # what comes back may be anything
    assert len(read.tables["Sample"]) == 1 + check_page.READ


def verified(app: App, wanted: str | None = None) -> tuple[dict[str, Any], Page]:
    """The verification of a run, the newest if none is wanted, and its page."""
    with migration.connect(app) as connected:
        made = verify.run(app.settings, connected, wanted)
    return made, check(check_page.build(made))


def _named(tenant: Any) -> str:
    return "no fund" if tenant is None else str(tenant)
