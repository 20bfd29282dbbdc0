"""`plan --rehearse` and `apply --dry-run`: what they find, and that they leave nothing behind.

A batch of each kind of key is rehearsed in test_migration_shapes; that the log of a run lies in the
estimated range is measured by `scripts/bench/apply.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from integration.conftest import App
from integration.migration.test_migration_shapes import dump, ledger_rows
from support import fire, migration
from trueup.core import records, statements
from trueup.migration import engine, plan, rehearsal, tried_batch
from trueup.migration.keys import Piece
from trueup.migration.tried_batch import KEPT, QUARANTINED, STOPS, TOGETHER, UNTRIED

STAGES = plan.Scope(("portfoliocompanies",), ("stage",))
PACE = plan.Pace(batch_size=1000, sleep_ms=0, target_ms=1000, stripes=2)
PAGE = 8192


def rehearse(app: App, pace: plan.Pace = PACE) -> tuple[plan.Plan, dict[str, Any]]:
    """A plan and the rehearsal of its one column, in this process."""
    with migration.connect(app) as connected:
        made = plan.make(app.settings, connected, STAGES, pace)
        rehearsed = rehearsal.rehearse(app.settings, connected, made, pace)
    (column,) = rehearsed["columns"]
    return made, column


def trigger(app: App, body: str, when: str = "before update", deferred: bool = False) -> None:
    """A further row trigger on portfoliocompanies; body: what it does before it returns."""
    app.query(
        "create function more() returns trigger language plpgsql as"
        f" $$ begin {body}; return new; end $$"
    )
    app.query(
        f"create {'constraint' if deferred else ''} trigger more {when} on portfoliocompanies"
        f" {'deferrable initially deferred' if deferred else ''}"
        " for each row execute function more()"
    )


def dirty_row(app: App) -> int:
    """A row that the batch with the most rows will change: the first with a planned value."""
    ((key,),) = app.query(
        "select min(cast(t.row_key as bigint)) from trueup_sample.truth as t"
        " where t.table_name = 'portfoliocompanies' and t.column_name = 'stage'"
        " and t.canonical_value <> t.raw_value and cast(t.row_key as bigint) % 2 = 0"
    )
    return int(key)


# ------------------------------------------------------------------------- nothing is touched


def test_everything_is_left_as_it_was_and_nothing_of_a_dry_run_is_kept(built: App) -> None:
    stop = engine.Stop()

    def report(event: engine.Event) -> None:
        stop.requested = stop.requested or event.kind == "batch_completed"

    other = migration.make_plan(built, plan.Scope(("portfoliocompanies",)))
    assert migration.apply(built, other, report, stop).status == "interrupted"
    short = str(other.run_id)[:8]
    assert f"trueup resume {short}" in migration.done(built, "apply", "--dry-run")[2]
    migration.printed(built, "cancel", short, "--yes")
    before, ledger, rows = dump(built), ledger_rows(built), ledger_rows(built, other.run_id)
    code, out, err = migration.done(built, "apply", "--dry-run")
    assert code == 0 and "would change in" in out and "Estimated duration: " in out, err
    for nonsense in ("12345678", "--resume", "--max-quarantined=1", "--sleep-ms=0", "--verbose"):
        code, _, err = migration.done(built, "apply", "--dry-run", nonsense)
        assert code == 2 and (nonsense.split("=")[0] if "-" in nonsense else "RUN") in err
    assert ledger_rows(built) == ledger
    out = migration.printed(built, "plan", "--rehearse", "--format", "json")
    assert dump(built) == before
    assert ledger_rows(built, other.run_id) == rows
    shown = json.loads(out)
    ((stored,),) = built.query(
        "select rehearsal from trueup_ledger.migration_runs where run_id = %s", shown["run_id"]
    )
    assert stored == shown["rehearsal"] and len(stored["columns"]) == 4
    for column in stored["columns"]:
        assert column["prediction"]["rows_planned"] > 0 and not column["tryout"]["refusals"]
    states = built.query(
        "select status, attempts, count(*) from trueup_ledger.stage_migration_batches"
        " where run_id = %s group by status, attempts", shown["run_id"],
    )  # fmt: skip
    assert states == [("pending", 0, shown["batches"])]


# ------------------------------------------------------------------------- what triggers change


def test_what_triggers_change_besides_is_named(built: App) -> None:
    built.query("create table public.seen (id bigint)")
    trigger(built, "insert into public.seen values (new.id)", "after update")
    built.query(
        "alter table portfoliocompanies add column letters int"
        " generated always as (length(stage)) stored"
    )
    out = migration.printed(
        built, "plan", "--rehearse", "--table", "portfoliocompanies", "--column", "stage"
    )
    assert "rehearsed portfoliocompanies.stage" in out and "carries it out" in out
    assert "rows changed in" in out and "and rolled back" in out
    assert "Estimated duration: " in out and "Estimated write-ahead log: " in out
    ((stored,),) = built.query("select rehearsal from trueup_ledger.migration_runs")
    tried = stored["columns"][0]["tryout"]
    found = {each["column_name"]: each for each in tried["other_columns"]}
    assert set(found) == {"updated_at", "row_version", "letters"}
    assert tried["rows_changed"] == tried["rows"] == found["row_version"]["rows"] > 100
    assert (found["row_version"]["before"], found["row_version"]["after"]) == ("1", "2")
    query = "select length(stage) from portfoliocompanies where id = %s"
    assert [(int(found["letters"]["before"]),)] == built.query(query, found["letters"]["row_key"])
    assert tried["other_rows"] == [
        {"relation": "public.seen", "action": "inserted", "rows": tried["rows"]}
    ]
    assert f"triggers write to public.seen: {tried['rows']:,} rows inserted" in out
    assert built.query("select count(*) from public.seen") == [(0,)]


def test_an_edit_of_somebody_else_is_no_trigger_s(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = tried_batch.Trial._read
    edited: list[str] = []

    def read_and_edit(self: Any, piece: Piece) -> Mapping[str, Any]:
        rows = read(self, piece)
        if not edited:  # between the first look and the batch
            edited.extend(list(rows)[:2])
            built.query("update portfoliocompanies set website = 'https://new'"
                        " where id = %s", edited[0])  # fmt: skip
            built.query("update portfoliocompanies set stage = 'x' where id = %s", edited[1])
        return rows

    monkeypatch.setattr(tried_batch.Trial, "_read", read_and_edit)
    tried = rehearse(built)[1]["tryout"]
    assert len(edited) == 2
    assert [each["column_name"] for each in tried["other_columns"]] == ["row_version", "updated_at"]
    assert tried["refusals"] == [] and tried["rows"] == tried["rows_changed"]


# ------------------------------------------------------------------------- what would go wrong


def test_a_row_that_is_refused_is_found_and_later_quarantined(built: App) -> None:
    bad = dirty_row(built)
    trigger(built, f"if new.id = {bad} then raise 'not this one'; end if")
    code, out, _ = migration.done(built, "apply", "--dry-run")
    assert code == 1 and "not this one" in out and "would change in" in out
    code, out, err = migration.done(
        built, "plan", "--rehearse", "--table", "portfoliocompanies", "--column", "stage"
    )
    assert code == 1
    assert "at RAISE) (P0001) → apply would put the row into quarantine" in out
    assert "The rehearsal found 1 error" in err and "carries it out" in out
    ((stored,),) = built.query("select rehearsal from trueup_ledger.migration_runs")
    tried = stored["columns"][0]["tryout"]
    assert [each["row_key"] for each in tried["refusals"]] == [str(bad)]
    assert tried["is_complete"] and tried["rows"] == tried["rows_changed"] + 1
    migration.printed(built, "apply", "--yes", "--allow-blind-brakes", code=1)
    assert built.query("select row_key from trueup_ledger.migration_quarantine") == [(str(bad),)]


def test_rows_that_a_rule_will_refuse_are_named_and_not_promised(built: App) -> None:
    built.query("update portfoliocompanies set stage = case id when 2 then 'Series A'"
                " else 'series_a' end where id in (2, 4)")  # fmt: skip
    built.query("create unique index once on portfoliocompanies"
                " (lower(stage), (case id when 4 then 2 else id end)) where id > 0")  # fmt: skip
    made, column = rehearse(built)
    (found,) = (each for each in made.findings if each.code == "table__not_unique")
    assert found.rows == made.columns[0]["rows_refused"] == 1
    assert "2 and 4: series-a" in found.message and found.subject.endswith(".stage")
    (refusal,) = column["tryout"]["refusals"]
    assert (refusal["sqlstate"], refusal["consequence"]) == ("23505", TOGETHER)
    assert column["tryout"]["parts"] > 1
    assert migration.apply(built, made).status == "completed_with_failures"
    refused = built.query("select row_key from trueup_ledger.migration_quarantine")
    assert refused in ([("2",)], [("4",)])
    built.query("create table names (stage text primary key)")
    built.query("alter table portfoliocompanies add foreign key (stage) references names not valid")
    findings = {each.code: each for each in migration.make_plan(built, STAGES).findings}
    found = findings["table__not_referenced"]
    assert found.rows == findings["table__not_unique"].rows == 1 and "series-a" in found.message


@pytest.mark.parametrize(
    ("body", "deferred", "consequences", "state"),
    [
        # they are not all looked for
        ("raise 'none of them'", False, [QUARANTINED] * 3 + [UNTRIED], "P0001"),
        ("if new.id = {bad} then raise check_violation; end if", True, [QUARANTINED], "23514"),
        ("perform * from no_such_table", False, [STOPS], "42P01"),
        ("if new.id = {bad} then return null; end if", False, [KEPT], None),
    ],
    ids=["every row", "at the commit", "an error that stops a run", "a row that is skipped"],
)
def test_what_would_go_wrong_is_told(
    built: App, body: str, deferred: bool, consequences: list[str], state: str | None
) -> None:
    bad = dirty_row(built)
    trigger(built, body.format(bad=bad), "after update" if deferred else "before update", deferred)
    _, column = rehearse(built)
    tried = column["tryout"]
    assert [each["consequence"] for each in tried["refusals"]] == consequences
    assert {r["sqlstate"] for r in tried["refusals"] if r["consequence"] != UNTRIED} == {state}
    assert tried["is_complete"] == (len(consequences) == 1)
    if "{bad}" in body:
        assert tried["refusals"][0]["row_key"] == str(bad)
        assert tried["rows_changed"] == tried["rows"] - 1 > 100
    else:
        assert tried["rows_changed"] == 0 and column["prediction"] is None


def test_rows_that_somebody_holds(built: App) -> None:
    with migration.connect(built) as holder:
        holder.execute("select from portfoliocompanies for update")
        _, column = rehearse(built)
    assert "other sessions held its rows" in column["tryout"]["notes"][0]
    assert column["tryout"]["refusals"] == [] and column["prediction"] is None


def test_a_batch_that_takes_too_long_is_tried_in_part(built: App) -> None:
    fire.slow_down(built, 0.004)
    made, column = rehearse(built)
    tried = column["tryout"]
    assert "took longer than a batch is allowed" in tried["notes"][0]
    assert 0 < tried["rows_changed"] == tried["rows"] < tried["rows_planned"]
    assert tried["duration_ms"] < 1000 and tried["refusals"] == []  # 0.8 of deadlock_timeout
    assert column["prediction"] and column["prediction"]["seconds_high"] > 0.004 * made.rows_planned


# ------------------------------------------------------------------------- the estimate


def test_the_estimate_is_a_range(built: App) -> None:
    pace = plan.Pace(batch_size=1000, sleep_ms=2000, target_ms=1000, by_tenant=True, workers=2)
    made, column = rehearse(built, pace)
    tried, found = column["tryout"], column["prediction"]
    assert found and found["rows_planned"] == made.rows_planned
    assert tried["rows_changed"] == tried["rows_planned"]  # of one tenant
    pauses = 2000 * 3000 / 1000 / 1000
    assert pauses / 2 <= found["seconds_low"] < pauses < found["seconds_high"] < pauses + 60
    # the sample's trigger sets updated_at, which is indexed: no update is HOT
    measured = tried["wal_bytes"] / tried["rows_changed"] * made.rows_planned
    assert found["wal_bytes_low"] == pytest.approx(0.75 * measured, rel=0.001)
    assert found["wal_bytes_high"] > measured


def test_a_page_is_counted_whole_once_and_again_for_each_checkpoint(built: App) -> None:
    predict = statements.statements(built.settings)["rehearsal__predict"]
    figures = {
        "rows_to_change": 3000, "rows_read": 3000, "batch_total": 3, "batch_size": 1000,
        "workers": 1, "rows_planned": 1000, "rows_changed": 1000, "duration_ms": 10,
        "wal_bytes": 400_000, "wal_records": 4000, "page_images": 10, "sleep_ms": 0,
        "is_hot_possible": True,
    }  # fmt: skip
    pages, seconds = built.query(
        "select (pg_table_size(c) + pg_indexes_size(c)) / 8192, extract(epoch from"
        " cast(current_setting('checkpoint_timeout') as interval))"
        " from (values (cast('portfoliocompanies' as regclass))) as t (c)"
    )[0]

    def estimated(images: str, **more: Any) -> dict[str, Any]:
        sql = predict.sql.replace("current_setting('full_page_writes')", f"'{images}'")
        with migration.connect(built) as connected:
            (row,) = records.rows(
                connected, predict._replace(sql=sql),
                relation="public.portfoliocompanies", tried=Jsonb({**figures, **more}),
            )  # fmt: skip
        return row

    without, with_images = estimated("off"), estimated("on")
    assert without["wal_bytes_low"] == with_images["wal_bytes_low"] == 72 * 3000
    images = with_images["wal_bytes_high"] - without["wal_bytes_high"]
    # once, and once more with the pages that the run adds: one checkpoint may begin at any time
    assert 3 * pages * PAGE * 0.9 < images < 3 * pages * PAGE * 1.2
    slow = estimated("on", sleep_ms=float(10 * seconds * 1000 / 3))
    assert slow["seconds_high"] == pytest.approx(float(10 * seconds), rel=0.01)
    more = slow["wal_bytes_high"] - with_images["wal_bytes_high"]
    assert more == pytest.approx(10 * (images - pages * PAGE), rel=0.1)
    # few rows cannot touch all pages
    few = estimated("on", rows_to_change=1, rows_planned=1)
    assert few["wal_bytes_high"] < with_images["wal_bytes_high"] / 2
