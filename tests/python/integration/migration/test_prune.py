"""`trueup ledger prune`: what nobody needs of old runs goes, and nothing else."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from integration.conftest import App
from integration.core.test_ledger import Ledger, empty  # noqa: F401  a fixture
from integration.migration.test_migration_shapes import operator  # noqa: F401  a fixture
from support import migration
from support.fire import LEDGER
from trueup.core import runs
from trueup.core.errors import TrueupError
from trueup.migration import plan, prune

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
PRUNE = ("ledger", "prune", "--older-than", "90d")
THINNED = ("migration_baselines", "migration_value_map")
TABLES = (*THINNED, "migration_runs", "stage_migration_batches", "stage_migration_control",
          "verification_runs", "verification_results", "stage_normalization_changes",
          "migration_audit", "migration_quarantine", "migration_conflicts")  # fmt: skip
LOG = f"select * from {LEDGER}.stage_normalization_log order by run_at, batch_id, row_id"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", NOW - timedelta(days=90)),
        ("12W", NOW - timedelta(weeks=12)),
        ("24h", NOW - timedelta(days=1)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=timezone.utc)),
    ],
)
def test_ages(text: str, moment: datetime) -> None:
    assert prune.cutoff(text, NOW) == moment


@pytest.mark.parametrize("text", ["90", "-3d", "2026-13-01", "9999999999w", "23h", "2026-11-20"])
def test_what_is_no_age_or_too_young(text: str) -> None:
    with pytest.raises(TrueupError, match=f"--older-than .*{text}.*; allowed: "):
        prune.cutoff(text, NOW)


def contents(app: App) -> dict[str, set[tuple[UUID, str]]]:
    """Every row of the ledger, with the run that it belongs to."""
    return {
        table: set(app.query(f"select run_id, cast(t as text) from {LEDGER}.{table} as t"))
        for table in TABLES
    }


def age(app: App, days: int) -> None:
    """Everything that was done by now was done so much earlier."""
    app.query(f"update {LEDGER}.migration_runs set"
              f" planned_at = planned_at - interval '{days} days',"
              f" finished_at = finished_at - interval '{days} days'")  # fmt: skip


def migrate(app: App, table: str) -> UUID:
    made = migration.make_plan(app, plan.Scope((table,)))
    assert migration.apply(app, made).status == "completed"
    return made.run_id


def test_real_runs(built: App) -> None:
    """What was said is what was done; old runs can still be rolled back, newer ones verified."""
    built.query("create table deals_before as select id, stage from deal_opportunities")
    changed = migrate(built, "deal_opportunities")
    unfinished = migration.make_plan(built, plan.Scope(("investments",))).run_id
    age(built, 100)
    newest = migrate(built, "portfoliocompanies")
    before, log = contents(built), built.query(LOG)

    code, out, err = migration.done(built, *PRUNE, "--dry-run")
    assert code == 0 and "1 run ended before" in out and "Nothing has been removed" in out, err
    assert "1 unfinished run planned before" in out and "trueup cancel" in out
    code, _, err = migration.done(built, *PRUNE)
    assert (code, "there is no terminal" in err) == (2, True), err
    assert contents(built) == before

    out = migration.printed(built, *PRUNE, "--yes", "--format", "json")
    said, after = json.loads(out), contents(built)
    gone = {table: before[table] - after[table] for table in TABLES}
    decided = {row for (row,) in built.query(
        f"select cast(t as text) from {LEDGER}.migration_value_map as t where map_id is not null"
    )}  # fmt: skip
    for table in TABLES:  # an independent account
        assert gone[table] == {
            (run_id, row) for run_id, row in before[table]
            if table in THINNED and run_id == changed and row not in decided
        }, table  # fmt: skip
    assert all(len(gone[table]) > 3 for table in THINNED)
    assert {each["table_name"]: (each["rows_removed"], each["rows_kept"])
            for each in said["tables"]} == {
        table: (len(gone[table]), len(after[table])) for table in TABLES
    }  # fmt: skip
    assert said["is_removed"] and said["unfinished_runs"] == 1
    assert [(each["run_id"], each["is_removed_whole"]) for each in said["runs"]] == [
        (str(changed), False)
    ]
    assert built.query(LOG) == log
    with migration.connect(built) as connected:
        whys = [runs.why_unverifiable(connected, LEDGER, each)
                for each in (changed, unfinished, newest)]  # fmt: skip
    assert "prune" in (whys[0] or "") and whys[1:] == [None, None]

    migration.printed(built, "verify")
    migration.printed(built, "rollback", str(changed), "--yes")
    assert built.query("select count(*) from deal_opportunities as d inner join deals_before as b"
                       " using (id) where d.stage is distinct from b.stage") == [(0,)]  # fmt: skip


def test_which_runs_are_old(empty: Ledger, shared_built: App) -> None:  # noqa: F811
    """Runs of every kind, oldest first, as the ledger has them: only two did nothing at all."""
    ended = datetime.now(timezone.utc) - timedelta(days=100)
    places: dict[str, Any] = {"table_name": "deals", "column_name": "stage"}
    ids: dict[str, str] = {}

    def add(name: str, status: str = "completed", days: int = 0, **values: Any) -> dict[str, Any]:
        ids[name] = f"00000000-0000-0000-0000-{len(ids):012}"
        of_run = {"run_id": ids[name]}
        empty.run(**of_run, status=status, planned_at=ended + timedelta(minutes=len(ids)),
                 finished_at=ended + timedelta(days=days), **values)  # fmt: skip
        empty.add("migration_baselines", {**of_run, **places, "rows": 1, "nulls": 0, "blanks": 0,
                                         "row_counts": "{}"})  # fmt: skip
        return {**of_run, **places}

    add("empty, cancelled", "cancelled")
    add("empty, completed")
    refused = {**add("refused a row"), "batch_id": 1, "row_key": "1"}
    empty.add("migration_quarantine", {**refused, "sqlstate": "22000", "reason": "no"})
    empty.add("migration_conflicts", {**add("left a conflict", kind="rollback"), "batch_id": 1,
                                     "row_key": "1", "value_before": "x", "value_written": "y",
                                     "reason": "edited"})  # fmt: skip
    empty.batch(**add("failed rows"), rows_failed=1)
    add("rolled back")
    add("a rollback", kind="rollback", reverts_run_id=ids["rolled back"])
    empty.add("stage_migration_control", {**add("leased", "cancelled"), "target_ms": 50,
                                         "sleep_ms": 0, "workers": 1,
                                         "lease_until": "infinity"})  # fmt: skip
    add("being rolled back")
    add("paused rollback", "paused", kind="rollback", reverts_run_id=ids["being rolled back"])
    add("failed in part", "completed_with_failures")
    add("newest completed rollback", kind="rollback")
    add("newest completed")
    add("ended later", "cancelled", days=11)
    add("newest", "cancelled")

    seen = prune.look(shared_built.settings, empty.connection, "90d")
    prune.remove(shared_built.settings, empty.connection, seen)
    after = contents(shared_built)

    def names(table: str) -> set[str]:
        there = {str(run_id) for run_id, _ in after[table]}
        return {name for name, run_id in ids.items() if run_id in there}

    gone = {"empty, cancelled", "empty, completed"}
    thinned = {"refused a row", "left a conflict", "failed rows", "rolled back", "a rollback"}
    assert names("migration_runs") == ids.keys() - gone
    assert names("migration_baselines") == ids.keys() - gone - thinned


def test_it_is_for_the_owner_of_the_ledger(operator: App, built: App) -> None:  # noqa: F811
    before = contents(built)
    code, out, err = migration.done(operator, *PRUNE, "--yes")
    assert code == 2 and "trueup_operator may not delete from migration_baselines" in err, err
    assert "run it as trueup" in err
    code, out, err = migration.done(operator, *PRUNE, "--dry-run")
    assert (code, "Nothing to remove" in out) == (0, True), out + err
    assert contents(built) == before
