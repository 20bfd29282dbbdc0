"""The page of a verification: every check, every status, and documents nobody wishes for."""

from __future__ import annotations

import copy
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.browser import assert_readable, needs_chromium
from support.page_reader import Page, check
from trueup.show import document as findings
from trueup.show import flows
from trueup.verification import check_page
from unit.conftest import PROJECT
from unit.test_page import HOSTILE, assert_only_shown

SCHEMA = PROJECT / "docs" / "schemas" / "findings.schema.json"
# made by hand: a failed verification of a run over two columns, with all checks and every status
DOCUMENT = PROJECT / "tests" / "python" / "data" / "verification_document.json"
Row = dict[str, Any]


def document() -> Row:
    found: Row = json.loads(DOCUMENT.read_text())
    return found


CODES = [each["code"] for each in document()["checks"]]


def anchor(code: str) -> str:
    """How the page marks the section of a check that is not met."""
    return f'id="check-{CODES.index(code) + 1}"'


def offender(status: str, message: str) -> Row:
    return {"status": status, "message": message}


def build(data: Row) -> tuple[str, Page]:
    before = copy.deepcopy(data)
    text = check_page.build(data)
    assert data == before  # it is stored as it was read
    assert len(text.encode()) < 400_000
    return text, check(text)


def of(data: Row, name: str) -> Row:
    found: Row = next(each for each in data["checks"] if each["code"] == name)
    return found


def section(text: str, name: str) -> str:
    """The source of a section, without what comes after it."""
    return text.split(f'id="{name}"')[1].split("\n<section id=")[0]


def meet(data: Row, *statuses: str) -> Row:
    """The document with all checks in these statuses passed."""
    for each in data["checks"]:
        if each["status"] in statuses:
            each.update(status="ok", sample=[], rows=0, message="All is well")
    counted = [each["status"] for each in data["checks"]]
    data["summary"] = {
        "totalChecks": len(counted),
        "passed": sum(each in ("ok", "info") for each in counted),
        "failed": sum(each in ("fail", "error") for each in counted),
        "warnings": counted.count("warn"),
    }
    data["verdict"] = "failed" if data["summary"]["failed"] else "passed"
    return data


# ----------------------------------------------------------------------------------- what it says


def test_verdict_and_every_check_stand_at_the_top() -> None:
    jsonschema.validate(document(), json.loads(SCHEMA.read_text()))
    text, read = build(document())
    assert "✗ verification failed" in read.text
    assert "<h1>3 of 10 checks failed: Row Counts, Weight Sums, Models Agree</h1>" in text
    assert text.index("<h1>") < text.index('id="checks"') < text.index('id="not-met"')
    assert "checks passed 6 of 10" in read.text and "warnings 1 fail under --strict" in read.text
    rows = section(text, "checks").split("<li>")[1:]
    said = {"ok": ("passed", "✓"), "info": ("for information", "i"), "warn": ("warning", "!"),
            "fail": ("failed", "✗"), "error": ("could not be read", "✗")}  # fmt: skip
    slowest = max(each["duration_ms"] for each in document()["checks"])
    for row, each in zip(rows, document()["checks"], strict=True):
        assert re.findall(r'class="mark (\w+)" role="img" aria-label="([^"]+)">(.)<', row) == [
            (each["status"], *said[each["status"]])
        ]
        assert f"<b>{each['name']}</b>" in row and each["message"] in row
        assert ("<a href" in row) == (each["status"] in ("warn", "fail", "error"))
        assert f"width:{100 * each['duration_ms'] / slowest:.2f}%" in row
    assert "1.9 s" in read.text and "412 ms" in read.text and "3.7 s" in read.text


