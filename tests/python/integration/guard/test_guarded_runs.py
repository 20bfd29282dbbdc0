"""Guarded tables: migration, verification, rollback, builds, roles with few rights."""

from __future__ import annotations

import random
import re
import threading
import time
from typing import Any

import psycopg
import pytest

from integration.conftest import PROJECT, App, roles_of_the_server
from integration.guard.conftest import SCOPE, TABLE
from support import PROOFS, fire, migration
from trueup.guard import guard
from trueup.migration import plan

GRANTS = PROJECT / "docs/grants.md"
DEALS = plan.Scope(("deal_opportunities",))
SECONDS = 60 if PROOFS else 6
ALIASES = ["Series A", "series_b", "Pre–Seed", "SEED", "Series C+"]


def installed(app: App, mode: str, scope: str = SCOPE, **more: Any) -> None:
    """A guard as staging, in that mode."""
    with migration.connect(app) as connected:
        guard.install(app.settings, connected, scope, print, "staging")
        found = guard.set_mode(app.settings, connected, scope, mode, reason="a test",
                               is_override=True, **more)  # fmt: skip
        assert found.status == "ok", found
        connected.commit()
        guard.fit(app.settings, connected, scope, print)


def test_a_column_is_migrated_and_sealed_while_writers_write_aliases(built: App) -> None:
    """normalize: what four writers write all the time is canonical, and nothing of it is lost."""
    installed(built, "normalize")
    until = time.monotonic() + SECONDS
    mapped = dict(
        built.query("select raw_value, canonical_value from trueup_intermediate.int_values")
    )
    last: dict[int, str] = {}
    failed: list[BaseException] = []

    def work(number: int) -> None:
        chosen = random.Random(number)
        try:
            with built.connect() as connected:
                while time.monotonic() < until:
                    key, value = chosen.randrange(1 + number, 600, 4), chosen.choice(ALIASES)
                    connected.execute(f"update {TABLE} set stage = %s where id = %s", [value, key])
                    last[key] = value
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for writer in writers:
        writer.start()
    built.query(f"delete from {TABLE} where stage = any (%s)", [
        value for value, canonical in mapped.items() if canonical is None
    ])  # fmt: skip
    made = migration.make_plan(built, DEALS)
    assert migration.apply(built, made).status == "completed"
    for writer in writers:
        writer.join()
    assert not failed and len(last) > 100
    found = dict(built.query(f"select id, stage from {TABLE}"))
    assert {key: found[key] for key in last if key in found} == {
        key: mapped[value] for key, value in last.items() if key in found
    }
    seal = ["guard", "seal", SCOPE, "--override", "--reason", "clean"]
    assert "is now sealed" in migration.printed(built, *seal)


@pytest.mark.parametrize(
    ("mode", "advice"), [("enforce", "mode set"), ("normalize", "mode set"), ("sealed", "drop")]
)
def test_a_rollback_of_a_guarded_column_names_the_command_that_helps(
    built: App, mode: str, advice: str
) -> None:
    made = migration.make_plan(built, DEALS)
    assert migration.apply(built, made).status == "completed"
    if mode == "sealed":
        installed(built, "enforce")
        built.query(f"delete from {TABLE} where stage <> all (array(select canonical_value"
                    " from trueup_vocabulary.stages))")  # fmt: skip
        migration.printed(built, "guard", "seal", SCOPE, "--override", "--reason", "a test")
    else:
        installed(built, mode)
    short = str(made.run_id)[:8]
    code, _, err = migration.done(built, "rollback", short, "--yes")
    assert code == 2 and f"trueup {'guard' if advice == 'drop' else 'mode'}" in err, err
    command = next(line for line in err.splitlines() if advice in line and "trueup" in line)
    arguments = command.strip().removeprefix("trueup ").replace('"', "").split(" --reason")[0]
    migration.printed(built, *arguments.split(), *(["--yes"] if advice == "drop" else []))
    assert migration.done(built, "rollback", short, "--yes")[0] == 0


def test_verification_still_sees_triggers_that_are_not_ours(built: App) -> None:
    """Ours never count as triggers that may move other columns; a stranger's of that name do."""
    installed(built, "warn")
    made = migration.make_plan(built, DEALS)
    assert migration.apply(built, made).status == "completed"
    said = migration.printed(built, "verify", str(made.run_id), "--format", "json")
    assert "zz_trueup" not in said
    built.query(
        "create function public.guard_check() returns trigger language plpgsql as"
        " $$begin new.source := 'moved'; return new; end$$"
    )
    built.query(f"create trigger zz_trueup_x before update on {TABLE} for each row"
                " execute function public.guard_check()")  # fmt: skip
    assert "zz_trueup_x" in migration.printed(built, "plan", "--table", TABLE)


