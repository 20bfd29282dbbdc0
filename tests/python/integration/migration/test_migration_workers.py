"""Several workers, batches by tenant, and the comparison of all other columns."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from integration.conftest import App
from support import migration
from support.migration import agree
from trueup.migration import engine, plan, session, worker

COMPANIES = plan.Scope(("portfoliocompanies",), ("stage",))
LEDGER = "trueup_ledger"


def remember(app: App) -> dict[int, str | None]:
    """What every company's stage should become, by the models."""
    return dict(
        app.query(
            "select company_id, coalesce(stage, stage_raw) from"
            " trueup.fct_portfolio_company_stages"
        )
    )  # fmt: skip


def now(app: App) -> dict[int, str | None]:
    return dict(app.query("select id, stage from portfoliocompanies"))


# ---------------------------------------------------------------------------------------- workers


def test_workers_change_every_row_once_and_each_its_own_ranges(built: App) -> None:
    expected = remember(built)
    pace = plan.Pace(50, 0, 1000, stripes=4, workers=3)
    made = migration.make_plan(built, COMPANIES, pace)
    threads: dict[int, set[str]] = {}
    ends: list[str] = []

    def report(event: engine.Event) -> None:
        threads.setdefault(threading.get_ident(), set()).add(event.message)
        ends.append(event.kind)
        time.sleep(0.001)

    outcome = migration.apply(built, made, report)
    assert outcome.status == "completed"
    assert now(built) == expected
    agree(built, made.run_id, made.rows_planned)
    assert len(threads) == 3
    numbered = [m for seen in threads.values() for m in seen if m.startswith("Processing batch")]
    assert len(set(numbered)) == made.batches == ends.count("batch_completed")
    attempts = built.query(f"select max(attempts), count(*) from {LEDGER}.stage_migration_batches")
    assert attempts == [(1, made.batches)]  # nobody took what another one had


def test_workers_come_and_go_with_the_control_row(built: App) -> None:
    made = migration.make_plan(built, COMPANIES, plan.Pace(20, 0, 1000, 1))
    crew: list[int] = []
    batches = 0

    def report(event: engine.Event) -> None:
        nonlocal batches
        if event.kind == "batch_completed":
            batches += 1
            crew.append(sum(t.name.startswith("worker") for t in threading.enumerate()))
            if batches in (10, 60):
                built.query(f"update {LEDGER}.stage_migration_control set workers = %s",
                            3 if batches == 10 else 1)  # fmt: skip

    assert migration.apply(built, made, report).status == "completed"
    assert crew[0] == 0 and max(crew) == 2 and crew[-1] == 0
    agree(built, made.run_id, made.rows_planned)
    for nonsense in ("workers = 33", "workers = 0", "sleep_ms = -1", "target_ms = 0",
                     "requested_status = 'stop'"):  # fmt: skip
        with pytest.raises(psycopg.errors.CheckViolation, match=nonsense.split(" ")[0]):
            built.query(f"update {LEDGER}.stage_migration_control set {nonsense}")