def test_what_is_not_met_is_named_failures_first_ten_and_the_rest_counted() -> None:
    data = document()
    of(data, "row_counts")["rows"] = 2025  # the rest was not read
    of(data, "row_counts")["sample"].insert(0, offender("warn", "a shortfall of another user"))
    text, read = build(data)
    part = section(text, "not-met")
    order = [CODES[int(number) - 1] for number in re.findall(r'id="check-(\d+)"', part)]
    assert order == ["row_counts", "weight_sums", "models_agree", "canonical_values"]
    rows = part.split(anchor("weight_sums"))[0]
    assert rows.count("<li>") == 10 and "row 1000: was changed" in rows
    assert "above the bound" not in rows  # it only informs
    assert "a shortfall" not in rows  # failures come first
    assert "10 of 2,024 findings are listed." in rows
    assert "Row Counts: failed, 2,024 findings" in read.text
    warned = part.split(anchor("canonical_values"))[1]
    assert warned.count("<li>") == 3 and "are listed" not in warned
    of(data, "row_counts")["sample"][2:] = [offender("fail", "a row of ours")]
    part = section(build(data)[0], anchor("row_counts")[4:-1])
    assert part.index("a row of ours") < part.index("<small>warning:</small>")


def test_commands_can_be_copied_whole_and_show_what_is_invisible() -> None:
    data = document()
    data["recommendations"][1]["commands"].extend(["rm \u202efile", "two\n  lines"])
    text, read = build(data)
    for each in document()["recommendations"]:
        for line in each["commands"]:
            assert line in read.texts
    assert "rm ‹U+202E›file" in read.texts and "two\n  lines" in read.texts
    assert "<code>trueup alias add</code>, then plan again" in text
    assert "user-select: all" in read.style and ".command { white-space: pre-wrap;" in read.style


def test_every_number_of_columns_flow_and_tenants_is_the_documents() -> None:
    text, read = build(document())
    rows = {row[0]: row[1:5] for row in read.tables["By column"][1:]}
    assert rows == {
        "portfoliocompanies.stage": ["15,102", "6,000", "6,000", "141"],
        "deal_opportunities.stage": ["9,400", "4,484", "4,482", "0"],
    }
    assert "promised, not changed 2 " in read.text
    flow = read.tables["Value changes in portfoliocompanies.stage"]
    lines = [int(row[1].replace(",", "")) for row in flow if len(row) == 3]
    moved = [
        each
        for each in document()["details"]["targets"]
        if each["table_name"] == "portfoliocompanies"
    ]
    assert sum(lines) == sum(each["rows_changed"] for each in moved) + 141
    assert [row[0] for row in flow if len(row) == 2] == [
        "Seed", "Series A", "Series B", "Growth", "unknown", "ambiguous"
    ]  # fmt: skip
    changes = read.tables["Changes of portfoliocompanies.stage"][1:]
    assert sum(int(row[4].replace(",", "")) for row in changes) == 6000
    assert {row[0] for row in read.tables["Stays of portfoliocompanies.stage"][1:]} == {
        "Pre-Seed+", "late"
    }  # fmt: skip
    assert "36 spellings in 6,000 rows became 4 canonical values" in read.text
    tenants = read.tables["Tenants of portfoliocompanies.stage"]
    assert tenants[1] == ["no fund", "212", "6", "12", "4", "100"]
    assert tenants[2] == ["1", "4,000", "4", "900", "60", "90"] and len(tenants) == 1 + 1 + 24
    assert "24 funds; no fund: 212 rows, 12 changed." in read.text
    assert "24 funds. " in read.text  # deals have no row without one
    strips = [part.split("</div>")[0] for part in text.split('<div class="strip"')[1:]]
    assert [strip.count("<span") for strip in strips] == [25, 25]


def test_the_bar_of_a_tenant_adds_up_to_its_rows() -> None:
    def parts(rows: int, changed: int, left: int, empty: int) -> list[int]:
        row = {"rows": rows, "rows_changed": changed, "rows_left": left, "rows_empty": empty}
        return [part.rows for part in check_page._tenant_parts(row)]

    assert parts(100, 30, 5, 10) == [55, 30, 5, 10]
    assert parts(100, 90, 5, 10) == [0, 85, 5, 10]  # five were edited since
    assert parts(0, 7, 0, 0) == [0, 0, 0, 0]  # deleted since


