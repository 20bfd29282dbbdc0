"""A migration of members: imported in one transaction, verified record by record, taken back."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.conftest import PROJECT, roles_of_the_server
from integration.membership.conftest import (
    EVENTS,
    MEMBERS,
    REGISTRATIONS,
    Club,
    checksum,
    judged,
    load,
    make_plan,
)
from support import fire, migration
from support.fire import LEDGER
from trueup.core.errors import TrueupError
from trueup.membership import bundle, importing
from trueup.membership.bundle import REPORT

GRANTS = PROJECT / "docs/grants.md"
SOUND = dict.fromkeys(bundle.CHECKS, "ok")
BLOCK = """\
============================================================
  Post-Migration Verification
  Started: *
  Bundle: *
============================================================

[1/4] Loading migration bundle...
  - Run ID: *
  - Dry run: false
  - Completed: *

[2/4] Connecting to database...
  - Members: 592
  - Events: 144
  - Registrations: 2367

[3/4] Running verification checks...
  [PASS] Member Count: Member count matches: 590
  [PASS] Event Count: Event count matches: 143
  [PASS] Registration Count: Registration count matches: 2364
  [PASS] Tier Distribution: Tier distribution: PROSPECT: 52, NEWCOMER: 105, FIRST_YEAR: 105*
  [PASS] Tier Coverage: Tier coverage: 98.4% (581/590)
  [PASS] Orphaned Registrations: No orphaned registrations found
  [PASS] Duplicate ID Mappings: No duplicate ID mappings found
  [PASS] Run ID Match: Run ID matches: *
  [PASS] Field Values: Field values match: 3097 records
  [PASS] Policies: Policies match: 3

[4/4] Generating verification report...
  - Report written to: *

============================================================
  Verification PASSED
  Checks: 10 passed, 0 failed, 0 warnings
  Duration: *ms
============================================================
"""


def statuses(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {code: check["status"] for code, check in found.items() if code}


def edited(club: Club, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the good bundle with a change of its report."""
    folder = club.files / name
    folder.mkdir(exist_ok=True)
    report = json.loads((club.files / "bundle-clean" / REPORT).read_text())
    change(report)
    (folder / REPORT).write_text(json.dumps(report))
    for file in ("migration-config.json", "policy-bundle.json"):
        (folder / file).write_text((club.files / "bundle-clean" / file).read_text())
    return folder


def test_what_the_plan_says_is_imported_and_verifies(club: Club) -> None:
    planned = make_plan(club, club.source(), rehearses=True)
    assert checksum(club)[0] == ("Event", 1, checksum(club)[0][2])  # the rehearsal left nothing
    made = load(club, "of-this-test")
    assert made.digest == planned.digest
    assert [row["refusals"] for row in made.summary] == [0, 0, 0, 0]
    audited = dict(
        club.query(f"select table_name, count(*) from {LEDGER}.migration_audit group by 1")
    )
    expected = {"Member": MEMBERS, "Event": EVENTS, "EventRegistration": REGISTRATIONS,
                "WaIdMapping": MEMBERS + EVENTS + REGISTRATIONS}  # fmt: skip
    assert audited == expected
    by_plan = {row["entity"]: row["inserts"] + row["updates"] for row in made.summary}
    assert sorted(by_plan.values()) == sorted(expected.values())
    actions = club.query(f"select action, count(*) from {LEDGER}.migration_audit where table_name ="
                         " 'Member' group by 1 order by 1")  # fmt: skip
    assert actions == [("insert", 589), ("update", 1)]  # member3 was there before
    folder = club.files / "of-this-test"
    found = judged(club, folder)
    assert statuses(found) == {**SOUND, "policies": "info"}

    # again: no row changes, and the bundle of a run that wrote nothing verifies
    before = checksum(club)
    again = load(club, "of-this-test-again")
    assert (again.rows, checksum(club)) == (0, before)
    found = judged(club, club.files / "of-this-test-again")
    assert statuses(found) == {**SOUND, "policies": "info", "run_id_match": "info"}


