"""`trueup verify` and `trueup verifications` as people and machines use them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import psycopg
import pytest

from integration.conftest import PROJECT, App
from integration.migration.test_migration_shapes import operator  # noqa: F401  a fixture
from support import migration
from support.page_reader import check as read_page
from trueup.migration import plan
from trueup.show.document import as_markdown
from trueup.verification import check_page

SCHEMA = json.loads((PROJECT / "docs/schemas/findings.schema.json").read_text())
SCOPE = plan.Scope(("deal_opportunities", "investments"))
LEDGER = "trueup_ledger"
NAMES = ["Batch Tracking", "Canonical Values", "NULL Integrity", "Row Counts", "Audit Consistency",
         "Sample Inspection", "Per-Fund Breakdown", "Weight Sums", "Other Columns Untouched",
         "Models Agree"]  # fmt: skip
PASSED = "[INFO] Verification PASSED"
FAILED = "[ERROR] Verification FAILED: One or more checks failed"
NULLED = (  # in the transaction that, by the audit, wrote the row
    f"update {LEDGER}.stage_normalization_changes set action = action;"
    " update deal_opportunities set stage = null where id = (select min(cast(row_id as bigint))"
    f" from {LEDGER}.stage_normalization_log where table_name = 'deal_opportunities')"
)


def verify(app: App, *arguments: str, code: int = 0, url: str = "") -> tuple[str, str]:
    """Output and errors of `trueup verify`; url: for DATABASE_URL."""
    environ = {"DATABASE_URL": url} if url else {}
    ended, out, err = migration.done(app, "verify", *arguments, **environ)
    assert ended == code, out + err
    return out, err


def again(app: App, *arguments: str, code: int = 0) -> tuple[str, str]:
    """The same of `trueup verifications`."""
    ended, out, err = migration.done(app, "verifications", *arguments)
    assert ended == code, out + err
    return out, err


def document(app: App, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What `trueup verify --format json` says; it fulfils the schema."""
    found: dict[str, Any] = json.loads(verify(app, "--format", "json", *arguments, code=code)[0])
    jsonschema.Draft202012Validator(
        SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(found)
    return found


def stored(app: App) -> int:
    ((number,),) = app.query(f"select count(*) from {LEDGER}.verification_runs")
    return int(number)


# ------------------------------------------------------------------------------------- the console


def test_the_console_has_the_report_in_its_order(shared: App) -> None:
    out, err = verify(shared)
    lines = out.splitlines()
    assert err == "" and lines[-1] == PASSED
    assert lines[1:4] == ["=" * 80, "VERIFICATION REPORT", "=" * 80]
    at = lines.index("SUMMARY")
    assert lines[at + 1 : at + 5] == [
        "  Total Checks: 10", "  Passed: 9", "  Failed: 0", "  Warnings: 1"
    ]  # fmt: skip
    checks = lines[lines.index("CHECKS") + 1 : lines.index("RECOMMENDATIONS")]
    heads = [line for line in checks if line and line[0] in "✓✗!"]
    assert [re.sub(r"^. ([^:]+):.*", r"\1", line) for line in heads] == NAMES
    assert heads[0] == "✓ Batch Tracking: All batches completed successfully (9 total)"
    assert heads[1].startswith("! Canonical Values: ") and heads[2].startswith("✓ NULL Integrity: ")
    listed = checks[checks.index(heads[1]) + 1 : checks.index(heads[2])]
    assert len(listed) == 10  # nine more, and how many there are besides
    total = int(re.findall(r"and (\d+) more$", heads[1])[0])
    assert listed[-1] == f"    and {total - 9} more (--verbose)"
    assert "no fund" in "\n".join(checks) and "row " in checks[checks.index(heads[5]) + 1]
    assert "trueup unmapped --limit 0" in lines[lines.index("RECOMMENDATIONS") :][2]
    for words in ("Seed of the sample: ", "Audit digest: "):
        assert any(line.startswith(words) for line in lines)

    everything, _ = verify(shared, "--verbose")
    assert "(--verbose)" not in everything
    assert len(everything.splitlines()) > len(lines) + total - 9


def test_under_strict_a_warning_fails(shared: App) -> None:
    assert verify(shared, "--strict", code=1)[0].splitlines()[-1] == FAILED
    found = document(shared, "--strict", code=1)
    assert (found["verdict"], found["metadata"]["strict"]) == ("failed", True)
    assert found["summary"] == {"totalChecks": 10, "passed": 9, "failed": 0, "warnings": 1}


def test_what_cannot_be_read_is_exit_code_1(migrated: App) -> None:
    migrated.query("alter table deal_opportunities rename to deals")
    found = document(migrated, code=1)
    errors = [check for check in found["checks"] if check["status"] == "error"]
    assert found["summary"]["failed"] == len(errors) >= 5
    assert {each["code"] for each in found["recommendations"]} >= {each["code"] for each in errors}
    out, _ = verify(migrated, code=1)
    assert "✗ Canonical Values: Could not be read: " in out and "trueup doctor" in out


def test_values_cannot_move_the_cursor(built: App) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07\x9b2J[red]not canonical é[/red]\r\n<script>|`x`"
    built.query("insert into deal_opportunities (id, fund_id, company_name, stage)"
                " values (-1, 1, 'x', %s)", hostile)  # fmt: skip
    migration.apply(built, migration.make_plan(built, plan.Scope(("deal_opportunities",))))
    out, _ = verify(built, "--verbose", "--output", "v.md", "--output", "v.html")
    markdown = (built.project / "v.md").read_text()
    for text in (out, markdown):
        assert "\x1b" not in text and "\x07" not in text and "\r" not in text
        assert "‹U+001B›" in text
    assert "[red]not canonical é[/red]" in out
    _, out, _ = migration.done(built, "verify", "--format", "json", "--output", "v.json")
    for text in (out, (built.project / "v.json").read_text()):
        assert "\\u009b2J[red]not canonical é[/red]" in text
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in text[:-1]
                       if letter != "\n")  # fmt: skip
    assert "<script>" not in markdown and "&lt;script&gt;\\|\\`x\\`" in markdown


