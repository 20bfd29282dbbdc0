"""Sample, weights and marts as `trueup verify` reads them, and all checks as data tests of dbt."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any, NamedTuple

import pytest

from integration.conftest import App
from support import migration
from trueup.core import statements
from trueup.migration import plan

EVERYTHING: dict[str, Any] = {
    "tenants": None, "table_names": None, "is_quiesced": False, "epsilon": 0.000001,
    "sample_size": 100, "seed": 1, "most": 1000,
}  # fmt: skip
PLACES = {
    "portfoliocompanies": ("stage", "current_stage"),
    "deal_opportunities": ("stage",),
    "investments": ("round",),
}
DEALS = plan.Scope(("deal_opportunities",))
DOCUMENTS = "public.fund_strategy_models"
ALLOCATIONS = "trueup.fct_stage_allocations"


class Answer(NamedTuple):
    """A row of a statement."""

    check_id: str
    status: str
    expected: str
    actual: str
    offenders: list[dict[str, Any]]
    offender_count: int


def ask(app: App, name: str, run_id: Any, **options: Any) -> list[Answer]:
    """What a statement answers."""
    statement = statements.statement(app.settings, name)
    with migration.connect(app) as connected:
        rows = statement.run(connected, run_id=run_id, **{**EVERYTHING, **options}).fetchall()
    found = [Answer(*row) for row in rows]
    for each in found:
        assert each.status in ("pass", "warn", "fail", "info"), each
        assert all({"status", "message"} <= offender.keys() for offender in each.offenders)
        assert all("\n" not in offender["message"] for offender in each.offenders)
    return found


def one(app: App, name: str, run_id: Any, **options: Any) -> Answer:
    """The only row of it."""
    (found,) = ask(app, name, run_id, **options)
    return found


def sampled(app: App, run_id: Any, **options: Any) -> list[dict[str, Any]]:
    """The sample of a run, of all its columns."""
    return [
        offender
        for table, columns in PLACES.items()
        for column in columns
        for found in ask(app, f"verify_sample__{table}__{column}", run_id, **options)
        for offender in found.offenders
    ]


def migrate(app: App, scope: plan.Scope = migration.EVERYTHING) -> Any:
    """A migration that has come to its end; its run_id."""
    made = migration.make_plan(app, scope)
    assert migration.apply(app, made).status == "completed"
    return made.run_id


# ------------------------------------------------------------------------------------------- sample


def test_the_sample_is_of_the_whole_run_and_repeatable(built: App) -> None:
    run_id = migrate(built)
    rows = sampled(built, run_id)
    assert (
        len(rows) == len({(r["table_name"], r["column_name"], r["row_key"]) for r in rows}) == 100
    )
    assert {(row["table_name"], row["column_name"]) for row in rows} == {
        (table, column) for table, columns in PLACES.items() for column in columns
    }
    logged = {
        tuple(row)
        for row in built.query(
            "select table_name, column_name, row_id, tenant, stage_before, stage_after, batch_id"
            " from trueup_ledger.stage_normalization_log where run_id = %s", run_id,
        )
    }  # fmt: skip
    names = ("table_name", "column_name", "row_key", "tenant", "value_before", "value_after",
             "batch_id")  # fmt: skip
    assert {tuple(row[name] for name in names) for row in rows} <= logged
    assert all(row["status"] == "info" and row["is_there"] for row in rows)
    assert all(row["value_now"] == row["value_after"] for row in rows)

    assert sampled(built, run_id) == rows
    assert sampled(built, run_id, seed=2) != rows
    assert len(sampled(built, run_id, sample_size=7)) == 7
    assert len(sampled(built, run_id, sample_size=1)) == 1
    everything = sampled(built, run_id, sample_size=1_000_000, most=None)
    assert {tuple(row[name] for name in names) for row in everything} == logged
    assert len(everything) == len(logged)


def test_every_change_is_as_likely_as_any_other(built: App) -> None:
    """Over many seeds, a share of the sample falls to a column as its share of the changes."""
    run_id = migrate(built)
    ((total, of_deals),) = built.query(
        "select count(*), count(*) filter (where table_name = 'deal_opportunities')"
        " from trueup_ledger.stage_normalization_log where run_id = %s", run_id,
    )  # fmt: skip
    name = "verify_sample__deal_opportunities__stage"
    for size in (20, 200):  # of many changes and of few
        assert (total <= 20 * size) == (size == 200)
        drawn = [one(built, name, run_id, seed=n, sample_size=size) for n in range(60)]
        share = sum(each.offender_count for each in drawn) / (60 * size)
        assert abs(share - of_deals / total) < 0.03
        assert len({offender["row_key"] for each in drawn for offender in each.offenders}) > (
            of_deals * 0.9 if size == 200 else 50
        )


def test_the_sample_of_some_tenants_and_tables(built: App) -> None:
    run_id = migrate(built)
    for tenants in (["3"], ["3", None], [None]):
        rows = sampled(built, run_id, tenants=tenants)
        assert len(rows) == 100 or tenants == [None]
        assert {row["tenant"] for row in rows} == set(tenants)
        changes = built.query(
            "select count(*) from trueup_ledger.stage_normalization_log where run_id = %s"
            " and array_position(%s::text[], tenant) is not null", run_id, tenants,
        )  # fmt: skip
        assert (
            len(sampled(built, run_id, tenants=tenants, sample_size=100_000, most=None))
            == (changes[0][0])
        )
    rows = sampled(built, run_id, table_names=["investments", "deal_opportunities"])
    assert {row["table_name"] for row in rows} == {"investments", "deal_opportunities"}
    assert len(rows) == 100
    assert ask(built, "verify_sample__investments__round", run_id, table_names=["x"]) == []


def test_a_sampled_row_says_what_became_of_it_and_who_decided(built: App) -> None:
    built.query("update deal_opportunities set stage = e'Two\\nlines' where id = 5")
    run_id = migrate(built, DEALS)
    log = "trueup_ledger.stage_normalization_log"
    (gone, edited) = (key for (key,) in built.query(f"select row_id from {log} order by 1 limit 2"))
    built.query("delete from deal_opportunities where id = %s", gone)
    built.query("update deal_opportunities set stage = 'Other' where id = %s", edited)
    name = "verify_sample__deal_opportunities__stage"
    found = one(built, name, run_id, sample_size=5000, most=None)
    rows = {row["row_key"]: row for row in found.offenders}
    assert found.status == "info" and found.offender_count == len(rows)
    assert rows[gone]["value_now"] is None and not rows[gone]["is_there"]
    assert ", now gone" in rows[gone]["message"]
    assert rows[edited]["value_now"] == "Other" and ", now 'Other'" in rows[edited]["message"]

    decided = [row for row in rows.values() if row["reason"]]
    assert decided
    for row in decided:
        ((value, reason, by, on),) = built.query(
            "select canonical_value, reason, added_by, added_on::text"
            " from trueup_vocabulary.stage_aliases where alias_text = %s", row["alias"],
        )  # fmt: skip
        assert (value, reason, by, on) == (
            row["value_after"], row["reason"], row["added_by"], row["added_on"]
        )  # fmt: skip
        assert f"by alias '{row['alias']}'" in row["message"]
    # canonical values and labels are spellings without anybody having decided
    assert all(row["alias"] for row in rows.values())
    assert re.fullmatch(
        r"deal_opportunities\.stage, row \d+: '.+' → '[\w+-]+', now '.*'(, by alias '.+')?",
        decided[-1]["message"],
    )
    assert found.actual == (
        f"deal_opportunities.stage: {len(rows)} of its {len(rows)} changes are among them"
    )


def test_a_sample_of_a_spoilt_audit_is_read_nevertheless(built: App) -> None:
    run_id = migrate(built, DEALS)
    changes = "trueup_ledger.stage_normalization_changes"
    built.query(f"update {changes} set row_keys[1] = 'x', row_keys[2] = null,"
                " row_keys[3] = '99999999999999999999', map_ids[4] = 999")  # fmt: skip
    name = "verify_sample__deal_opportunities__stage"
    found = one(built, name, run_id, sample_size=5000, most=None)
    odd = {row["row_key"]: row for row in found.offenders if not row["is_there"]}
    assert odd.keys() == {"x", None, "99999999999999999999"}
    ((entries,),) = built.query(f"select count(*) from {changes}")
    assert sum(row["value_before"] is None for row in found.offenders) == entries
    # the books promise more than the audit has
    built.query("update trueup_ledger.stage_migration_batches set rows_updated = 2 * rows_updated")
    assert 30 < one(built, name, run_id).offender_count < 70


def test_a_sample_of_a_run_that_changed_nothing_is_empty(built: App) -> None:
    migrate(built, DEALS)
    run_id = migrate(built, DEALS)
    found = one(built, "verify_sample__deal_opportunities__stage", run_id)
    assert (found.status, found.offenders, found.offender_count) == ("info", [], 0)
    assert ask(built, "verify_sample__investments__round", run_id) == []  # not of this run
    assert ask(built, "verify_sample__deal_opportunities__stage", uuid.uuid4()) == []


# ------------------------------------------------------------------------------------------ weights


@pytest.fixture
def weighed(built: App) -> App:
    """The deals, migrated, and every weight is right."""
    migrate(built, DEALS)
    assert weights(built).status == "pass"
    return built


def weights(app: App, **options: Any) -> Answer:
    """The check of the weights."""
    ((run_id,),) = app.query("select run_id from trueup_ledger.migration_runs")
    return one(app, "verify__weights", run_id, **options)


def document(app: App, place: int = 0) -> str:
    """The key of a document."""
    ((key,),) = app.query(f"select id::text from {DOCUMENTS} order by id offset %s limit 1", place)
    return str(key)


@pytest.mark.parametrize(
    ("text", "issue"),
    [
        ('{"seed": 0.5, "series-a": 0.500002}', "weights do not sum to 1"),
        ('{"seed": 0.5, "series-a": 0.500001}', None),
        ('{"seed": 0.5, "series-a": 0.499999}', None),
        ('{"seed": 0.5, "series-a": 0.499998}', "weights do not sum to 1"),
        ('{"seed": 0.5, "series-a": "NaN"}', "a weight is not a number"),
        ('{"seed": "Infinity"}', "a weight is not a number"),
        ('{"seed": 0.5, "series-a": 0.5, "series-b": 1e400}', "a weight is not a number"),
        ('{"seed": 0.5, "series-a": 0.5, "series-b": null}', "a weight is not a number"),
        ('{"seed": 1.5, "series-a": -0.5}', "a weight is negative"),
        ('{"seed": 0, "series-a": 0}', "all weights are zero"),
        ("{}", "no weights"),
        ("[1]", "no weights"),
        ("1", "no weights"),
    ],
)
def test_a_wrong_weight_is_found_and_its_owner_named(
    weighed: App, text: str, issue: str | None
) -> None:
    key = document(weighed)
    weighed.query(
        f"alter table {DOCUMENTS} drop constraint fund_strategy_models_stage_allocation_check"
    )
    weighed.query(f"update {DOCUMENTS} set stage_allocation = %s where id = %s::uuid", text, key)
    found = weights(weighed)
    if issue is None:
        assert (found.status, found.offenders, found.offender_count) == ("pass", [], 0)
        return
    assert found.status == "fail" and found.offender_count == 1
    (offender,) = found.offenders
    assert offender["row_key"] == key and offender["issue"] == issue
    assert offender["table_name"] == "fund_strategy_models"
    assert offender["message"].startswith(f"fund_strategy_models.stage_allocation, row {key}: ")
    assert issue in offender["message"]
    # another epsilon, other tables, other tenants
    if "sum" in issue:
        assert weights(weighed, epsilon=0.00001).status == "pass"
    assert weights(weighed, table_names=["fund_baselines"]).status == "pass"
    assert weights(weighed, table_names=["fund_strategy_models"]).status == "fail"
    assert weights(weighed, tenants=["0"]).status == "pass"
    assert weights(weighed, tenants=[offender["tenant"]]).status == "fail"


def test_equal_names_are_added_up_in_the_mart(weighed: App) -> None:
    key = document(weighed)
    weighed.query(
        f"update {DOCUMENTS} set stage_allocation = %s where id = %s::uuid",
        '{"Series A": 0.3, "series_a": 0.2, "seed": 0.5}', key,
    )  # fmt: skip
    # the mart is behind
    assert weights(weighed).status == "pass"
    assert weighed.dbt("build", "--select", "int_value_counts+").failures == []
    assert weights(weighed).status == "pass"
    # the last one won
    weighed.query(
        f"update {ALLOCATIONS} set weight = 0.2 where owner_key = %s and stage = 'series-a'", key
    )
    found = weights(weighed)
    assert found.status == "fail"
    assert [offender["row_key"] for offender in found.offenders] == [key]
    assert found.offenders[0]["message"].endswith(
        "the stages of the mart weigh 0.7 together, the names that they were added up from 1"
    )
    # a stage that is not there at all
    weighed.query(f"delete from {ALLOCATIONS} where owner_key = %s and stage = 'series-a'", key)
    assert "the stages of the mart weigh 0.5 together" in weights(weighed).offenders[0]["message"]


def test_a_mart_that_is_behind_is_not_blamed(weighed: App) -> None:
    """Also where nobody has moved updated_at, so that only the weights themselves tell."""
    weighed.query("alter table public.fund_strategy_models disable trigger user")
    changed = weighed.query(
        f"update {DOCUMENTS} set stage_allocation = %s where id = %s::uuid"
        " returning updated_at = (select max(updated_at) from trueup.fct_stage_allocations"
        "  where owner_key = id::text)",
        '{"seed": 0.25, "series-b": 0.75}', document(weighed),
    )  # fmt: skip
    assert changed == [(True,)]
    assert (weights(weighed).status, weights(weighed).offenders) == ("pass", [])


def test_many_wrong_weights_are_counted_and_some_are_shown(weighed: App) -> None:
    weighed.query(f"update {DOCUMENTS} set stage_allocation = '{{}}'")
    assert (len(weights(weighed, most=3).offenders), weights(weighed).offender_count) == (3, 60)
    assert len(weights(weighed, most=None).offenders) == 60


# ------------------------------------------------------------------------------------------- models

MART = "trueup.fct_deal_stages"
AGREE = "verify_models__deal_opportunities__stage"


def test_marts_agree_before_and_after_they_are_built(built: App) -> None:
    run_id = migrate(built, DEALS)
    ((changed,),) = built.query("select count(*) from trueup_ledger.stage_normalization_log")
    found = one(built, AGREE, run_id)
    (behind,) = found.offenders
    assert (found.status, found.offender_count, behind["status"]) == ("pass", 1, "info")
    assert behind["rows"] == changed
    assert behind["message"] == (
        f"deal_opportunities.stage, fct_deal_stages: {changed} rows behind; dbt build"
    )
    # not in the mart yet, and gone from the table
    built.query("insert into deal_opportunities (company_name, stage) values ('New', 'Seed')")
    built.query("delete from deal_opportunities where id in (1, 2)")
    stages = built.query("select count(*) from trueup_ledger.stage_normalization_log"
                         " where row_id in ('1', '2')")  # fmt: skip
    assert one(built, AGREE, run_id).offenders[0]["rows"] == changed + 3 - stages[0][0]
    assert built.dbt("build", "--select", "int_value_counts+").failures == []
    found = one(built, AGREE, run_id)
    assert (found.status, found.offenders, found.offender_count) == ("pass", [], 0)
    assert ask(built, AGREE, run_id, table_names=["investments"]) == []
    assert ask(built, AGREE, uuid.uuid4()) == []


def test_a_mart_that_shows_another_value_fails_and_the_row_is_named(built: App) -> None:
    run_id = migrate(built, DEALS)
    assert built.dbt("build", "--select", "int_value_counts+").failures == []
    ((key, tenant, stage),) = built.query(
        f"select deal_id::text, fund_id::text, stage from {MART} where stage_resolution ="
        " 'canonical' and fund_id is not null order by deal_id limit 1"
    )
    ((unknown, raw),) = built.query(
        f"select deal_id::text, stage_raw from {MART} where stage_resolution = 'unknown'"
        " order by deal_id limit 1"
    )
    other = "seed" if stage != "seed" else "series-a"
    built.query(f"update {MART} set stage = %s where deal_id = %s", other, key)
    built.query(f"update {MART} set stage = 'seed' where deal_id = %s", unknown)
    found = one(built, AGREE, run_id)
    assert (found.status, found.offender_count) == ("fail", 2)
    by_key = {offender["row_key"]: offender for offender in found.offenders}
    assert by_key.keys() == {key, unknown}
    assert by_key[key]["message"] == (
        f"deal_opportunities.stage, row {key}: '{stage}' in the table,"
        f" fct_deal_stages shows '{other}', not '{stage}'"
    )
    assert by_key[key]["tenant"] == tenant
    assert (by_key[unknown]["value_in_table"], by_key[unknown]["value_in_mart"]) == (raw, "seed")
    assert len(one(built, AGREE, run_id, most=1).offenders) == 1
    assert one(built, AGREE, run_id, tenants=[tenant]).offender_count >= 1
    assert one(built, AGREE, run_id, tenants=["0"]).status == "pass"
    # a value that somebody edits is behind, not wrong
    built.query("update deal_opportunities set stage = 'Seed' where id in (%s, %s)", key, unknown)
    found = one(built, AGREE, run_id)
    assert found.status == "pass" and found.offenders[0]["rows"] == 2
    # nothing where there should be something
    built.query(f"update {MART} set stage = null where stage_resolution = 'canonical'")
    assert one(built, AGREE, run_id, most=None).status == "fail"


def test_an_empty_value_is_no_other_value(built: App) -> None:
    """NULL in the mart's raw value and NULL in the table are the same, and mean nothing."""
    run_id = migrate(built, plan.Scope(("investments",)))
    name = "verify_models__investments__round"
    mart = "trueup.fct_investment_rounds"
    ((key,),) = built.query(f"select min(investment_id)::text from {mart} where round_raw is null")
    assert one(built, name, run_id).status == "pass"
    built.query(f"update {mart} set round = 'seed' where investment_id = %s", key)
    (offender, *_) = one(built, name, run_id).offenders
    assert (offender["row_key"], offender["value_in_table"]) == (key, None)
    assert json.dumps(offender["message"])