def test_the_sample_says_what_is_now_and_which_alias_decided() -> None:
    data = document()
    bare = {"alias": None, "match_type": "case", "added_by": None, "added_on": None}
    of(data, "sample_inspection")["sample"][5].update(bare)
    _, read = build(data)
    rows = read.tables["Sample"]
    assert rows[0] == ["row", "fund", "was", "became", "is now", "alias that decided", "why",
                       "added by, on"]  # fmt: skip
    assert len(rows) == 1 + check_page.READ
    assert len(read.tables["More of the sample"]) == 1 + 60 - check_page.READ
    assert rows[1] == ["portfoliocompanies.stage 1", "2", "SERIES A", "Series A", "as written",
                       "series a", "exact", "m.rossi, 2026-10-02"]  # fmt: skip
    # those that were edited since, and others from all over
    keys = [int(row[0].split(" ")[1]) for row in rows[1:]]
    assert keys == [1, 3, 6, 9, 10, 16, 23, 29, 35, 42, 48, 54]
    assert [rows[place][4] for place in (2, 3, 4)] == ["! Bridge", "✗ row is gone", "! NULL"]
    assert rows[3][5:] == ["–", "case", ""] and rows[4][1] == "no fund"
    assert rows[6][6] == "exact: the fund's own word for it"
    assert "60 changed rows at random, with seed 42." in read.text
    assert "3 rows are not as they were written." in read.text


@given(st.lists(st.sampled_from(["same", "other", "gone"]), max_size=60))
def test_every_row_of_the_sample_is_read_once(states: list[str]) -> None:
    sample: list[Row] = [{"key": key, "now": now} for key, now in enumerate(states)]
    first, later = check_page._to_read(sample)
    assert len(first) == min(len(states), check_page.READ)
    assert sorted(row["key"] for row in [*first, *later]) == list(range(len(states)))
    edited = len(states) - states.count("same")
    assert sum(row["now"] != "same" for row in first) == min(edited, check_page.READ)


def test_facts_of_the_run_and_of_the_verification_are_there() -> None:
    data = document()
    data["details"].update(tables=["a b"], tenants=["x", "none"])
    run_id, short_id = data["details"]["run"]["run_id"], data["details"]["run"]["short_id"]
    _, read = build(data)
    for fact in (
        run_id, f"audit digest {'ef' * 32}", "2026-11-20 20:00:00 UTC", "m.rossi", "ab" * 32,
        "cd" * 32, "PostgreSQL 18.6", "postgresql://trueup@db.example:5432/funds",
        "--epsilon 1e-06", "seed of the sample 42", "psycopg 3.3.0",
        "Asked of tables a b; tenants x, none only.",
        f"trueup verify {short_id} --table 'a b' --tenant x --tenant none --sample-size 60"
        " --seed 42 --epsilon 1e-06 --quiesced",
    ):  # fmt: skip
        assert fact in read.text
    data["details"]["run"].update(audit_digest=None, git_commit=None, finished_at=None)
    _, read = build(data)
    for fact in ("audit digest not recorded", "git commit outside of git", "finished not yet"):
        assert fact in read.text


# ------------------------------------------------------------------------- documents of other kinds


@pytest.mark.parametrize("strict", [False, True])
def test_a_warning_fails_only_where_it_is_strict(strict: bool) -> None:
    data = meet(document(), "fail", "error")
    data["metadata"]["strict"] = strict
    data["verdict"] = "failed" if strict else "passed"
    text, read = build(data)
    assert "<h1>No check failed; 1 of 10 checks warns: Canonical Values</h1>" in text
    assert ("✗ verification failed · a warning fails: --strict" in read.text) == strict
    assert ("✓ verification passed" in read.text) == (not strict)


