"""Documents to tables: complete to the last key, whole users only, and back again."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.app_state.conftest import (
    NEWEST,
    TABLES,
    checksum,
    differing,
    make_plan,
    move,
    put,
)
from integration.conftest import PROJECT, App, roles_of_the_server
from support import fire, migration
from support.fire import LEDGER
from trueup.app_state import documents
from trueup.core.errors import TrueupError

GRANTS = PROJECT / "docs/grants.md"
PROOFS = bool(os.environ.get("TRUEUP_PROOFS"))
# what is refused of the sample's odd users, by reason
REFUSED = {
    "odd-array": {"no_array": 2}, "odd-deep": {"too_deep": 1}, "odd-duplicate": {"duplicate_id": 1},
    "odd-items": {"item_no_object": 4}, "odd-list": {"no_object": 1},
    "odd-no-state": {"no_object": 1}, "odd-scalar": {"no_object": 1}, "odd-text": {"no_object": 1},
    "odd-version": {"unknown_version": 1}, "": {"no_user": 2},
}  # fmt: skip
PARTS = {"no_array", "duplicate_id", "item_no_object"}
# whose whole document is refused; that of odd-no-state is NULL, as what the tables give back
WHOLE = {user for user, why in REFUSED.items() if not why.keys() & PARTS} - {"odd-no-state"}


def leaves(value: Any) -> int:
    """Scalars and empty containers."""
    if isinstance(value, (dict, list)) and value:
        children = value.values() if isinstance(value, dict) else value
        return sum(map(leaves, children))
    return 1


def test_every_document_becomes_rows_that_give_it_back(store: App) -> None:
    made, outcome = move(store)
    assert outcome.status == "completed_with_failures"  # parts are refused, as the plan said
    assert (made.refused, outcome.missed) == ({}, [])

    # the plan has said exactly what was done
    audited = dict(
        store.query(f"select unit[1], count(*) from {LEDGER}.migration_audit group by 1")
    )
    assert audited == {row["user_id"]: row["inserts"] for row in made.users if row["inserts"]}
    listed = store.query(f"select row_key, reason, value_before from {LEDGER}.migration_quarantine")
    found: dict[str, Counter[str]] = {}
    for key, reason, _ in listed:
        user = key.split(" ")[0]
        found.setdefault(user if user in REFUSED else "", Counter())[reason.split(":")[0]] += 1
    assert found == REFUSED
    assert sum(row["refusals"] for row in made.users) == len(listed)
    assert '{"id": "o", "name": "second"}' in {value for _, _, value in listed}

    # complete to the last key, also of users parts of whom were refused
    assert differing(store) == WHOLE
    before = store.query(f"select state from ({NEWEST}) as n where user_id <> all(%s)"
                         " and user_id is not null and state is not null",
                         list(WHOLE))  # fmt: skip
    after = store.query("select state from app_state_documents")
    total = sum(leaves(state) for (state,) in before)
    assert total == sum(leaves(state) for (state,) in after) > 20_000

    # two users with the same document have rows of their own
    twins = store.query("select user_id, id from orgs where user_id like 'odd-twin%%' order by 1")
    assert [user for user, _ in twins] == ["odd-twin-1", "odd-twin-2"] and twins[0] != twins[1]

    # analysts see the same without any run
    for table in TABLES[:-1]:
        name = table.strip('"')
        columns = "user_id, source_id, id, extra"
        rows = f"select {columns} from {table}"
        marts = f"select {columns} from trueup.fct_app_state_{name}"
        assert store.query(f"({rows} except {marts}) union all ({marts} except {rows})") == []
    ids = f"select count(source_id) from {LEDGER}.migration_audit"
    movable = "select count(*) from trueup_intermediate.int_app_state_items where reason is null"
    assert store.query(ids) == store.query(movable)

    # a second run has nothing to write
    again, outcome = move(store)
    assert {row["rows_planned"] for row in again.users} == {0}
    assert outcome.totals["rows_updated"] == 0 and differing(store) == WHOLE


keys = st.sampled_from(
    ("id", "name", "createdAt", "created_at", "status", "orgId", "org_id", "isSensitive", "x",
     "avgTicketSize", "_trueup", "extra")
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), texts,
    st.sampled_from(["2025-01-01T00:00:00.000Z", "2025-01-01T00:00:00Z", "2024-02-29", "2023-02-29",
                     "0000-01-01", "2025-01-01T24:00:00Z", "2025-01-01T00:00:00.123456+05:30", "",
                     "1", "2", "infinity", "2025-1-1"]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
items = st.one_of(st.dictionaries(keys, values, max_size=8), scalars)
arrays = st.one_of(
    st.lists(items, max_size=4), scalars, st.dictionaries(texts, scalars, max_size=2)
)
names = st.sampled_from(["orgs", "personas", "accounts", "contents", "leads", "references",
                         "inboxItems", "inbox_items", "settings", "currentOrgId"])  # fmt: skip
states = st.dictionaries(names, arrays, max_size=6)


def test_any_document_comes_back_key_by_key(store: App) -> None:
    @settings(max_examples=100 if PROOFS else 8, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.lists(states, min_size=30, max_size=30))
    def check(documents_of_users: list[dict[str, Any]]) -> None:
        store.query(f"truncate user_app_state, {', '.join(TABLES)}")
        rows = [(f"user {number}", json.dumps(state))
                for number, state in enumerate(documents_of_users)]  # fmt: skip
        with store.connect() as connected:
            connected.cursor().executemany(
                "insert into user_app_state (id, user_id, state) values"
                " (gen_random_uuid(), %s, %s)", rows
            )  # fmt: skip
        made, _ = move(store)
        assert made.refused == {} and differing(store) == set()
        assert make_plan(store).total("rows_planned") == 0

    check()


def test_users_go_over_in_steps(store: App) -> None:
    first, _ = move(store, limit=5)
    second, _ = move(store, limit=50)
    assert [len(each.users) for each in (first, second)] == [5, 50]
    names = [row["user_id"] for each in (first, second) for row in each.users]
    assert len(set(names)) == 55
    one, _ = move(store, users=("user-0180",))
    assert [row["user_id"] for row in one.users] == ["user-0180"]
    rest, _ = move(store)
    assert {row["user_id"] for row in rest.users} >= {"user-0179"}
    assert differing(store) == WHOLE


def test_only_whole_users_survive_a_kill(store: App) -> None:
    """Killed in the middle, again and again; then resume finishes."""
    store.query("update user_app_state set version = '1.0'")
    copies = 5 if PROOFS else 0
    store.query(
        "insert into user_app_state (id, user_id, state, version, updated_at)"
        " select gen_random_uuid(), user_id || '-copy-' || n, state, version, updated_at from"
        f" ({NEWEST.replace('state from', 'state, version, updated_at from')}) as u cross join"
        " generate_series(1, %s) as n where user_id like 'user-%%'",
        copies,
    )
    ((users,),) = store.query("select count(distinct user_id) from user_app_state where user_id"
                              " like 'user-%%'")  # fmt: skip
    store.query(
        "create function slow() returns trigger language plpgsql as $$ begin"
        " perform pg_sleep(0.001); return new; end $$;"
        " create trigger slow before insert on leads for each row execute function slow()"
    )
    made = make_plan(store)
    run = str(made.run_id)
    whole = (
        "select count(*) filter (where d.user_id is null), count(*) filter (where n <> planned)"
        " from (select user_id, count(*) as n from (select user_id from contents union all"
        " select user_id from leads union all select user_id from orgs) as rows group by 1) as r"
        " left join documents_rest as d using (user_id) left join (select tenant as user_id,"
        " cast(row_counts ->> 'contents' as int) + cast(row_counts ->> 'leads' as int)"
        f" + cast(row_counts ->> 'orgs' as int) as planned from {LEDGER}.migration_baselines"
        " where tenant like 'user%') as p using (user_id) where user_id like 'user%'"
    )
    with fire.superuser(store) as watch:
        for number in range(20 if PROOFS else 3):
            least = fire.one(watch, "select count(*) from documents_rest") + 30
            verb = ("resume", run) if number else ("app-state", "apply", run, "--no-export", "test")
            process = migration.command(store, *verb, "--yes", "--sleep-ms", "0")
            fire.until(lambda least=least: fire.one(  # type: ignore[misc]
                watch, "select count(*) from documents_rest") >= least)  # fmt: skip
            process.send_signal(signal.SIGKILL)
            process.communicate()
            fire.let_time_pass(watch, hours=1)
            assert store.query(whole) == [(0, 0)]
            assert 0 < fire.one(watch, "select count(*) from documents_rest") < users
    out = migration.printed(store, "resume", run, "--yes", code=1)
    assert differing(store) == WHOLE - {"odd-version"}, out
    assert "rows are written" in out, out


def test_the_application_writes_on_meanwhile(store: App) -> None:
    """A document that changes between read and write is taken again."""
    store.query(
        "create function slow() returns trigger language plpgsql as $$ begin"
        " if new.user_id = 'user-0007' then perform pg_sleep(0.5); end if; return new;"
        " end $$;"
        " create trigger slow before insert on orgs for each row execute function slow()"
    )
    made = make_plan(store, users=("user-0007", "user-0008"))
    sleeps = ("select count(*) > 0 from pg_stat_activity where wait_event = 'PgSleep' and"
              " datname = current_database()")  # fmt: skip

    def write() -> None:
        fire.until(lambda: store.query(sleeps) == [(True,)])
        store.query("update user_app_state set state = jsonb_set(state, '{orgs,0,name}',"
                    " '\"written meanwhile\"') where user_id = 'user-0007'")  # fmt: skip

    writer = threading.Thread(target=write)
    writer.start()
    events: list[str] = []
    outcome = migration.apply(store, made, lambda event: events.append(event.kind))  # type: ignore[arg-type]
    writer.join()
    assert outcome.status == "completed" and "second_look" in events
    assert not {"user-0007", "user-0008"} & differing(store)
    names = "select name from orgs where user_id = 'user-0007' and source_id = 'org-1'"
    assert store.query(names) == [("written meanwhile",)]


def test_a_user_whom_the_database_refuses_does_not_stop_the_others(store: App) -> None:
    store.query(
        "alter table leads add constraint polite check (name <> 'Lead 1' or user_id <> 'user-0010')"
    )
    made = make_plan(store, limit=60)
    assert made.refused and list(made.refused) == ["user-0010"]
    assert "polite" in made.refused["user-0010"]
    migration.apply(store, made)  # type: ignore[arg-type]
    moved = {user for (user,) in store.query("select user_id from documents_rest")}
    assert moved == {row["user_id"] for row in made.users} - {"user-0010"}
    assert store.query("select count(*) from orgs where user_id = 'user-0010'") == [(0,)]
    refused = f"select row_key, sqlstate from {LEDGER}.migration_quarantine where sqlstate <> ''"
    assert store.query(refused) == [("user-0010", "23514")]


def test_what_others_have_changed_since_is_theirs(store: App) -> None:
    """Runs follow the document, but not over an edit; a rollback spares later edits."""
    empty = checksum(store)
    first, _ = move(store, users=("user-0001", "user-0002", "user-0003", "user-0005"))
    before = checksum(store)
    # the document goes on: a lead is gone, one is renamed; rows are edited and added in the tables
    change = "update user_app_state set state = {} where user_id = 'user-0001'"
    store.query(change.format("jsonb_set(state #- '{leads,1}', '{leads,0,name}', '\"renamed\"')"))
    store.query(change.format("jsonb_set(state, '{contents,0,title}', '\"of the document\"')"))
    edited = "where user_id = 'user-0001' and source_id = 'c-1'"
    store.query(f"update contents set title = 'edited' {edited}")
    store.query(
        "insert into leads (id, user_id, name) values"
        " (gen_random_uuid(), 'user-0001', 'of the application')"
    )
    second, _ = move(store, users=("user-0001",))
    (row,) = second.users
    assert (row["inserts"], row["updates"], row["deletes"], row["refusals"]) == (0, 2, 1, 1)
    assert "edited: the row was changed" in row["reasons"][0]
    names = "select name from leads where user_id = 'user-0001' order by 1"
    assert store.query(names) == [("of the application",), ("renamed",)]
    assert store.query(f"select title from contents {edited}") == [("edited",)]

    # taken back: first the second run, then the first; what others wrote stays
    migration.printed(store, "cancel", str(second.run_id), "--yes")
    migration.roll_back(store, second.run_id)
    store.query("delete from leads where name = 'of the application'")
    touched = f"select updated_at > now() - interval '1 minute' from contents {edited}"
    assert store.query(touched) == [(True,)]
    with store.connect() as connected, connected.transaction():
        connected.execute("set local trueup.keeps_times = 'on'")
        connected.execute(
            f"update contents set title = 'Title 1', updated_at = created_at {edited}"
        )
    assert checksum(store) == before
    store.query(
        "update personas set name = 'edited' where user_id = 'user-0002' and source_id = 'ip-1'"
    )
    # a document without an array says nothing about its rows
    store.query("update user_app_state set state = state - 'leads' where user_id = 'user-0003'")
    assert [row["deletes"] for row in make_plan(store, users=("user-0003",)).users] == [0]
    made, outcome = migration.roll_back(store, first.run_id)
    assert outcome.status == "completed"
    assert made.reasons == {"edited": 1, "still referenced": 1}
    left = {table: count for table, count, _ in checksum(store) if count}
    assert left == {"personas": 1, "orgs": 1}
    conflicts = store.query(f"select reason from {LEDGER}.migration_conflicts")
    assert Counter(reason for (reason,) in conflicts) == made.reasons
    store.query("delete from personas")
    store.query("delete from orgs")
    assert checksum(store) == empty


def test_a_user_sees_their_own_rows_only(store: App) -> None:
    move(store, limit=40)
    with fire.superuser(store) as watch, fire.superuser(store) as application:
        watch.execute("drop role if exists app_of_documents; create role app_of_documents")
        rights = "select, insert, update, delete"
        watch.execute(f"grant {rights} on {', '.join(TABLES)} to app_of_documents".encode())
        watch.execute("grant select on app_state_documents to app_of_documents")

        def count(table: str, connected: fire.Connection = application, of: str = "") -> int:
            return int(fire.one(connected, f"select count(*) from {table} {of}"))

        try:
            application.execute("set role app_of_documents")
            assert {count(table) for table in TABLES} == {0}
            application.execute("set app.user_id = 'user-0003'")
            for table in TABLES:
                own = count(table, watch, "where user_id = 'user-0003'")
                assert count(table) == own > 0
                changed = application.execute(f"update {table} set user_id = user_id".encode())
                assert changed.rowcount == own
                for write in (
                    f"update {table} set user_id = 'user-0002'",
                    f"insert into {table} (user_id) values ('user-0002')",
                ):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        application.execute(write.encode())
            seen = application.execute("select user_id from app_state_documents").fetchall()
            assert seen == [("user-0003",)]
        finally:
            watch.execute("drop owned by app_of_documents; drop role app_of_documents")


def test_a_plan_needs_tables_and_every_row(store: App) -> None:
    store.query("drop table inbox_items cascade")
    store.query("alter table leads drop column status cascade")
    code, _, said = migration.done(store, "app-state", "plan")
    assert code == 2 and "public.inbox_items.user_id: the table or its column is missing" in said
    assert "public.leads.status" in said and "trueup app-state init" in said
    store.query("alter table leads add column status text")
    migration.printed(store, "app-state", "init")
    store.query("alter table leads force row level security")
    code, _, said = migration.done(store, "app-state", "plan")
    assert code == 2 and "create policy trueup_trueup on public.leads" in said, said
    policy = said.partition("create policy")[2].splitlines()[0]
    store.query(f"create policy {policy}")
    made, _ = move(store, limit=3)
    assert len(made.users) == 3
    store.query(f"update {LEDGER}.migration_runs set status = 'interrupted'")
    code, _, said = migration.done(store, "app-state", "plan")
    assert code == 2 and str(made.run_id)[:8] in said


def test_a_role_of_its_own_is_enough(store: App) -> None:
    """With the rights of docs/grants.md, from the plan to the rollback."""
    operators, _, own, _ = re.findall(r"```sql\n(.*?)```", GRANTS.read_text(), re.DOTALL)
    role: dict[str, Any] = {"PGUSER": "trueup_documents", "PGPASSWORD": "secret"}
    with roles_of_the_server(), fire.superuser(store) as root:
        try:
            root.execute((operators + own).encode())
            root.execute("alter role trueup_documents password 'secret'")
            migration.printed(store, "app-state", "apply", "--user", "user-0003", "--yes",
                              "--no-export", "a test", **role)  # fmt: skip
            assert "user-0003" not in differing(store)
            run = fire.one(root, f"select cast(run_id as text) from {LEDGER}.migration_runs")
            migration.printed(store, "verify", run, **role)
            migration.printed(store, "rollback", run, "--yes", **role)
            assert store.query("select count(*) from orgs") == [(0,)]
        finally:
            root.execute("drop owned by trueup_documents, trueup_operator")
            root.execute("drop role trueup_documents, trueup_operator")


def test_verify_finds_what_is_not_as_it_was_moved(store: App) -> None:
    made, _ = move(store, users=("user-0003", "user-0007", "odd-dangling"))
    tables = (*TABLES, "user_app_state", f"{LEDGER}.migration_audit")
    copies = [f"kept_{number}" for number in range(len(tables))]

    def statuses() -> dict[str, str]:
        out = migration.done(store, "verify", str(made.run_id), "--format", "json")[1]
        return {each["code"]: each["status"] for each in json.loads(out)["checks"]}

    sound = {"batch_tracking": "ok", "array_lengths": "ok", "round_trip": "ok",
             "dangling_parents": "warn", "images_agree": "ok"}  # fmt: skip
    assert statuses() == sound
    one = "(select id from contents where user_id = 'user-0003' limit 1)"
    faults = {
        f"update contents set title = 'x' where id = {one}": {
            "round_trip": "warn", "images_agree": "warn"},
        "delete from leads where user_id = 'user-0003'": {
            "array_lengths": "warn", "round_trip": "warn", "images_agree": "warn"},
        f"delete from {LEDGER}.migration_audit where table_name = 'leads'; delete from leads": {
            "array_lengths": "fail", "round_trip": "fail", "images_agree": "fail"},
        "delete from contents where user_id = 'user-0007'": {
            "dangling_parents": "fail", "array_lengths": "warn", "round_trip": "warn",
            "images_agree": "warn"},
        "update user_app_state set state = '{}' where user_id = 'user-0007'": {
            "round_trip": "warn"},
    }  # fmt: skip
    with fire.superuser(store) as watch:
        for table, copy in zip(tables, copies, strict=True):
            watch.execute(f"create table {copy} as table {table}".encode())
        watch.execute("set session_replication_role = replica")  # foreign keys do not notice
        for fault, expected in faults.items():
            watch.execute(fault.encode())
            assert statuses() == sound | expected, fault
            for table, copy in zip(tables, copies, strict=True):
                watch.execute(
                    f"delete from {table}; insert into {table} select * from {copy}".encode()
                )
    assert statuses() == sound


def test_export_and_dedupe(store: App, tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    out = migration.printed(store, "app-state", "export", str(file))
    found = json.loads(file.read_text("utf-8"))
    assert found["count"] == len(found["rows"]) == 205 and found["sha256"] in out
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    code, _, said = migration.done(store, "app-state", "export", str(file))
    assert code == 2 and "never replaced" in said
    assert migration.printed(store, "app-state", "dedupe").count("is older") == 2
    out = migration.printed(store, "app-state", "dedupe", "--yes")
    assert "2 rows removed" in out
    older = "updated_at is null or updated_at < '2025-11-01'"
    assert store.query(f"select count(*) from user_app_state where {older}") == [(0,)]
    store.query("delete from user_app_state where user_id = ''")
    for command in [line for line in out.splitlines() if line.endswith(";")]:
        store.query(command.rstrip(";"))
    assert "No user has several" in migration.printed(store, "app-state", "dedupe")
    with pytest.raises(psycopg.errors.UniqueViolation):
        put(store, "user-0001", "{}")
    ((copy,),) = store.query(
        "select relname from pg_class where relname like 'user_app_state_before%'"
    )
    assert store.query(f"select count(*) from {copy}") == [(205,)]


def test_documents_of_a_file(store: App, tmp_path: Path) -> None:
    """As on the embedded server: nothing of the file stays, whatever the database has."""
    file = tmp_path / "documents.json"
    before = checksum(store), store.query("select count(*) from user_app_state")
    found = documents.named(store.settings)

    def plan(text: str) -> documents.Plan:
        file.write_text(text, "utf-8")
        with (
            migration.connect(store) as connected,
            documents.from_file(connected, found, file),
        ):
            return documents.make(store.settings, connected, documents.Scope(), 20)

    made = plan('[{"user_id": "x", "state": {"orgs": [{"id": "1"}]}, "version": "1.0"}]')
    assert [(row["user_id"], row["inserts"]) for row in made.users] == [("x", 2)]
    export = tmp_path / "export.json"
    migration.printed(store, "app-state", "export", str(export))
    assert len(plan(export.read_text("utf-8")).users) == 202
    for wrong in ('{"a": 1}', "[{]", "[]", "", '[{"id": "no uuid", "user_id": "y"}]'):
        with pytest.raises(TrueupError, match=r"documents\.json"):
            plan(wrong)
    assert before == (checksum(store), store.query("select count(*) from user_app_state"))


def test_apply_exports_first_and_says_what_it_does(
    store: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = tmp_path / "e.json"
    out = migration.printed(store, "app-state", "apply", "--limit", "5", "--yes", "--export",
                            str(export), code=1)  # fmt: skip
    assert export.exists() and "Rows of items: orgs 2 of 3" in out and "belongs to personas" in out
    options = f"select options -> 'export' from {LEDGER}.migration_runs"
    assert store.query(options)[0][0]["rows"] == 205
    shown = migration.printed(store, "app-state", "plan", "--show-sql")
    assert shown.startswith("-- app_state__write(") and "insert into public.orgs" in shown
    code, _, said = migration.done(store, "apply", "--yes")
    assert code == 2 and "no plan that was not started" in said  # not by itself
