"""`trueup report`: every number of the page and of the JSON is the ledger's, or the table's own."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from integration.conftest import PROJECT, App
from support import migration
from support.browser import assert_readable, needs_chromium
from support.page_reader import Page, check
from trueup.core import runs
from trueup.migration import engine, plan, report, report_page
from trueup.migration import runner as job
from trueup.show import flows
from trueup.show.terminal import bytes_text, duration
from trueup.verification import verify

SCHEMA = PROJECT / "docs" / "schemas" / "run-report.schema.json"
SCOPE = plan.Scope(("portfoliocompanies", "deal_opportunities"))
LEDGER = "trueup_ledger"
CELLS = """
    select 'portfoliocompanies.stage', cast(fund_id as text), id, stage from portfoliocompanies
    union all
    select 'portfoliocompanies.current_stage', cast(fund_id as text), id, current_stage
    from portfoliocompanies
    union all
    select 'deal_opportunities.stage', cast(fund_id as text), id, stage from deal_opportunities
"""
LONG = "x" * 10_000
HOSTILE = {
    -1: "<script>alert(1)</script>",
    -2: "\u202etxt.exe {{ 7 * 7 }}",
    -3: "two\nlines</style>",
    -4: LONG,
    -5: "Series A\u200b",  # decided: it is changed
}
RAISED = "<b>frozen</b> & locked"
REFUSED = f"{RAISED} (PL/pgSQL function refuse() line 1 at RAISE)"


Cells = dict[tuple[str, int], tuple[str | None, str | None]]


class Document(dict[str, Any]):
    """A report; its keys are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@dataclass