def test_a_lost_connection_leaves_a_page() -> None:
    data = document()
    lost = "server closed the connection unexpectedly"
    for each in data["checks"]:
        each.update(status="error", message=lost, expected=None, found=None,
                    sample=[offender("fail", lost)], rows=1)  # fmt: skip
    data["details"].update(columns=[], targets=[], values=[])
    text, read = build(meet(data, "none"))
    assert "10 of 10 checks could not be read: Batch Tracking, Canonical Values, NULL" in read.text
    assert not read.tables.keys() & {"Sample", "By column"}
    assert 'id="tenants"' not in text and "Expected and actual state" not in text
    data["checks"] = []
    assert "<h1>No check was made</h1>" in build(meet(data))[0]


def test_an_answer_of_which_a_part_could_not_be_read_shows_the_other_part() -> None:
    data = document()
    for name in ("sample_inspection", "per_fund_breakdown"):
        found = of(data, name)
        found["status"] = "error"
        found["sample"].insert(0, offender("fail", "permission denied for table deals"))
        found["rows"] += 1 + 40  # 40 were not read
    text, read = build(data)
    assert len(read.tables["Sample"]) > 1 and "Tenants of portfoliocompanies.stage" in read.tables
    assert "60 of 100 rows are listed." in read.text
    assert "40 lines more than these were counted" in read.text
    part = text.split(anchor("sample_inspection"))[1].split("</section>")[0]
    assert "failed:" not in part  # nothing failed: it was not read
    assert part.count("<li>") == 1 and "could not be read, 1 finding" in part


def test_a_rollback_is_shown_in_its_own_direction() -> None:
    data = meet(document(), "warn", "fail", "error")
    data["details"]["run"].update(kind="rollback", restores=True)
    data["checks"] = [each for each in data["checks"] if each["code"] != "canonical_values"]
    for column in data["details"]["columns"]:
        column.update(row_total=None, null_total=None, blank_total=None)
    text, read = build(data)
    assert "✓ verification passed" in read.text and 'id="not-met"' not in text
    assert read.tables["By column"][:2] == [
        ["column", "rows", "restorable", "restored"],
        ["portfoliocompanies.stage", "", "6,000", "6,000"],
    ]
    assert "6,000 rows came back to 36 spellings" in read.text
    assert "Under each value that the run had written" in read.text
    column = {**data["details"]["columns"][0], "rows_updated": 0}
    assert flows.picture(column, [], [], True).headline == "nothing was restored"


def test_what_is_too_much_is_cut_and_the_page_says_so() -> None:
    data = document()
    huge = "x" * 1_000_000
    for each in data["checks"]:
        each["message"] = huge
        each["expected"] = each["found"] = "\n".join([huge, *["x" * 1000] * 499])
        if each["status"] in ("warn", "fail", "error"):
            each.update(sample=[offender("fail", huge)] * 1000, rows=5000)
    fund = of(data, "per_fund_breakdown")["sample"][0]
    funds = [{**fund, "tenant": f"t{n}", "rows": n + 1} for n in range(2000)]
    of(data, "per_fund_breakdown").update(sample=funds, rows=2500)
    row = {**of(data, "sample_inspection")["sample"][0], "value_before": huge, "alias": huge,
           "reason": huge, "added_by": huge}  # fmt: skip
    of(data, "sample_inspection").update(sample=[row] * 500, rows=5000)
    data["details"]["targets"] = [{**data["details"]["targets"][0], "spellings": 480}]
    data["details"]["values"] = [
        {**data["details"]["values"][0], "value_before": f"v{n}"} for n in range(480)
    ]
    text = check_page.build(data)
    assert len(text.encode()) < 1_000_000 and "x" * 301 not in text
    read = check(text)
    for sentence in (
        "10 of 5,000 findings are listed.",
        "40 of 500 lines are listed.",
        "1,000,000 characters",
        "2,000 funds. 80 of them are drawn.",
        "300 of 2,000 funds are listed.",
        "500 lines more than these were counted",
        "200 of 480 spellings are listed.",
        "500 of 5,000 rows are listed.",
    ):
        assert sentence in read.text
    rows = read.tables["Tenants of portfoliocompanies.stage"]
    assert len(rows) == 1 + 300 and rows[1][:2] == ["t1999", "2,000"]