# -------------------------------------------------------------------------- files and the ledger


def test_the_schema_refuses_what_is_no_such_document(shared: App) -> None:
    validator = jsonschema.Draft202012Validator
    validator.check_schema(SCHEMA)
    found = document(shared)
    server = {**found["details"]["server"], "url": "postgresql://me:secret@host:1/db"}
    for part, wrong in (
        ("verdict", "fine"),
        ("summary", {}),
        ("checks", [{**found["checks"][0], "status": "pass"}, *found["checks"][1:]]),
        ("recommendations", ["do something"]),
        ("details", {**found["details"], "server": server}),
        ("more", 1),
    ):
        assert list(validator(SCHEMA).iter_errors({**found, part: wrong})), part
    for part in found:
        without = {name: found[name] for name in found if name != part}
        assert list(validator(SCHEMA).iter_errors(without)), part


def test_every_output_says_the_same_and_so_does_the_ledger(migrated: App) -> None:
    migrated.query(NULLED)
    paths = [migrated.project / f"v.{ending}" for ending in ("json", "md", "html")]
    outputs = [each for path in paths for each in ("--output", str(path))]
    out, err = verify(migrated, "--format", "json", "--seed", "5", "--epsilon", "1e-7", *outputs,
                      code=1)  # fmt: skip
    assert err.count("written: ") == 3
    texts = [path.read_text(encoding="utf-8") for path in paths]
    assert texts[0] == out
    found = json.loads(out)
    jsonschema.validate(found, SCHEMA)
    assert found["details"]["seed"] == 5 and found["details"]["epsilon"] == 1e-7
    assert texts[1] == as_markdown(found)
    assert texts[2] == check_page.build(found)
    read_page(texts[2])
    for check in found["checks"]:
        assert check["name"] in texts[1] and check["name"] in texts[2]

    # kept, and shown again, byte for byte
    ((*kept, by, verified_at, milliseconds),) = migrated.query(
        "select cast(run_id as text), verdict, checks_total, checks_passed, checks_failed,"
        f" checks_warned, verified_by, verified_at, duration_ms from {LEDGER}.verification_runs"
    )
    assert kept == [found["run_id"], "failed", *found["summary"].values()]
    assert by.endswith(" as trueup") and verified_at.isoformat()[:19] == found["timestamp"][:19]
    assert milliseconds == found["metadata"]["duration_ms"]
    rows = migrated.query(
        "select area, code, name, subject, status, message, expected, found, remedy, rows, sample,"
        f" duration_ms from {LEDGER}.verification_results order by place"
    )
    assert [list(row) for row in rows] == [list(check.values()) for check in found["checks"]]
    short = found["verification_id"][:8]
    shown, _ = again(migrated, short, "--format", "json")
    assert shown == out
    for path in paths:
        path.unlink()
    text, _ = again(migrated, found["verification_id"], *outputs)
    assert text.splitlines()[-1] == FAILED
    assert [path.read_text(encoding="utf-8") for path in paths] == texts
    console, _ = verify(migrated, "--seed", "5", code=1)
    assert console.splitlines()[-1] == FAILED and "  Failed: 1\n" in console
    assert re.search(r"^✗ NULL Integrity: .*row \d+", console, re.MULTILINE)
    # what is to be typed there finds the row
    (query,) = re.findall(r"^    (select .*stage_normalization_log where .*)$", console, re.M)
    assert len(migrated.query(query)) == 1

    def told(printed: str) -> list[str]:
        lines = printed[printed.index("SUMMARY") :].replace(FAILED, "").splitlines()
        return [line.rstrip() for line in lines if not line.startswith("written: ")]

    assert told(text) == told(console)