def test_what_one_worker_meets_ends_all(built: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody has a class for: the run is failed, and can be resumed."""
    expected = remember(built)
    made = migration.make_plan(built, COMPANIES, plan.Pace(20, 0, 1000, 1, workers=2))
    piece = worker.Worker.piece
    met: list[int] = []

    def fail(self: worker.Worker, *arguments: object, **options: object) -> object:
        if self.number == 1 and not met:
            met.append(self.number)
            raise psycopg.errors.InsufficientPrivilege("permission denied")
        return piece(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(worker.Worker, "piece", fail)
    outcome = migration.apply(built, made)
    assert met == [1]
    assert outcome.status == "failed" and "permission denied" in outcome.notes
    assert outcome.totals["completed_batches"] < made.batches / 2
    assert migration.apply(built, made).status == "completed"
    assert now(built) == expected
    agree(built, made.run_id, made.rows_planned)


def test_a_pause_and_a_lost_lease_reach_every_worker(built: App) -> None:
    made = migration.make_plan(built, COMPANIES, plan.Pace(20, 0, 1000, 1, workers=3))

    def pause(event: engine.Event) -> None:
        if event.kind == "batch_completed":
            built.query(f"update {LEDGER}.stage_migration_control set requested_status = 'paused'")

    assert migration.apply(built, made, pause).status == "paused"
    assert built.query(
        f"select count(*) from {LEDGER}.stage_migration_batches where status = 'running'"
    ) == [(0,)]

    def steal(event: engine.Event) -> None:
        if event.kind == "batch_completed":
            built.query(f"update {LEDGER}.stage_migration_batches set lease_token = null"
                        " where status = 'running'")  # fmt: skip

    with pytest.raises(engine.LeaseLost):
        migration.apply(built, made, steal)
    assert not [t for t in threading.enumerate() if t.name.startswith("worker")]
    counted = migration.books(built, made.run_id)
    assert counted["counters"] == counted["audit"] == counted["rows"]


def test_a_worker_that_loses_its_connection_comes_back(built: App) -> None:
    expected = remember(built)
    made = migration.make_plan(built, COMPANIES, plan.Pace(20, 0, 1000, 1, workers=3))
    cut = 0

    def terminate(event: engine.Event) -> None:
        nonlocal cut
        if event.kind == "batch_completed" and cut < 5:
            cut += 1
            built.query(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'cursed' order by random() limit 1"
            )

    outcome = engine.apply(
        lambda: migration.connect(built, application_name="cursed"),
        migration.order(built, made), terminate, engine.Stop(),
    )  # fmt: skip
    assert cut == 5
    assert outcome.status == "completed"
    assert now(built) == expected
    agree(built, made.run_id, made.rows_planned)


# -------------------------------------------------------------------------------------- by tenant


def test_a_batch_by_tenant_holds_rows_of_one(built: App) -> None:
    expected = remember(built)
    built.query("update portfoliocompanies set fund_id = null where id % 40 = 0")
    made = migration.make_plan(built, COMPANIES, plan.Pace(50, 0, 1000, by_tenant=True, workers=2))
    assert migration.apply(built, made).status == "completed"
    assert now(built) == expected
    agree(built, made.run_id, made.rows_planned)
    mixed = built.query(
        f"""
        select count(*) from {LEDGER}.stage_normalization_changes as changes
        inner join {LEDGER}.stage_migration_batches as batches using (batch_id)
        cross join lateral unnest(changes.tenants) as changed (tenant)
        where changed.tenant is distinct from batches.fund_id
        """
    )
    assert mixed == [(0,)]
    by_fund = built.query(
        "select b.fund_id, sum(b.rows_in_batch), max(b.rows_in_batch) from"
        f" {LEDGER}.stage_migration_batches as b group by b.fund_id"
    )
    there = dict(built.query(
        "select cast(fund_id as text), count(*) from portfoliocompanies group by fund_id"
    ))  # fmt: skip
    assert {fund: rows for fund, rows, _ in by_fund} == there
    assert max(largest for _, _, largest in by_fund) == 50
    progress = dict(built.query(
        f"select fund_id, rows_updated from {LEDGER}.stage_migration_progress_by_fund"
    ))  # fmt: skip
    changed = dict(built.query(
        f"select tenant, count(*) from {LEDGER}.stage_normalization_log group by tenant"
    ))  # fmt: skip
    assert {fund: rows for fund, rows in progress.items() if rows} == changed


def test_batches_by_tenant_of_several_columns_are_claimed_together(built: App) -> None:
    """Each column is listed by itself: with one list for all, the others' rows would be missed."""
    scope = plan.Scope(("portfoliocompanies",), tenants=("1", "2"))
    made = migration.make_plan(built, scope, plan.Pace(5000, 0, 1000, by_tenant=True))
    assert len(made.columns) == 2 and made.batches == 4
    assert migration.apply(built, made).status == "completed"
    agree(built, made.run_id, made.rows_planned)
    assert built.query(f"select max(attempts) from {LEDGER}.stage_migration_batches") == [(1,)]


def test_a_fault_of_one_tenant_stays_with_it(built: App) -> None:
    """Its locked row fails its batch; a later pass opens that batch again, and no other."""
    expected = remember(built)
    made = migration.make_plan(built, COMPANIES, plan.Pace(50, 0, 1000, by_tenant=True))
    spelling = next(value["before"] for value in made.columns[0]["values"] if value["after"])
    ((key, fund),) = built.query(
        "select id, cast(fund_id as text) from portfoliocompanies where stage = %s limit 1",
        spelling,
    )
    held = migration.connect(built)
    held.execute("select 1 from portfoliocompanies where id = %s for update", [key])
    again: list[str] = []

    def report(event: engine.Event) -> None:
        if event.kind == "second_look":
            again.extend(each for (each,) in built.query(
                f"select fund_id from {LEDGER}.stage_migration_batches where status = 'pending'"
            ))  # fmt: skip
            held.rollback()

    outcome = migration.apply(built, made, report, lock_timeout_ms=20)
    held.close()
    assert again == [fund]
    assert outcome.status == "completed"
    assert now(built) == expected
    agree(built, made.run_id, made.rows_planned)


# -------------------------------------------------------------------------- all the other columns


def test_other_columns_that_change_with_the_managed_one_are_recorded(built: App) -> None:
    """But not row_version, which the sample's own trigger counts up: kept_by_triggers lists it."""
    expected = remember(built)
    built.query(
        """
        create function shout() returns trigger language plpgsql as $$
        begin
            if new.id % 7 = 0 and new.stage <> old.stage then
                new.name = upper(new.name) || '!';
            end if;
            return new;
        end $$;
        create trigger shout before update on portfoliocompanies
            for each row execute function shout();
        """
    )
    made = migration.make_plan(built, COMPANIES, plan.Pace(500, 0, 1000))
    assert migration.apply(built, made, compare_others=True).status == "completed"
    assert now(built) == expected
    agree(built, made.run_id, made.rows_planned)
    moved = {key for (key,) in built.query(
        f"select unnest(others_changed) from {LEDGER}.stage_normalization_changes"
    )}  # fmt: skip
    changed = {
        key for (key,) in built.query(f"select row_id from {LEDGER}.stage_normalization_log")
    }
    assert moved == {key for key in changed if int(key) % 7 == 0} != set()


def test_edits_of_other_columns_meanwhile_are_no_false_alarm(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is read, edited by the application, and only then reached: the next pass takes it."""
    expected = remember(built)
    made = migration.make_plan(built, COMPANIES, plan.Pace(3000, 0, 1000, 1))
    run = session.Session.run
    edited: list[int] = []

    def edit(self: session.Session, statement: str, **values: object) -> object:
        """An edit that is committed while the batch waits for it."""
        if statement.startswith("apply_batch_comparing") and not edited:
            ((key,),) = built.query(
                f"select min(id) from portfoliocompanies where stage = any(select value_before from"
                f" {LEDGER}.migration_value_map where map_id is not null)"
            )
            edited.append(key)
            writer = migration.connect(built)
            writer.execute("update portfoliocompanies set website = 'edited' where id = %s", [key])
            threading.Timer(0.1, writer.execute, ["commit"]).start()
        return run(self, statement, **values)

    monkeypatch.setattr(session.Session, "run", edit)
    seen: list[str] = []
    outcome = migration.apply(
        built, made, lambda event: seen.append(event.kind), compare_others=True
    )
    assert outcome.status == "completed"
    assert "second_look" in seen  # it was left to the next pass
    assert now(built) == expected
    assert built.query("select website from portfoliocompanies where id = %s", edited[0]) == [
        ("edited",)
    ]
    assert built.query(
        f"select sum(cardinality(others_changed)) from {LEDGER}.stage_normalization_changes"
    ) == [(0,)]


def test_columns_that_have_changed_since_the_plan_cannot_be_compared(built: App) -> None:
    migration.make_plan(built, COMPANIES)
    built.query("alter table portfoliocompanies rename column website to site")
    code, _, err = migration.done(built, "apply", "--yes", "--hash-others")
    assert code == 2 and (
        " is stale: portfoliocompanies has changed since, so --hash-others cannot compare it:"
        " column site is new, column website is gone\n" in err
    )
    migration.printed(built, "apply", "--yes")  # without it nothing is wrong


def test_the_command_takes_the_options(built: App) -> None:
    others = (
        "select distinct table_name = 'investments', others_changed is null"
        f" from {LEDGER}.stage_normalization_changes inner join {LEDGER}.stage_migration_batches"
        " using (batch_id) order by 1"
    )
    migration.apply(built, migration.make_plan(built, plan.Scope(("investments",))))
    assert built.query(others) == [(True, True)]  # without the option nothing is recorded
    code, out, _ = migration.done(
        built, "plan", "--by", "tenant", "--workers", "2", "--batch-size", "500", "--sleep-ms", "0"
    )
    assert code == 0 and "by tenant: rows of one tenant lie apart" in out
    migration.printed(built, "apply", "--yes", "--workers", "3", "--hash-others")
    assert built.query(f"select max(workers) from {LEDGER}.stage_migration_control") == [(3,)]
    assert built.query(others) == [(False, False), (True, True)]