FAULTS: dict[str, tuple[str, dict[str, str]]] = {
    "a row of another origin": (
        'insert into "Member" (email, "firstName", "lastName") values'
        " ('x@y.example', 'X', 'Y')",
        {},
    ),
    "all tiers NULL": (
        'update "Member" set "membershipTierId" = null',
        {"tier_distribution": "fail", "tier_coverage": "fail"},
    ),
    "94.9 % coverage": (
        'update "Member" set "membershipTierId" = null where id in (select id from "Member" where'
        ' "membershipTierId" is not null order by id limit 21)',
        {"tier_distribution": "fail", "tier_coverage": "warn"},
    ),
    "an orphan with the foreign keys dropped": (
        'alter table "EventRegistration" drop constraint "EventRegistration_memberId_fkey"; update'
        ' "EventRegistration" set "memberId" = gen_random_uuid() where "eventId" in (select id from'
        " \"Event\" where title = 'Board meeting')",
        {"orphaned_registrations": "fail"},
    ),
    "a comma that shifted columns": (
        'update "Member" set "lastName" = \'Jr.\', phone = email'
        " where email = 'member8@club.example'",
        {"field_values": "fail"},
    ),
    "a date rolled over": (
        'update "Member" set "joinedAt" = "joinedAt" + 1 where email = \'member8@club.example\'',
        {"field_values": "fail"},
    ),
    "another status": (
        'update "EventRegistration" set status = \'X\' where id in (select "targetId" from'
        ' "WaIdMapping" where "entityType" = \'registration\' limit 1)',
        {"field_values": "fail"},
    ),
    "two sources on one target by e-mail case": (
        "insert into \"WaIdMapping\" select 'member', 'Other', \"targetId\", 'x', 'skip' from"
        ' "WaIdMapping" where "waId" = \'1008\' and "entityType" = \'member\'',
        {"duplicate_id_mappings": "fail"},
    ),
    "a policy that differs": (
        "update \"Policy\" set value = '\"Europe/Berlin\"' where key = 'scheduling.timezone'",
        {"policies": "fail"},
    ),
    "missing events": (
        'alter table "EventRegistration" drop constraint "EventRegistration_eventId_fkey";'
        " delete from \"Event\" where title = 'Event 7'",
        {"event_count": "fail", "orphaned_registrations": "fail"},
    ),
    "missing registrations": (
        'delete from "EventRegistration" where "registeredAt" < \'2021-06-05\'',
        {"registration_count": "fail"},
    ),
    "missing members": (
        'delete from "EventRegistration"; delete from "Member" where email like \'member1%\'',
        {"member_count": "fail", "registration_count": "fail"},
    ),
    "a query that fails": ('drop table "Policy"', {"policies": "error"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_by_its_check(imported: Club, fault: str) -> None:
    change, expected = FAULTS[fault]
    imported.query(change)
    found = judged(imported, imported.files / "bundle-clean")
    assert statuses(found) == SOUND | expected
    assert found[""]["verdict"] == ("failed" if set(expected.values()) & {"fail", "error"} else
                                    "passed")  # fmt: skip
    for code, status in expected.items():
        assert status == "error" or found[code]["sample"], code
    if "tier_coverage" in expected:
        told = {"all tiers NULL": "0.0% - 590", "94.9 % coverage": "94.9% - 30"}[fault]
        assert (
            f"Low tier coverage: {told} members without tier" == found["tier_coverage"]["message"]
        )
    if fault == "missing members":
        issues = {each["issue"] for each in found[""]["details"]["escalations"]}
        assert issues == {"Data loss", "Verification failure"}
    if fault == "an orphan with the foreign keys dropped":
        told = found[""]["details"]["escalations"]
        assert [(each["issue"], each["priority"]) for each in told] == [
            ("Database corruption", "Critical")
        ]


def test_faults_of_bundles_are_found(imported: Club) -> None:
    def all_in_one(report: dict[str, Any]) -> None:
        for record in report["members"]["records"]:
            record["membershipLevel"] = "General"

    def two_sources(report: dict[str, Any]) -> None:
        records = report["members"]["records"]
        records[8].update(_targetId=records[7]["_targetId"], email=records[7]["email"].upper())

    def another_run(report: dict[str, Any]) -> None:
        report["runId"] = "run-20240115-143000"

    def no_date(report: dict[str, Any]) -> None:
        report["members"]["records"][5]["joinedAt"] = "2024-02-30"

    found = judged(imported, edited(imported, "other-run", another_run))
    assert statuses(found) == SOUND | {"run_id_match": "fail"}
    assert found["run_id_match"]["rows"] == MEMBERS + EVENTS + REGISTRATIONS
    found = judged(imported, edited(imported, "twins", two_sources))
    assert statuses(found) == SOUND | {"duplicate_id_mappings": "fail", "field_values": "fail",
                                       "tier_distribution": "fail"}  # fmt: skip
    found = judged(imported, edited(imported, "no-date", no_date))
    assert statuses(found) == SOUND | {"field_values": "fail"}
    assert "no date: 2024-02-30" in found["field_values"]["sample"][0]["message"]
    imported.query('update "Member" set "membershipTierId" = (select id from "MembershipTier" where'
                   " code = 'GENERAL')")  # fmt: skip
    found = judged(imported, edited(imported, "one-tier", all_in_one))
    assert statuses(found) == SOUND | {"tier_distribution": "warn"}
    assert found["tier_distribution"]["message"] == (
        "Warning: All members in tier 'GENERAL' - verify mapping"
    )

    def empty_members(report: dict[str, Any]) -> None:
        report["members"].update(records=[], parsed=0, created=0, updated=0, skipped=0, errors=0)
        del report["summary"]

    empty = edited(imported, "empty", empty_members)
    found = judged(imported, empty)
    assert found["tier_coverage"]["status"] == found["tier_distribution"]["status"] == "info"


def test_a_bundle_that_proves_nothing_is_refused(imported: Club) -> None:
    def refused(name: str, change: Callable[[dict[str, Any]], None]) -> str:
        with pytest.raises(TrueupError) as caught:
            judged(imported, edited(imported, name, change))
        return caught.value.message

    assert "dry run" in refused("r1", lambda report: report.update(dryRun=True))
    assert "did not complete" in refused("r2", lambda report: report.update(completedAt="soon"))
    assert "no list of records" in refused("r3", lambda report: report.pop("events"))
    assert "is empty" in refused("r4", lambda report: report.clear())
    assert "its run failed: disk full" in refused(
        "r5", lambda report: report.update(status="failed", error="disk full")
    )
    assert "members: the counts do not add up: created + updated + skipped + errors are 590," in (
        refused("r6", lambda report: report["members"].update(parsed=591))
    )
    assert "events: created are 143, and 142 records say so" in refused(
        "r7", lambda report: report["events"]["records"].pop()
    )
    assert "members: record 3 has no id" in refused(
        "r8", lambda report: report["members"]["records"][2].pop("_waId")
    )
    assert "has the action CREATE" in refused(
        "r10", lambda report: report["members"]["records"][2].update(_action="CREATE")
    )
    assert "summary.created is 7" in refused(
        "r11", lambda report: report["summary"].update(created=7)
    )
    assert "dryRun is not false" in refused("r12", lambda report: report.pop("dryRun"))
    broken = imported.files / "r9"
    broken.mkdir()
    assert "has no migration-report.json" in migration.done(
        imported.app, "bundle", "verify", "-b", str(broken))[2]  # fmt: skip
    (broken / REPORT).write_text('{"runId": ')
    code, _, err = migration.done(imported.app, "bundle", "verify", "-b", str(broken))
    assert code == 2 and "is not JSON" in err, err


def test_the_block_that_operators_know(imported: Club, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    good = ("bundle", "verify", "--bundle", str(imported.files / "bundle-clean"))
    out = migration.printed(imported.app, *good, "--output", str(report))
    pattern = ".*".join(map(re.escape, BLOCK.split("*")))
    assert re.search(pattern, out), out
    headings = ["Summary", "Count Comparison", "Tier Distribution", "Verification Checks",
                "Policy Verification", "Offending Records", "Recommendations"]  # fmt: skip
    assert re.findall(r"^## (.*)$", report.read_text(), re.MULTILINE) == headings
    assert "ESCALATE" not in out + report.read_text()

    # a warning passes, but not with --strict; JSON, a page, and a failure with its contacts
    imported.query(
        'update "Member" set "membershipTierId" = null where email in (select \'member\' || n ||'
        " '@club.example' from generate_series(1, 30) as n)"
    )
    imported.query("delete from \"EventRegistration\" where status = 'WAITLISTED'")
    page = tmp_path / "report.html"
    out = migration.printed(imported.app, *good, "-o", str(page), "--strict", code=1)
    assert "[FAIL] Registration Count: Registration count mismatch: expected 2364, got 1576" in out
    assert "(diff: 788)" in out
    assert (
        "ESCALATE: Data loss (Registration Count is more than 5 % off) → Incident response" in out
    )
    assert "Do NOT self-remediate" in out
    assert "Registration count mismatch" in page.read_text()
    told = tmp_path / "report.json"
    migration.printed(imported.app, *good, "-f", "json", "-o", str(told), code=1)
    assert json.loads(told.read_text())["summary"]["failed"] == 2
    out = migration.printed(imported.app, *good[:-1], str(imported.files / "bundle-broken"),
                            "--offline", "-o", str(told), code=1)  # fmt: skip
    assert "Not asked" in out and "[FAIL] Duplicate ID Mappings" in out
    kept = f"select count(*) from {LEDGER}.verification_runs where system_name = 'bundle'"
    assert imported.query(kept) == [(3,)]


def test_rows_that_are_not_right_are_refused_with_their_reason(imported: Club) -> None:
    imported.query("delete from \"MembershipTier\" where code = 'ALUMNI' and false")
    made = load(imported, "of-the-broken-pack", imported.source("csv-broken"))
    reasons = Counter(row["reason"].split(":")[0] for row in made.refused)
    assert reasons == {
        "shape": 1, "bad_date": 3, "email_taken": 1, "no_email": 1, "bad_email": 1,
        "no_first_name": 1, "no_last_name": 1, "unknown_status": 1, "duplicate_id": 1, "no_id": 1,
        "no_title": 1, "no_event": 1, "no_member": 1,
    }  # fmt: skip
    report = json.loads((imported.files / "of-the-broken-pack" / REPORT).read_text())
    assert len(report["errors"]) == report["summary"]["errors"] == 15
    assert {"entity": "member", "sourceRow": 4, "waId": "7003"}.items() <= next(
        each for each in report["errors"] if each["waId"] == "7003").items()  # fmt: skip
    quarantined = f"select count(*) from {LEDGER}.migration_quarantine where run_id = %s"
    assert imported.query(quarantined, made.run_id) == [(15,)]
    joined = 'select "joinedAt" from "Member" where email like \'%%@club.example\' and "lastName" ='
    assert imported.query(f"{joined} 'Rolled'") == []
    found = judged(imported, imported.files / "of-the-broken-pack")
    assert statuses(found) == {**SOUND, "policies": "info", "tier_distribution": "warn"}


def test_tiers_that_do_not_exist_stop_the_import(club: Club) -> None:
    club.query("delete from \"MembershipTier\" where code <> 'GENERAL'")
    before = checksum(club)
    with pytest.raises(
        TrueupError, match="tier ALUMNI does not exist; members who get it: 54"
    ) as caught:
        make_plan(club, club.source())
    assert "--seed-tiers" in (caught.value.remedy or "")
    assert checksum(club) == before
    made = load(club, "seeded", club.source(seeds_tiers=True))
    assert (made.summary[0]["entity"], made.summary[0]["inserts"]) == ("tier", 7)
    assert statuses(judged(club, club.files / "seeded")) == {**SOUND, "policies": "info"}
    migration.roll_back(club.app, made.run_id)
    assert checksum(club) == before


def test_a_rollback_spares_what_others_have_written(club: Club) -> None:
    before = checksum(club)
    made = load(club, "to-be-taken-back")
    club.query("update \"Member\" set phone = 'edited' where email = 'member5@club.example'")
    club.query(
        'insert into "EventRegistration" ("eventId", "memberId") select e.id, m.id from "Event" as'
        " e, \"Member\" as m where e.title = 'Board meeting' and m.email = 'member9@club.example'"
    )
    undone, outcome = migration.roll_back(club.app, made.run_id)
    assert outcome.status == "completed"
    assert undone.reasons == {"edited": 1, "still referenced": 1}
    left = club.query("select email from \"Member\" where email like 'member%%' order by 1")
    assert left == [("member3@club.example",), ("member5@club.example",), ("member9@club.example",)]
    known = 'select "firstName" from "Member" where email = \'member3@club.example\''
    assert club.query(known) == [("Known",)]  # an updated row is what it was
    out = migration.printed(club.app, "verify")
    assert "Images Agree" in out and "PASSED" in out
    club.query(
        'delete from "EventRegistration" as r using "Member" as m where r."memberId" = m.id and'
        " m.email = 'member9@club.example'"
    )
    club.query("delete from \"Member\" where email in ('member5@club.example',"
               " 'member9@club.example')")  # fmt: skip
    assert checksum(club) == before


def test_it_is_done_or_it_is_not(club: Club, tmp_path: Path) -> None:
    """Killed, cut off, refused, or overtaken: nothing was written, and no bundle says otherwise."""
    before = checksum(club)
    club.query(
        "create function slow() returns trigger language plpgsql as $$ begin"
        " perform pg_sleep(0.02); return new; end $$;"
        ' create trigger slow before insert on "Event" for each row execute function slow()'
    )
    out = tmp_path / "bundle"
    config = ("--config", str(club.files / "migration-config.json"))
    verb = ("bundle", "apply", str(club.files / "csv"), *config, "--bundle-out", str(out), "--yes")
    backends = "pg_stat_activity where application_name = 'trueup bundle apply'"
    sleeps = f"select pid from {backends} and wait_event = 'PgSleep'"
    with fire.superuser(club.app) as watch:
        process = migration.command(club.app, *verb)
        fire.until(lambda: watch.execute(sleeps.encode()).fetchall())
        process.send_signal(signal.SIGKILL)
        process.communicate()
        fire.until(lambda: not fire.one(watch, f"select count(*) from {backends}"))
        assert checksum(club) == before and not list(out.glob("*.json"))
        assert migration.run_statuses(club.app)[-1] == "planned"

        process = migration.command(club.app, *verb)
        fire.until(lambda: watch.execute(sleeps.encode()).fetchall())
        watch.execute(f"select pg_terminate_backend(pid) from {backends}".encode())
        _, err = process.communicate()
        assert process.returncode == 2 and "nothing was imported" in err, err
        assert checksum(club) == before and not list(out.glob("*.json"))
        assert migration.run_statuses(club.app) == ["cancelled", "failed"]

    run = club.query(f"select cast(run_id as text) from {LEDGER}.migration_runs where status ="
                     " 'failed'")[0][0]  # fmt: skip
    for verb_ in ("resume", "pause", "apply"):
        code, _, err = migration.done(club.app, verb_, run)
        assert code == 2 and "one transaction" in err, err
    club.query('drop trigger slow on "Event"')

    # somebody else takes an address between the plan and the import
    made = make_plan(club, club.source())
    club.query("insert into \"Member\" (email, \"firstName\", \"lastName\") values"
               " ('member8@club.example', 'Just', 'Now')")  # fmt: skip
    with pytest.raises(TrueupError, match="the files or the rows have changed since"):
        importing.apply(club.settings, made, club.source(), out)
    club.query('delete from "Member" where "firstName" = \'Just\'')
    assert checksum(club) == before

    # or edits a row that the import changes anyway
    made = make_plan(club, club.source())
    club.query(
        "update \"Member\" set \"lastName\" = 'Married' where email = 'member3@club.example'"
    )
    with pytest.raises(TrueupError, match="the files or the rows have changed since"):
        importing.apply(club.settings, made, club.source(), out)
    club.query(
        "update \"Member\" set \"lastName\" = 'Already' where email = 'member3@club.example'"
    )

    # a trigger swallows a row, or another run is at work on these tables
    club.query(
        "create function swallow() returns trigger language plpgsql as $$ begin"
        ' return null; end $$; create trigger swallow before insert on "EventRegistration" for'
        " each row when (new.status = 'WAITLISTED') execute function swallow()"
    )
    code, _, err = migration.done(club.app, *verb)
    assert code == 2 and "rows were written instead of" in err, err
    club.query('drop trigger swallow on "EventRegistration"')
    club.query(f"update {LEDGER}.stage_migration_control set lease_until = now() + interval '1 h'")
    code, _, err = migration.done(club.app, *verb)
    assert code == 2 and "is held by" in err, err
    club.query(f"update {LEDGER}.stage_migration_control set lease_until = null")
    assert checksum(club) == before

    # the database refuses a row: the rehearsal says so before
    club.query("alter table \"Event\" add constraint short check (title <> 'Event 7')")
    with pytest.raises(Exception, match="short"):
        make_plan(club, club.source(), rehearses=True)
    code, _, err = migration.done(club.app, *verb)
    assert code == 2 and "short" in err and checksum(club) == before


def test_a_role_of_its_own_is_enough(club: Club, tmp_path: Path) -> None:
    """With the rights of docs/grants.md: import, verify, roll back."""
    operators, _, _, own = re.findall(r"```sql\n(.*?)```", GRANTS.read_text(), re.DOTALL)
    role: dict[str, Any] = {"PGUSER": "trueup_members", "PGPASSWORD": "secret"}
    before = checksum(club)
    with roles_of_the_server(), fire.superuser(club.app) as root:
        try:
            root.execute((operators + own).encode())
            root.execute("alter role trueup_members password 'secret'")
            config = ("--config", str(club.files / "migration-config.json"), "--yes")
            out = str(tmp_path / "bundle")
            migration.printed(club.app, "bundle", "apply", str(club.files / "csv"), *config,
                              "--bundle-out", out, **role)  # fmt: skip
            told = migration.printed(club.app, "bundle", "verify", "-b", out, "-o",
                                     str(tmp_path / "report.md"), **role)  # fmt: skip
            assert "Checks: 10 passed" in told
            kept = fire.one(root, f"select verified_by from {LEDGER}.verification_runs")
            assert kept.endswith("as trueup_members")
            run = fire.one(root, f"select cast(run_id as text) from {LEDGER}.migration_runs")
            migration.printed(club.app, "rollback", run, "--yes", **role)
            assert checksum(club) == before
        finally:
            root.execute("drop owned by trueup_members, trueup_operator")
            root.execute("drop role trueup_members, trueup_operator")


def test_files_that_cannot_be_read_are_named(club: Club, tmp_path: Path) -> None:
    def refused(**texts: str) -> str:
        for entity in ("members", "events", "registrations"):
            text = texts.get(entity, (club.files / "csv" / f"{entity}.csv").read_text())
            (tmp_path / f"{entity}.csv").write_text(text)
        config = club.files / "migration-config.json"
        with pytest.raises(TrueupError) as caught:
            make_plan(club, importing.Source(tmp_path, config))
        return caught.value.message

    assert "members.csv has no column for email" in refused(members="User ID,Name\n1,x\n")
    assert "events.csv: line 2: unexpected end of data" in refused(events='Event ID\n"1')
    (tmp_path / "events.csv").unlink()
    with pytest.raises(TrueupError, match=r"events\.csv: there is no such file"):
        make_plan(club, importing.Source(tmp_path, club.files / "migration-config.json"))