def test_verifications_are_listed_newest_first(migrated: App) -> None:
    assert "Nothing was verified yet" in again(migrated)[0]
    first, second = document(migrated), document(migrated, "--strict", code=1)
    out, _ = again(migrated)
    rows = [line.split()[:2] for line in out.splitlines()[2:]]
    assert [row[0] for row in rows] == [each["verification_id"][:8] for each in (second, first)]
    assert len(json.loads(again(migrated, "--limit", "1", "--format", "json")[0])) == 1
    # of a run
    migrated.query("update deal_opportunities set stage = 'Seed Funding' where id = 1")
    migration.apply(migrated, migration.make_plan(migrated, SCOPE))
    other = document(migrated)
    assert other["run_id"] != first["run_id"]
    for run, expected in ((first, [second, first]), (other, [other])):
        listed = json.loads(again(migrated, run["run_id"], "--format", "json")[0])
        assert [each["verification_id"] for each in listed] == [
            each["verification_id"] for each in expected
        ]
    # an id that could be several is asked for
    migrated.query(
        f"update {LEDGER}.verification_runs set verification_id ="
        " cast('aaaaaaaa' || substr(cast(verification_id as text), 9) as uuid)"
    )
    assert "Give more digits" in again(migrated, "aaaaaaaa", code=2)[1]


def test_verifications_that_are_not_there(shared: App) -> None:
    for arguments, words in (
        (("zz",), "'zz' is neither a verification nor a run"),
        (("00000000",), "no verification and no run 00000000"),
        (("--output", "nothing.json"), "none is named"),
    ):
        _, err = again(shared, *arguments, code=2)
        assert words in err and "trueup verifications" in err
    assert not (shared.project / "nothing.json").exists()


# ------------------------------------------------------------------------ what cannot be kept


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("alter database {database} set default_transaction_read_only = on", "read-only"),
        (f"revoke insert on {LEDGER}.verification_results from current_user", "permission denied"),
        (f"alter table {LEDGER}.verification_runs add check (verdict <> 'passed')", "violates"),
    ],
)
def test_where_it_cannot_be_kept_that_is_said_and_the_verdict_stands(
    migrated: App, fault: str, words: str
) -> None:
    migrated.query(fault.format(database=migrated.database))
    out, err = verify(migrated, "--output", "v.json")
    assert out.splitlines()[-1] == PASSED and (migrated.project / "v.json").exists()
    assert "This verification is not kept in the ledger: " in err and words in err
    assert "docs/grants.md" in err
    assert stored(migrated) == 0  # all of it or nothing
    if words == "read-only":
        reset = f"alter database {migrated.database} reset default_transaction_read_only"
        migrated.query(f"set transaction read write; {reset}")
    verify(migrated, "--strict", code=1)