def test_a_build_during_traffic_neither_waits_nor_changes_the_guard(built: App) -> None:
    """A transaction that has met the guard stays open: no build may wait for it, nor block it."""
    installed(built, "warn")
    before = built.query("select * from trueup_ledger.guard_keys order by 1, 2")
    with built.connect() as writer:
        writer.autocommit = False
        writer.execute(f"update {TABLE} set stage = 'Series A' where id = 1")
        built.query("alter database " + built.database + " set lock_timeout = '2s'")
        assert built.dbt("seed").failures == []
        assert built.dbt("run").failures == []
        writer.execute(f"update {TABLE} set stage = 'Series B' where id = 2")
        writer.rollback()
    assert built.query("select * from trueup_ledger.guard_keys order by 1, 2") == before
    assert built.dbt("test", "--select", "guard_drift").failures == []


def test_drift_fails_until_the_guard_is_installed_again(built: App) -> None:
    installed(built, "warn")
    seed = built.project / "seeds" / "stages.csv"
    first, *rest = seed.read_text().splitlines()
    new = rest[-1].replace("series-c+", "series-z").replace("Series C+", "Series Z")
    seed.write_text("\n".join([first, *rest, new]) + "\n")
    assert built.dbt("build", "--select", "stages", "int_vocabulary_keys", "dim_vocabularies",
                     "--exclude", "resource_type:test").failures == []  # fmt: skip
    (failure,) = built.dbt("test", "--select", "guard_drift").failures
    assert failure.name == "guard_drift"
    assert "series-z" in migration.printed(built, "guard", "status", code=1)
    migration.printed(built, "guard", "install", SCOPE, TRUEUP_ENV="staging")
    assert built.dbt("test", "--select", "guard_drift").failures == []
    built.query(f"alter table {TABLE} enable trigger zz_trueup_stage_update")  # not always
    assert built.dbt("test", "--select", "guard_drift").failures != []


def test_an_owner_without_other_rights_guards_writers_who_know_nothing(built: App) -> None:
    """With the rights of docs/grants.md; the application may write into its table, and no more."""
    stored = f"select stage from {TABLE} where id = 1"
    operators, guards, *_ = re.findall(r"```sql\n(.*?)```", GRANTS.read_text(), re.DOTALL)
    owner: dict[str, Any] = {"PGUSER": "app_owner", "PGPASSWORD": "secret", "TRUEUP_ENV": "staging"}
    with roles_of_the_server(), fire.superuser(built) as root:
        root.execute("create role app_owner login; create role clerk login;" + operators)
        try:
            root.execute(guards.encode())
            for role in ("app_owner", "trueup_operator", "clerk"):
                root.execute(f"alter role {role} password 'secret'".encode())
            root.execute(f"alter table {TABLE} owner to app_owner")
            root.execute(f"grant select, insert, update on {TABLE} to clerk")
            migration.printed(built, "guard", "install", SCOPE, **owner)
            assert built.dbt("run", "--select", "tag:ledger").failures == []
            migration.printed(built, "mode", "set", SCOPE, "enforce", "--override", "--reason",
                              "a test", PGUSER="trueup_operator", PGPASSWORD="secret")  # fmt: skip
            clerk = built.url.replace(
                f"{built.environment['PGUSER']}:{built.environment['PGPASSWORD']}", "clerk:secret"
            )
            with psycopg.connect(clerk, autocommit=True) as writer:
                with pytest.raises(psycopg.errors.CheckViolation):
                    writer.execute(f"update {TABLE} set stage = 'Series A' where id = 1")
                migration.printed(built, "mode", "set", SCOPE, "normalize", "--override",
                                  "--reason", "a test", **owner)  # fmt: skip
                writer.execute(f"update {TABLE} set stage = 'Series A' where id = 1")
                for query in ("select * from trueup_ledger.guard_events",
                              "select trueup_ledger.set_mode('x', 'off')"):  # fmt: skip
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        writer.execute(query.encode())
            assert root.execute(stored.encode()).fetchall() == [("series-a",)]
            migration.printed(built, "guard", "tick", PGUSER="trueup_operator",
                              PGPASSWORD="secret")  # fmt: skip
            migration.printed(built, "guard", "drop", "--all", "--yes", **owner)
        finally:
            root.execute(f"alter table {TABLE} owner to {built.environment['PGUSER']}")
            for role in ("app_owner", "trueup_operator", "clerk"):
                root.execute(f"drop owned by {role}; drop role {role}".encode())
