"""The guard as writers meet it: every mode, every way of writing, and nothing but bad values."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.conftest import App
from integration.guard.conftest import SCOPE, TABLE, Guarded
from support import PROOFS, fire, migration
from trueup.guard import guard
from trueup.guard.bucket import bucket

CANONICAL, ALIAS, UNKNOWN = "series-a", "Series  A", "no such stage"
NEW = 900_000  # key of a row that is inserted
INSERT = f"insert into {TABLE} (id, fund_id, company_name, stage)"
UPDATE = f"update {TABLE} set stage = '{{}}' where id = 1"
# Every way to write a value: the key of the row, and what is executed.
WAYS: dict[str, tuple[int, list[str]]] = {
    "insert": (NEW, [f"{INSERT} values ({NEW}, 1, 'x', '{{}}')"]),
    "update": (1, [UPDATE]),
    "copy": (NEW, [f"copy {TABLE} (id, fund_id, company_name, stage) from stdin\n"
                   f"{NEW}\t1\tx\t{{}}"]),
    "upsert": (1, [f"{INSERT} values (1, 1, 'x', 'seed') on conflict (id)"
                   " do update set stage = '{}'"]),
    "merge": (1, [f"merge into {TABLE} as d using (values (1)) as s (id) on d.id = s.id"
                  " when matched then update set stage = '{}'"]),
    "another trigger": (1, [
        "create function pg_temp.other() returns trigger language plpgsql as"
        " $$begin new.stage := '{}'; return new; end$$",
        f"create trigger a_other before update on {TABLE} for each row"
        " execute function pg_temp.other()",
        f"update {TABLE} set company_name = 'y' where id = 1",
    ]),
}  # fmt: skip
# mode, percent, shadow → what becomes of a known spelling and of an unknown value
MODES: dict[tuple[str, float | None, bool], tuple[str, str]] = {
    ("off", None, False): ("written", "written"),
    ("off", None, True): ("written", "written"),
    ("normalize", None, False): ("rewritten", "warned"),
    ("normalize", None, True): ("warned", "warned"),
    ("warn", None, False): ("warned", "warned"),
    ("warn", None, True): ("warned", "warned"),
    ("enforce", 0.01, False): ("warned", "warned"),  # the tenant is outside of the share
    ("enforce", 100, True): ("warned", "warned"),
    ("enforce", 100, False): ("refused", "refused"),
}


@pytest.fixture
def tidy(guarded: Guarded) -> Guarded:
    """Row 1 has a canonical value of tenant 1, so that every bad value is a change."""
    guarded.set("off")
    guarded.app.query(f"update {TABLE} set stage = 'seed', fund_id = 1 where id = 1")
    guarded.app.query(f"update {TABLE} set stage = 'legacy', fund_id = 1 where id = 2")
    return guarded


@pytest.mark.parametrize(("mode", "percent", "shadow"), MODES)
def test_every_mode_meets_every_way_of_writing(
    tidy: Guarded, mode: str, percent: float | None, shadow: bool
) -> None:
    tidy.set(mode, percent, shadow)
    known, unknown = MODES[mode, percent, shadow]
    for way, (key, statements) in WAYS.items():
        for value, outcome in ((CANONICAL, "written"), (ALIAS, known), (UNKNOWN, unknown)):
            for replica in (False, True):
                if replica and way == "another trigger":
                    continue  # the other trigger does not fire
                found = tidy.write(*(text.format(value) for text in statements), key=key,
                                   as_replica=replica)  # fmt: skip
                now = CANONICAL if outcome == "rewritten" else value
                told = "written" if outcome == "rewritten" else outcome
                expected = (told, None if outcome == "refused" else now)
                assert found[:2] == expected, (way, value, replica)
                if told in ("warned", "refused"):
                    assert found.said is not None and f'"{value}"' in found.said.message
                    assert found.said.column == "stage" and "series-a" in found.said.hint
                    assert found.said.sqlstate == {"warned": "01S01", "refused": "23514"}[told]
    # a row that was wrong before stays editable elsewhere
    legacy = f"update {TABLE} set company_name = 'renamed' where id = 2"
    assert tidy.write(legacy, key=2)[:2] == ("written", "legacy")


TEXTS = st.one_of(
    st.sampled_from(["seed", "Seed", "series_a", "Series C+", "", " ", "unknown", "Bridge"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)


@settings(max_examples=300 if PROOFS else 40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.lists(st.tuples(TEXTS, st.integers(1, 12)), min_size=1, max_size=8),
       st.sampled_from([1, 25, 50, 100]))  # fmt: skip
def test_shadow_objects_exactly_if_enforce_refuses(
    tidy: Guarded, values: list[tuple[str, int]], percent: float
) -> None:
    app = tidy.app

    def written(value: str, fund: int) -> str:
        try:
            app.query(f"{INSERT} values ({NEW}, %s, 'x', %s)", fund, value)
        except psycopg.errors.CheckViolation:
            return "refused"
        app.query(f"delete from {TABLE} where id = {NEW}")
        return "written"

    tidy.set("enforce", percent, shadow=True)
    app.query("delete from trueup_ledger.guard_events")
    for value, fund in values:
        assert written(value, fund) == "written"
    objected = app.query(
        "select raw_value, cast(tenant as int) from trueup_ledger.guard_events"
        " where outcome = 'would_reject' order by event_id"
    )
    tidy.set("enforce", percent, shadow=False)
    refused = [each for each in values if written(*each) == "refused"]
    assert refused == objected


def test_a_transaction_of_many_bad_rows_records_some_and_counts_all(tidy: Guarded) -> None:
    """A COPY of a million dirty rows must not write a million events, nor lose one in the count."""
    tidy.set("warn")
    tidy.app.query("delete from trueup_ledger.guard_events")
    migration.printed(tidy.app, "guard", "tick")
    tidy.app.query("delete from trueup_ledger.validation_samples")
    tidy.app.query(f"{INSERT} select {NEW} + n, 1, 'x', 'Series A' from generate_series(1, 500) n")
    with pytest.raises(psycopg.errors.CheckViolation):
        tidy.set("enforce", 100)
        tidy.app.query(f"{INSERT} values ({NEW}, 1, 'x', 'Series A')")
    tidy.app.query(f"delete from {TABLE} where id >= {NEW}")
    assert tidy.app.query("select count(*) from trueup_ledger.guard_events") == [(100,)]
    migration.printed(tidy.app, "guard", "tick")
    query = (
        "select sum(warned), sum(rejected), sum(judged) >= 501"
        " from trueup_ledger.validation_samples"
    )
    ((warned, rejected, judged),) = tidy.app.query(query)
    assert (warned, rejected, judged) == (500, 1, True)


def test_buckets_are_those_of_python_and_evenly_filled(guarded: Guarded) -> None:
    keys = 100_000
    places = guarded.app.query(
        "select trueup_ledger.validation_bucket('scope', 'tenant ' || n || ' ñ')"
        f" from generate_series(1, {keys}) as n order by n"
    )
    assert [place for (place,) in places] == [
        bucket("scope", f"tenant {n} ñ") for n in range(1, keys + 1)
    ]
    for percent in (10, 25, 50):
        inside = sum(place < percent * 100 for (place,) in places)
        assert abs(inside / keys - percent / 100) < 0.003


def test_of_two_changes_at_once_the_second_is_told(guarded: Guarded) -> None:
    """The second waits for the first, and then sees that its version is old."""
    app = guarded.app
    guarded.set("warn")
    ((version,),) = app.query(
        "select version from trueup_ledger.validation_mode_current where scope = %s", SCOPE
    )
    found = []

    def change() -> None:
        with migration.connect(app) as second:
            found.append(guard.set_mode(app.settings, second, SCOPE, "off", expect_version=version))

    with migration.connect(app) as first:
        guard.set_mode(app.settings, first, SCOPE, "off", expect_version=version)
        thread = threading.Thread(target=change)
        thread.start()
        fire.until(lambda: fire.somebody_waits(app))
        first.commit()
        thread.join()
    assert [each.code for each in found] == ["guard__old_version"]
    assert f"version {version + 1}, not {version}" in found[0].message
    kept = "select refused from trueup_ledger.validation_mode_events order by at desc limit 2"
    assert {refused for (refused,) in app.query(kept)} == {"old_version", None}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["enforce"], "--override --reason"),
        (["enforce", "--override"], "--override --reason"),
        (["normalize"], "--override --reason"),
    ],
)
def test_a_mode_is_not_raised_without_a_reason(
    guarded: Guarded, arguments: list[str], reason: str
) -> None:
    guarded.set("warn")
    code, _, err = migration.done(guarded.app, "mode", "set", SCOPE, *arguments)
    assert code == 1 and reason in err


def test_a_column_is_sealed_only_if_clean_and_then_no_mode_opens_it(built: App) -> None:
    with migration.connect(built) as connected:
        guard.install(built.settings, connected, SCOPE, print, "staging")
    seal = ["guard", "seal", SCOPE, "--override", "--reason", "done"]
    code, _, err = migration.done(built, *seal)
    assert code == 2 and "would refuse" in err, err
    ((dirty,),) = built.query(
        f"select count(*) from {TABLE} where stage <> all (array(select canonical_value from"
        " trueup_vocabulary.stages))"
    )
    assert f"would refuse {dirty:,} of" in err
    built.query(f"update {TABLE} set stage = 'seed'")
    assert "sealed" in migration.printed(built, *seal)
    with pytest.raises(psycopg.errors.CheckViolation):
        built.query(f"update {TABLE} set stage = 'Seed' where id = 1")
    ((triggers,),) = built.query("select count(*) from pg_trigger where tgname like 'zz_trueup%'")
    assert triggers == 0
    code, _, err = migration.done(built, "mode", "set", SCOPE, "off")
    assert code == 1 and f"trueup guard drop {SCOPE}" in err
    migration.printed(built, "guard", "drop", "--all", "--yes")
    built.query(f"update {TABLE} set stage = 'Seed' where id = 1")


def test_null_and_blank_are_as_wrong_as_the_column_says(built: App) -> None:
    """Of a column that may not be NULL but may be blank: under the triggers as under the CHECK."""
    path = built.project / "dbt_project.yml"
    entry = "{table: portfoliocompanies, column: current_stage,"
    guards = " guard: {null: refuse, blank: allow},"
    path.write_text(path.read_text().replace(entry, entry + guards))
    scope = "public.portfoliocompanies.current_stage"
    with migration.connect(built) as connected:
        guard.install(built.settings, connected, scope, print, "staging")
        guard.set_mode(built.settings, connected, scope, "enforce", 100, reason="x",
                       is_override=True)  # fmt: skip
        connected.commit()
    built.query("update portfoliocompanies set current_stage = 'seed'")
    for sealed in (False, True):
        if sealed:
            migration.printed(built, "guard", "seal", scope, "--override", "--reason", "x")
        built.query("update portfoliocompanies set current_stage = ' ' where id = 1")
        for wrong in (None, "Seed"):
            with pytest.raises(psycopg.errors.CheckViolation):
                built.query("update portfoliocompanies set current_stage = %s", wrong)


def test_variables_choose_the_first_mode_and_no_later_one(built: App) -> None:
    app = built
    of: dict[str, Any] = {"TRUEUP_ENV": "staging", "STAGE_VALIDATION_MODE": "enforce"}
    code, _, err = migration.done(app, "guard", "install", SCOPE, **of, ENFORCEMENT_PERCENT="many")
    assert code == 2 and "ENFORCEMENT_PERCENT is many; allowed: a whole number" in err
    migration.printed(app, "guard", "install", SCOPE, **of, ENFORCEMENT_PERCENT="25")
    assert "enforce 25 %" in migration.printed(app, "mode", "get", SCOPE)
    migration.printed(app, "mode", "set", SCOPE, "warn")
    migration.printed(app, "guard", "install", SCOPE, **of)
    found = migration.printed(app, "guard", "status", SCOPE, **of)
    assert "STAGE_VALIDATION_MODE is enforce, but the recorded mode says warn" in found