def test_the_operator_reads_everything_and_keeps_it_once(
    built: App,
    operator: App,  # noqa: F811
) -> None:
    """With the rights of docs/grants.md: every check is read; what is kept cannot be taken back."""
    migration.apply(built, migration.make_plan(built, SCOPE))
    found = document(operator)
    assert found["details"]["server"]["role"] != built.environment["PGUSER"]
    assert "error" not in {check["status"] for check in found["checks"]}
    assert stored(built) == 1
    with psycopg.connect(operator.url, autocommit=True) as connected:
        for table in ("verification_runs", "verification_results"):
            for statement in ("delete from {}", "update {} set run_id = run_id", "truncate {}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connected.execute(statement.format(f"{LEDGER}.{table}").encode())


def test_a_ledger_without_its_table_is_told_what_to_do(migrated: App) -> None:
    migrated.query(f"drop table {LEDGER}.verification_runs")
    _, err = verify(migrated, code=2)
    assert "lacks verification_runs" in err and "trueup ledger init" in err


# ------------------------------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epsilon", "nan"), "is not a number from 0 to 1"),
        (("--epsilon", "inf"), "is not a number from 0 to 1"),
        (("--epsilon", "-1e-6"), "is not a number from 0 to 1"),
        (("--epsilon", "1e-999999"), "is not a number from 0 to 1"),
        (("--epsilon", "x"), "is not a number from 0 to 1"),
        (("--sample-size", "-1"), "--sample-size"),
        (("--seed", "x"), "--seed"),
        (("--seed", str(2**63)), "--seed"),
        (("--table", "portfoliocompanies"), "allowed: deal_opportunities, investments"),
        (("--fund-id", "nine"), "allowed: 1, 2, 3"),
        (("--output", "v.txt"), "allowed: .html, .json, .md"),
        (("--output", "nowhere/v.json"), "there is no folder"),
        (("0000ffff",), "no run 0000ffff"),
    ],
)
def test_wrong_use_is_exit_code_2_and_keeps_nothing(
    shared: App, arguments: tuple[str, ...], words: str
) -> None:
    before = stored(shared)
    out, err = verify(shared, *arguments, code=2)
    assert words in err and "VERIFICATION" not in out
    assert stored(shared) == before


def test_without_a_database_nothing_is_read(shared: App) -> None:
    _, err = verify(shared, code=2, url="postgresql://nobody:hidden@127.0.0.1:1/x")
    assert "cannot connect" in err and "hidden" not in err


def test_what_was_asked_for_is_in_the_document(shared: App) -> None:
    asked = ("--table", "investments", "--fund-id", "1", "--fund-id", "none", "--quiesced",
             "--sample-size", "3", "--epsilon")  # fmt: skip
    assert document(shared, *asked, "0")["details"]["epsilon"] == 0
    details = document(shared, *asked, "1")["details"]
    assert details["epsilon"] == 1 and details["sample_size"] == 3
    assert (details["tables"], details["tenants"]) == (["investments"], ["1", "none"])
    assert details["quiesced"] is True
    assert {each["table_name"] for each in details["columns"]} == {"investments"}


# -------------------------------------------------------------------------------------- credentials


def test_no_output_has_a_password(migrated: App) -> None:
    """Given in PGPASSWORD or in DATABASE_URL: it is in no output, file, or row of the ledger."""
    password = migrated.environment["PGPASSWORD"]
    outputs = [each for ending in ("json", "md", "html") for each in ("--output", f"v.{ending}")]
    for url, form in (("", "text"), (migrated.url, "json")):
        texts = [*verify(migrated, "--verbose", "--format", form, *outputs, url=url)]
        texts += [Path(migrated.project / f"v.{ending}").read_text(encoding="utf-8")
                  for ending in ("json", "md", "html")]  # fmt: skip
        assert not any(password in text for text in texts)
    url = json.loads((migrated.project / "v.json").read_text())["details"]["server"]["url"]
    port, role = migrated.environment["PGPORT"], migrated.environment["PGUSER"]
    assert url == f"postgresql://{role}@127.0.0.1:{port}/{migrated.database}"
    for table in ("verification_runs", "verification_results"):
        kept = migrated.query(f"select cast(t as text) from {LEDGER}.{table} as t")
        assert kept and not any(password in row for (row,) in kept)


# --------------------------------------------------------------------------------- recommendations


def test_recommended_queries_run(migrated: App) -> None:
    for fault in (
        NULLED,
        "delete from deal_opportunities where id = (select max(id) from deal_opportunities)",
        f"update {LEDGER}.stage_migration_batches set rows_updated = rows_updated + 1",
        "update fund_baselines set stage_distribution = '{}'",
    ):
        migrated.query(fault)
    found = document(migrated, code=1)
    assert len(found["recommendations"]) >= 4
    for advice in found["recommendations"]:
        for command in advice["commands"]:
            if command.startswith("select "):
                migrated.query(command)
            elif command.startswith("trueup verify "):
                code, out, err = migration.done(migrated, *shlex.split(command)[1:])
                assert code == 1 and "VERIFICATION REPORT" in out, err
    assert (migrated.project / "verification.html").exists()