# ------------------------------------------------------------------------------------- hostile text


def everywhere(text: str) -> Row:
    """A document with this text wherever one from outside can stand."""
    data = document()
    name = {"table_name": text, "column_name": text}
    for each in data["checks"]:
        each["message"] = text
        each["expected"] = each["found"] = text
        each["sample"] = [offender("fail", text)]
        each["rows"] = 1
    row, fund = (
        of(document(), check_id)["sample"][0]
        for check_id in ("sample_inspection", "per_fund_breakdown")
    )
    shown = ("row_key", "tenant", "value_before", "value_after", "alias", "match_type", "reason",
             "added_by", "added_on")  # fmt: skip
    of(data, "sample_inspection")["sample"] = [
        {**row, **name, **dict.fromkeys(shown, text), "value_now": f"other{text}"},
        row,
    ]
    of(data, "per_fund_breakdown")["sample"] = [{**fund, **name, "tenant": text}]
    data["recommendations"] = [
        {"code": each["code"], "name": text, "subject": "", "text": text, "commands": [text]}
        for each in data["checks"]
    ]
    data["details"]["columns"][0].update(name)
    became, stays = data["details"]["targets"][0], data["details"]["targets"][-1]
    data["details"]["targets"] = [{**became, **name, "gathered_value": text}, {**stays, **name}]
    became, stays = data["details"]["values"][0], data["details"]["values"][-1]
    data["details"]["values"] = [
        {**became, **name, "value_before": text, "value_after": text, "gathered_value": text},
        {**stays, **name, "value_before": f"2{text}"},
    ]
    data["details"]["run"].update(operator=text, environment=text, git_commit=text)
    data["details"].update(environment=text, tables=[text], tenants=[text])
    data["details"]["server"].update(database=text, url=text)
    data["metadata"]["about"] = {text: text}
    data["subject"] = text
    return data


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_a_hostile_text_is_shown_and_nothing_else(hostile: str) -> None:
    """What is not of a table is as long as PostgreSQL's names; a half pair is in no database."""
    word = hostile.encode(errors="replace").decode()[:80]
    text, read = build(everywhere(word))
    assert_only_shown(word, read, build(everywhere("text under test"))[1])
    invisible = {letter for letter in text if unicodedata.category(letter) in ("Cf", "Cc")}
    assert invisible <= {"\n"}


@needs_chromium
@pytest.mark.parametrize("text", ["W" * 80, "x\u202e <b>" * 10], ids=["wide", "odd"])
def test_the_page_is_readable_at_every_width(text: str, tmp_path: Path) -> None:
    assert_readable(check_page.build(everywhere(text)), tmp_path)


# ------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("statuses", "says"),
    [
        (["ok"], "The only check passed"),
        (["ok", "info"], "All 2 checks passed"),
        (["error", "fail"], "2 of 2 checks failed: Row Counts, Row Counts"),
        (["warn", "warn"], "No check failed; 2 of 2 checks warn: Row Counts, Row Counts"),
        (["warn", "fail"], "1 of 2 checks failed: Row Counts"),
        (["fail"] * 5, "5 of 5 checks failed: Row Counts, Row Counts, Row Counts and 2 more"),
    ],
)
def test_the_headline(statuses: list[str], says: str) -> None:
    checks: list[dict[str, Any]] = [{"name": "Row Counts", "status": each} for each in statuses]
    assert findings.headline(checks) == says