class Seen:
    """A run with a refused row, a batch that failed and values that stay, and its report.

    before: (column, key) → (tenant, value); after: the same when the run was over
    """

    app: App
    plan: plan.Plan
    refused: int
    held: int
    before: Cells
    after: Cells
    report: Document
    text: str
    page: Page

    @property
    def changed(self) -> list[tuple[str, str | None, str | None, str | None]]:
        """Column, tenant, value before and after of every cell that is another one now."""
        return [
            (column, tenant, value, self.after[column, key][1])
            for (column, key), (tenant, value) in self.before.items()
            if self.after[column, key][1] != value
        ]

    def query(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.app.query(query, *values)


def cells_of(app: App) -> Cells:
    return {(column, key): (tenant, value) for column, tenant, key, value in app.query(CELLS)}


@pytest.fixture(scope="module")
def seen(shared_built: App) -> Seen:
    app = shared_built
    for key, text in HOSTILE.items():
        app.query(
            "insert into deal_opportunities (id, fund_id, company_name, stage)"
            " values (%s, 1, 'hostile', %s)", key, text,
        )  # fmt: skip
    app.query("update portfoliocompanies set current_stage = null where id % 50 = 0")
    made = migration.make_plan(app, SCOPE)
    before = cells_of(app)
    dirty = [
        int(key)
        for (key,) in app.query(
            f"select p.id from portfoliocompanies as p inner join {LEDGER}.migration_value_map as m"
            " on p.stage = m.value_before where m.run_id = %s and m.table_name = %s"
            " and m.column_name = 'stage' and m.map_id is not null order by p.id",
            made.run_id, "portfoliocompanies",
        )
    ]  # fmt: skip
    refused, held = dirty[0], dirty[-1]
    app.query("create function refuse() returns trigger language plpgsql as"
              f" $$ begin raise exception '{RAISED}'; end $$")  # fmt: skip
    app.query("create trigger refuse before update of stage on portfoliocompanies for each row"
              f" when (new.id = {refused}) execute function refuse()")  # fmt: skip
    with migration.connect(app) as other:
        other.execute("select 1 from portfoliocompanies where id = %s for update", [held])
        outcome = migration.apply(app, made, lock_timeout_ms=10)
    assert outcome.status == "completed_with_failures"
    one = reported(app)
    page = report_page.build(one)
    found = Seen(app, made, refused, held, before, cells_of(app), one, page, check(page))
    assert 1000 < len(found.changed) < made.rows_planned
    return found


def reported(app: App, wanted: str | None = None, verifies: bool = True) -> Document:
    with migration.connect(app) as connected:
        made: Document = as_document(report.make(
            app.settings, connected, wanted,
            lambda run: verify.summary(app.settings, connected, run, verifies),
        ))  # fmt: skip
    return made


def as_document(found: Any) -> Any:
    """The same, with keys that can be read as attributes."""
    if isinstance(found, list):
        return [as_document(each) for each in found]
    if isinstance(found, dict):
        return Document({name: as_document(value) for name, value in found.items()})
    return found


def plain(text: str) -> int:
    return int(text.replace(",", ""))


def flowing(read: Page) -> int:
    """Rows of all spellings in the flows of a page."""
    found = [rows for label, rows in read.tables.items() if label.startswith("Value changes")]
    return sum(plain(row[1]) for rows in found for row in rows if len(row) == 3)


def as_cells(rows: list[list[str]]) -> dict[str, list[str]]:
    """A table of the page by its first column, without its head."""
    return {row[0]: row[1:] for row in rows[1:]}


# ------------------------------------------------------------------------------------ what it says


def test_the_document_keeps_its_schema(seen: Seen) -> None:
    schema = json.loads(SCHEMA.read_text())
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    document = json.loads(report.as_json(seen.report))
    assert [error.message for error in validator(schema).iter_errors(document)] == []
    for part, wrong in (("totals", {}), ("verdict", {"state": "fine", "sentence": ""}),
                        ("sample", [{}]), ("more", 1)):  # fmt: skip
        assert list(validator(schema).iter_errors({**document, part: wrong})), part


def test_rows_by_column_are_those_of_the_tables(seen: Seen) -> None:
    changed = Counter(column for column, *_ in seen.changed)
    rows = Counter(column for column, _ in seen.before)
    assert {flows.place(column): column.rows_updated for column in seen.report.columns} == changed
    assert seen.report.totals["rows_updated"] == len(seen.changed) == seen.report.audit.rows_audited
    assert seen.report.totals["rows_planned"] == seen.plan.rows_planned == len(seen.changed) + 2
    assert seen.report.totals["rows_failed"] == 1
    batches = seen.query(
        f"select table_name || '.' || column_name, count(*),"
        f" count(*) filter (where status = 'completed'), count(*) filter (where status = 'failed')"
        f" from {LEDGER}.stage_migration_batches where run_id = %s group by 1",
        seen.plan.run_id,
    )  # fmt: skip
    table = as_cells(seen.page.tables["By column"])
    assert table.keys() == rows.keys()
    for name, total, completed, failed in batches:
        cells = table[name]
        assert plain(cells[0]) == rows[name]
        assert plain(cells[2]) == changed[name]
        assert cells[5:] == [f"{completed} of {total}", str(failed)]
    planned = {f"{each['table_name']}.{each['column_name']}": each["rows_planned"]
               for each in seen.plan.columns}  # fmt: skip
    assert {name: plain(cells[1]) for name, cells in table.items()} == planned
    assert [plain(table[name][3]) for name in ("portfoliocompanies.stage",
                                               "deal_opportunities.stage")] == [1, 0]  # fmt: skip
    assert seen.report.verdict.sentence.startswith(
        f"{len(seen.changed):,} of {seen.plan.rows_planned:,} promised rows were changed;"
        " 1 row refused by the database, 1 batch failed; verification failed: "
    )
    assert seen.report.verdict.state == "failed"
    assert seen.report.verdict.sentence in seen.page.text
    assert "✗ not as promised · completed with failures" in seen.page.text


def test_what_became_what_is_what_the_tables_say(seen: Seen) -> None:
    became = Counter((column, before, after) for column, _, before, after in seen.changed)
    listed = {
        (flows.place(each), each["value_before"], each["value_after"]):
            each["rows_changed"]
        for each in seen.report["values"] if each["rows_changed"]
    }  # fmt: skip
    assert listed == became
    assert ("deal_opportunities.stage", HOSTILE[-5]) in {key[:2] for key in listed}
    targets = {
        (flows.place(each), each["gathered_value"]): (
            each["rows_changed"], each["spellings_changed"]
        )
        for each in seen.report.targets if each["rows_changed"]
    }  # fmt: skip
    for (column, after), (rows, spellings) in targets.items():
        own = {key: n for key, n in became.items() if key[0] == column and key[2] == after}
        assert (rows, spellings) == (sum(own.values()), len(own))
    assert sum(rows for rows, _ in targets.values()) == len(seen.changed)
    assert flowing(seen.page) == len(seen.changed) + seen.report.totals["rows_left"]
    table = seen.page.tables["Changes of portfoliocompanies.stage"][1:]
    assert len(table) == flows.SPELLINGS
    counted = sorted((n for key, n in became.items() if key[0] == "portfoliocompanies.stage"),
                     reverse=True)  # fmt: skip
    assert [plain(row[4]) for row in table] == counted[: flows.SPELLINGS]
    assert f"200 of {len(counted) + 2:,} spellings are listed" in seen.page.text or (
        f"200 of {len(counted):,} spellings are listed" in seen.page.text
    )


def test_what_stays_is_still_there(seen: Seen) -> None:
    now = Counter((column, value) for (column, _), (_, value) in seen.after.items())
    left = [
        each
        for each in seen.report["values"]
        if each["left_because"] not in (None, "null", "blank")
    ]
    for each in left:
        assert now[flows.place(each), each["value_before"]] == each["rows_planned"]
    assert sum(each["rows_planned"] for each in left) == seen.report.totals["rows_left"]
    assert {HOSTILE[key] for key in (-1, -2, -3, -4)} <= {each["value_before"] for each in left}
    reasons = as_cells(seen.page.tables["Values that stay"])
    by_reason = Counter[str]()
    for each in left:
        by_reason[(each["left_because"] or "").replace("_", " ")] += each["rows_planned"]
    assert {name: plain(cells[0]) for name, cells in reasons.items()} == by_reason
    assert {"unknown", "ambiguous"} <= by_reason.keys()


def test_rows_by_tenant_are_those_of_the_tables(seen: Seen) -> None:
    changed = Counter((column, tenant) for column, tenant, *_ in seen.changed)
    rows = Counter((column, tenant) for (column, _), (tenant, _) in seen.before.items())
    empty = Counter(
        (column, tenant)
        for (column, _), (tenant, value) in seen.before.items() if value is None
    )  # fmt: skip
    listed = {(flows.place(each), each["tenant"]): each for each in seen.report.tenants}
    assert listed.keys() == rows.keys()
    assert any(tenant is None for _, tenant in listed)
    for key, each in listed.items():
        assert each["row_total"] == rows[key] and each["rows_changed"] == changed[key]
        assert (each["rows_empty"] or 0) >= empty[key]
    planned = sum(each["rows_planned"] or 0 for each in seen.report.tenants)
    assert planned == seen.plan.rows_planned
    assert (
        sum(each["rows_left"] or 0 for each in seen.report.tenants)
        == seen.report.totals["rows_left"]
    )
    for name in {column for column, _ in rows}:
        table = as_cells(seen.page.tables[f"Tenants of {name}"])
        shown_rows = {
            (name, None if tenant == "no fund" else tenant): (plain(cells[0]), plain(cells[2]))
            for tenant, cells in table.items()
        }
        assert shown_rows == {key: (n, changed[key]) for key, n in rows.items() if key[0] == name}


def test_a_refused_row_and_a_failed_batch_are_named(seen: Seen) -> None:
    assert seen.report.quarantine.total == seen.report.failures.total == 1
    (row,), (batch,) = seen.report.quarantine.rows, seen.report.failures.rows
    value = seen.before["portfoliocompanies.stage", seen.refused][1]
    assert (row["row_key"], row["value_before"]) == (str(seen.refused), value)
    assert row["reason"] == REFUSED
    assert seen.page.tables["Quarantine"][1] == [
        "portfoliocompanies.stage", str(seen.refused), value, "P0001", REFUSED
    ]  # fmt: skip
    ((batch_id, attempts, reason),) = seen.query(
        f"select batch_id, attempts, error_message from {LEDGER}.stage_migration_batches"
        " where status = 'failed'"
    )
    assert str(seen.held) in reason
    cells = seen.page.tables["Failed batches"][1]
    assert (cells[1], cells[3], cells[6]) == (str(batch_id), str(attempts), reason)
    assert plain(cells[4]) - plain(cells[5]) == 1  # the row that was held
    assert batch["batch_id"] == batch_id


def test_durations_and_rates_are_those_of_the_batches(seen: Seen) -> None:
    found = seen.query(
        f"select batch_id, duration_ms, status, completed_at, rows_updated"
        f" from {LEDGER}.stage_migration_batches where run_id = %s order by completed_at, batch_id",
        seen.plan.run_id,
    )
    done = sorted(ms for _, ms, status, *_ in found if status == "completed")

    def quantile(share: float) -> float:
        place = share * (len(done) - 1)
        low = int(place)
        return float(done[low] + (place - low) * (done[min(low + 1, len(done) - 1)] - done[low]))

    assert seen.report.durations.p50_ms == pytest.approx(quantile(0.5))
    assert seen.report.durations.p95_ms == pytest.approx(quantile(0.95))
    assert seen.report.durations.max_ms == done[-1]
    assert [
        (p["batch_id"], p["duration_ms"], p["status"], p["completed_at"])
        for p in seen.report.points
    ] == [row[:4] for row in found]
    last = seen.report.points[-1]["worked_seconds"]
    first = min(p["completed_at"].timestamp() - p["duration_ms"] / 1000 for p in seen.report.points)
    assert last == pytest.approx(found[-1][3].timestamp() - first, abs=1e-4)
    assert seen.report.rates[0]["from_seconds"] == 0 and seen.report.rates[-1][
        "to_seconds"
    ] == pytest.approx(last)
    assert sum(rate["rows_updated"] for rate in seen.report.rates) == len(seen.changed)
    assert sum(rate["batches"] for rate in seen.report.rates) == len(found)
    dots = [value for tag, name, value in seen.page.attributes
            if (tag, name) == ("path", "d") and value.endswith("h0")]  # fmt: skip
    assert sum(path.count("M") for path in dots) == len(found)
    assert f"p50 {duration((seen.report.durations.p50_ms or 0) / 1000)}" in seen.page.text
    assert "target wanted at most 1 s" in seen.page.text


def test_counters_of_the_server_are_taken_once_per_table(seen: Seen) -> None:
    measured = dict(
        seen.query(
            f"select table_name, measured from {LEDGER}.stage_migration_control where run_id = %s",
            seen.plan.run_id,
        )
    )
    for each in seen.report.server_work.tables:
        before, after = (measured[each.table_name][when] for when in ("before", "after"))
        assert each.updates == after["n_tup_upd"] - before["n_tup_upd"]
        assert each.hot_updates == after["n_tup_hot_upd"] - before["n_tup_hot_upd"]
    assert [each.table_name for each in seen.report.server_work.tables] == [
        "portfoliocompanies", "deal_opportunities"
    ]  # fmt: skip
    wal = max(each["after"]["wal_bytes"] for each in measured.values()) - min(
        each["before"]["wal_bytes"] for each in measured.values()
    )
    assert seen.report.server_work.wal_bytes == wal
    assert bytes_text(wal / len(seen.changed)) + " per row changed" in seen.page.text


def test_the_sample_has_rows_that_were_changed(seen: Seen) -> None:
    assert len(seen.report.sample) == report.SAMPLE
    for row in seen.report.sample:
        place = (f"{row['table_name']}.{row['column_name']}", int(row["row_key"]))
        assert seen.before[place] == (row["tenant"], row["value_before"])
        assert seen.after[place][1] == row["value_after"] != row["value_before"]
    assert len({(row["table_name"], row["column_name"]) for row in seen.report.sample}) > 1


def test_the_list_at_the_end_says_what_the_ledger_knows(seen: Seen) -> None:
    found = {line.id: (line.state, line.evidence) for line in seen.report.sign_off}
    assert [line.id for line in seen.report.sign_off] == [
        "plan_reviewed", "no_failed_batch", "verification_passed", "sample_read",
        "application_spot_checked", "replica_lag_normal", "report_archived", "tracking_kept",
    ]  # fmt: skip
    total = seen.plan.batches
    assert found["no_failed_batch"] == (
        "not met", f"{total - 1} of {total} batches completed, 1 failed; 1 row in quarantine"
    )  # fmt: skip
    assert found["verification_passed"][0] == "not met"
    assert "Batch Tracking" in found["verification_passed"][1]
    assert found["tracking_kept"] == (
        "met", f"{total} batches, {len(seen.changed):,} audited rows in the ledger"
    )  # fmt: skip
    assert found["replica_lag_normal"][0] == "met"
    people = ("plan_reviewed", "sample_read", "application_spot_checked", "report_archived")
    assert {found[name][0] for name in people} == {"open"}
    assert seen.plan.plan_sha256[:12] in found["plan_reviewed"][1]
    text = seen.page.text
    assert all(evidence in text for _, evidence in found.values())
    assert text.index("Sign-off") > text.index("How it was run")
    empty = [line for line in seen.report.sign_off if line.state != "met"]
    assert text.count(" name date ") + text.endswith(" name date") == len(empty)


def test_hashes_options_and_times_stand_on_the_page(seen: Seen) -> None:
    ((plan_sha, sql_sha, operator, planned, started, finished),) = seen.query(
        f"select plan_sha256, sql_sha256, operator, planned_at, started_at, finished_at"
        f" from {LEDGER}.migration_runs where run_id = %s", seen.plan.run_id,
    )  # fmt: skip
    asked = ("batch_size 500", "tables portfoliocompanies, deal_opportunities")
    for fact in (plan_sha, sql_sha, operator, str(seen.report.run["run_id"]), *asked):
        assert fact in seen.page.text
    assert seen.report.database["address"] in seen.page.text
    for label, time in (("planned", planned), ("started", started), ("finished", finished)):
        assert (
            f"{label} {time.astimezone(seen.report.made_at.tzinfo):%Y-%m-%d %H:%M:%S}"
            in seen.page.text
        )
    document = report.as_json(seen.report)
    for secret in (seen.app.environment["PGPASSWORD"], "PGPASSWORD"):
        assert secret not in seen.text and secret not in document
    warned = [f for f in seen.report.run["findings"] if f["status"] != "ok"]
    assert len(seen.page.tables["Warnings of the plan"]) == len(warned) + 1 > 1


def test_hostile_values_are_escaped_and_cut(seen: Seen) -> None:
    text, page = seen.text, seen.page
    assert "alert(1)" not in text.replace("&lt;script&gt;alert(1)&lt;/script&gt;", "")
    stays = page.tables["Stays of deal_opportunities.stage"]
    cells = {row[0] for row in stays}
    assert "<script>alert(1)</script>" in cells
    assert "‹U+202E›txt.exe {{ 7 * 7 }}" in cells and "two⏎lines</style>" in cells
    assert "x" * 47 + "… 10,000 characters" in cells and "x" * 201 not in text
    assert "<b>frozen</b>" not in text
    changes = page.tables["Changes of deal_opportunities.stage"]
    assert "Series A‹U+200B›" in {row[0] for row in changes}
    assert LONG in {
        each["value_before"] for each in seen.report["values"]
    }  # the document has it whole
    assert len(text.encode()) < 400_000


@needs_chromium
def test_the_page_is_readable_at_every_width(seen: Seen, tmp_path: Path) -> None:
    assert_readable(seen.text, tmp_path)


# ------------------------------------------------------------------------------------- other runs


def test_a_clean_run_is_passed_and_taken_by_the_command(built: App) -> None:
    made = migration.make_plan(built, plan.Scope(("investments",)))
    migration.apply(built, made)
    later = migration.make_plan(built, plan.Scope(("deal_opportunities",)))  # is not begun
    out = migration.printed(built, "report")
    short = str(made.run_id)[:8]
    path = built.project / ".trueup" / f"run-{short}.html"
    assert f"written: {path}" in out
    assert (
        f"run {short}: {made.rows_planned:,} rows were changed, as many as the plan promised\n"
        in out
    )
    assert "✓ No failed batch: " in out and "☐ Plan reviewed: " in out
    assert "✓ completed and verified" in check(path.read_text(encoding="utf-8")).text
    one = reported(built, short)
    states = {line.id: line.state for line in one.sign_off}
    assert [states[name] for name in ("no_failed_batch", "verification_passed", "tracking_kept")
            ] == ["met"] * 3  # fmt: skip
    assert one.verdict.state == "passed"

    migration.printed(
        built, "report", short, "--no-verify", "--output", "r.json", "--output", "r.html"
    )
    document = json.loads((built.project / "r.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["verdict"]["state"] == "open"
    assert document["verification"]["summary_text"] == "not made: --no-verify"
    assert [line["state"] for line in document["sign_off"] if line["id"] == "verification_passed"
            ] == ["open"]  # fmt: skip
    assert "not made: --no-verify" in (built.project / "r.html").read_text(encoding="utf-8")

    path.unlink()
    code, out, err = migration.done(built, "report", short, "--format", "json")
    assert (code, json.loads(out)["run"]["run_id"]) == (0, str(made.run_id))
    assert not path.exists()

    for arguments, words in (
        (["--output", "r.pdf"], "r.pdf: the ending decides the format; allowed: .html, .json"),
        (["--output", "nowhere/r.html"], "there is no folder"),
        ([str(later.run_id)[:8]], "is planned; allowed: "),
        (["00000000"], "no run 00000000"),
    ):
        code, out, err = migration.done(built, "report", *arguments)
        assert code == 2 and words in err, (arguments, out, err)
    assert not (built.project / "r.pdf").exists()

    # lost books fail the verification, and with it the verdict and the list
    built.query(
        f"update {LEDGER}.stage_normalization_changes set row_keys = row_keys[2:],"
        " tenants = tenants[2:], map_ids = map_ids[2:]"
    )
    one = reported(built, short)
    assert one.run["status"] == "completed" and one.verdict.state == "failed"
    assert one.verdict.sentence.endswith("; verification failed: Audit Consistency")
    (kept,) = (line for line in one.sign_off if line.id == "tracking_kept")
    assert kept.state == "not met"
    assert kept.evidence.endswith(f"but batches counted {made.rows_planned:,}")


def test_a_rehearsal_stands_beside_what_came(built: App) -> None:
    migration.printed(
        built, "plan", "--rehearse", "--table", "deal_opportunities", "--format", "json"
    )
    ((run_id, stored),) = built.query(f"select run_id, rehearsal from {LEDGER}.migration_runs")
    estimated = stored["columns"][0]["prediction"]
    with migration.connect(built) as connected:
        found = runs.find(connected, LEDGER, str(run_id), runs.PLANNED)
    engine.apply(
        lambda: migration.connect(built), job.order(built.settings, found),
        lambda event: None, engine.Stop(),
    )  # fmt: skip
    one = reported(built, verifies=False)
    rows, log, seconds = one.predictions
    planned = estimated["rows_planned"]
    assert (rows["low"], rows["high"], rows["actual"], rows["is_in_range"]) == (
        planned, planned, one.totals["rows_updated"], True
    )  # fmt: skip
    assert (log["low"], log["high"]) == (estimated["wal_bytes_low"], estimated["wal_bytes_high"])
    assert log["actual"] == one.server_work.wal_bytes
    assert seconds["actual"] == pytest.approx(one.durations.worked_seconds)
    jsonschema.validate(json.loads(report.as_json(one)), json.loads(SCHEMA.read_text()))
    # less log than was possible
    built.query(
        f"update {LEDGER}.migration_runs set rehearsal = jsonb_set(rehearsal,"
        " '{columns,0,prediction,wal_bytes_low}', '1e12')"
    )
    one = reported(built, verifies=False)
    assert [each["is_in_range"] for each in one.predictions][:2] == [True, False]
    table = check(report_page.build(one)).tables["Estimated and actual"]
    assert [(row[0], row[-1]) for row in table[1:3]] == [
        ("rows to change", "yes"), ("write-ahead log", "no")
    ]  # fmt: skip
    # a column without an estimate
    built.query(
        f"update {LEDGER}.migration_runs set rehearsal = jsonb_set(rehearsal,"
        " '{columns,0,prediction}', 'null')"
    )
    assert reported(built, verifies=False).predictions == []


def test_without_a_run_that_was_begun_there_is_nothing_to_report(built: App) -> None:
    made = migration.make_plan(built, plan.Scope(("investments",)))
    migration.printed(built, "cancel", str(made.run_id), "--yes")
    code, _, err = migration.done(built, "report")
    assert code == 2 and "no run has started yet" in err
    one = reported(built, str(made.run_id))  # named, it is shown
    assert one.verdict.sentence.startswith("The run is cancelled: 0 of ")
    assert one.verdict.state == one.verification["status"] == "open"
    assert "is cancelled" in one.verification["summary_text"]
    assert not one.points and not one.rates and not one.sample
    assert check(report_page.build(one)).tables["By column"]


@pytest.mark.parametrize(("interval", "token"), [("13 hours", "lease_token"),
                         ("30 seconds", "cast(repeat('0', 32) as uuid)")])  # fmt: skip
def test_a_break_is_left_out_of_the_time_and_said(built: App, interval: str, token: str) -> None:
    """One without a batch for long, or one of a run that was stopped and resumed."""
    made = migration.make_plan(built, plan.Scope(("deal_opportunities",)),
                               plan.Pace(batch_size=50, sleep_ms=0, target_ms=1000))  # fmt: skip
    migration.apply(built, made)
    before = reported(built, verifies=False)
    assert report_page._breaks(before) == []
    middle = made.batches // 2
    built.query(
        f"update {LEDGER}.stage_migration_batches set completed_at = completed_at"
        f" + interval '{interval}', lease_token = {token} where batch_id >"
        f" (select min(batch_id) from {LEDGER}.stage_migration_batches) + %s", middle - 1,
    )  # fmt: skip
    one = reported(built, verifies=False)
    assert [point["break_seconds"] > 0 for point in one.points].index(True) == middle
    number, unit = interval.split(" ")
    seconds = int(number) * {"hours": 3600, "seconds": 1}[unit]
    assert one.durations.break_seconds == pytest.approx(seconds, abs=1)
    assert one.durations.worked_seconds == pytest.approx(
        before.durations.worked_seconds, abs=0.1 + 0.5
    )
    assert sum(rate["rows_updated"] for rate in one.rates) == made.rows_planned
    read = check(report_page.build(one))
    shown = f"{number} {unit[0]}"
    assert f"1 break without a batch, {shown} in all, left out of the time" in read.text
    assert ("i", "title", f"{shown} without a batch") in read.attributes


def test_many_batches_are_thinned_but_not_the_slow_and_the_failed(built: App) -> None:
    made = migration.make_plan(built, plan.Scope(("investments",)))
    migration.apply(built, made)
    built.query(
        f"insert into {LEDGER}.stage_migration_batches (run_id, schema_name, table_name,"
        " column_name, range_no, range_end, status, completed_at, duration_ms, rows_updated)"
        " select %s, 'public', 'investments', 'round', n, '{{1}}',"
        " case when n = 1234 then 'failed' else 'completed' end, now() + n * interval '1 s',"
        " case when n = 4321 then 9999 else 5 + n %% 7 end, 1"
        " from generate_series(1, 20000) as n".replace("{{", "{").replace("}}", "}"),
        made.run_id,
    )  # fmt: skip
    one = reported(built, verifies=False)
    assert one.durations.batches == 20_000 + made.batches
    assert report.POINTS / 2 < len(one.points) <= report.POINTS * 1.1
    assert {"failed"} < {point["status"] for point in one.points}
    assert max(point["duration_ms"] for point in one.points) == 9999
    ends = [point["worked_seconds"] for point in one.points]
    assert max(b - a for a, b in pairwise(ends)) < 60  # from all over
    assert sum(rate["rows_updated"] for rate in one.rates) == 20_000 + made.rows_planned
    assert len(one.rates) == report.PARTS
    text = report_page.build(one)
    assert (
        f"{len(one.points):,} of {one.durations.batches:,}, the slowest and failed"
        in check(text).text
    )
    assert len(text.encode()) < 300_000


def test_a_rollback_is_shown_in_its_own_direction(built: App) -> None:
    made = migration.make_plan(built, plan.Scope(("deal_opportunities",)))
    migration.apply(built, made)
    edited, deleted = (key for (key,) in built.query(
        f"select cast(row_id as bigint) from {LEDGER}.stage_normalization_log"
        " order by row_id limit 2"
    ))  # fmt: skip
    built.query("update deal_opportunities set stage = 'edited by a person' where id = %s", edited)
    built.query("delete from deal_opportunities where id = %s", deleted)
    back = migration.roll_back(built, made.run_id)[0].run_id
    one = reported(built, str(back), verifies=False)
    assert one.verdict.sentence == (
        f"{made.rows_planned - 2:,} rows were restored, as many as the plan promised;"
        " 2 rows edited or deleted since left alone"
    )
    first = reported(built, str(made.run_id))
    assert first.run["taken_back_by"] == [str(back)] and first.verdict.state == "taken_back"
    words = f"taken back by {str(back)[:8]}"
    assert f"{made.rows_planned - 2:,} rows {words}" in first.verdict.sentence
    assert f'"completed, {words}"' in migration.printed(built, "runs", "--format", "json")
    verified = json.loads(migration.printed(built, "verify", "--format", "json"))
    digests = (verified["details"]["run"]["audit_digest"], one.run["audit_digest"])
    assert verified["subject"] == f"run {str(back)[:8]}" and len({*digests}) == 1
    assert one.run["reverts_run_id"] == str(made.run_id)
    # what one run gathered the other takes apart
    assert {(t["gathered_value"], t["spellings"]) for t in one.targets} == {
        (t["gathered_value"], t["spellings"]) for t in first.targets if t["left_because"] is None
    }
    restored = {(v["value_after"], v["value_before"]): v["rows_changed"] for v in one["values"]}
    changed = {
        (v["value_before"], v["value_after"]): v["rows_changed"]
        for v in first["values"]
        if v["is_planned"]
    }
    assert restored.keys() == changed.keys()
    assert all(count <= changed[pair] for pair, count in restored.items())
    assert sum(changed.values()) - sum(restored.values()) == 2
    assert sum(t["rows_conflicting"] for t in one.tenants) == 2
    read = check(report_page.build(one))
    conflicts = read.tables["Conflicts"][1:]
    found = sorted(row[4:] for row in conflicts)
    assert found == [["NULL", "deleted"], ["edited by a person", "edited"]]
    assert all((row[2], row[3]) in restored or row[2] != row[3] for row in conflicts)
    assert flowing(read) == sum(restored.values())
    assert "Values that stay" not in read.tables
    assert f"This run takes run {str(made.run_id)[:8]} back" in read.text
    text = check(report_page.build(first)).text
    assert f"It was {words}" in text and "↩ taken back · completed" in text
    assert "completed and verified" not in text
    jsonschema.validate(json.loads(report.as_json(one)), json.loads(SCHEMA.read_text()))
