"""Sample, weights and marts as `trueup verify` reads them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from integration.verification.conftest import EQUAL_NAMES
from support.verification import Check, Run

PLACES = {
    "portfoliocompanies": ("stage", "current_stage"),
    "deal_opportunities": ("stage",),
    "investments": ("round",),
}
LOG = "trueup_ledger.stage_normalization_log"
CHANGES = "trueup_ledger.stage_normalization_changes"
DOCUMENTS = "public.fund_strategy_models"
ALLOCATIONS = "trueup.fct_stage_allocations"
MART = "trueup.fct_deal_stages"


# ------------------------------------------------------------------------------------------- sample


def sampled(run: Run, **options: Any) -> list[dict[str, Any]]:
    """The sample of a run, of all its columns."""
    return [
        offender
        for table, columns in PLACES.items()
        for column in columns
        for *_, offenders, _ in run.answer(f"check_sample__{table}__{column}", **options)
        for offender in offenders
    ]


def of_deals(run: Run, **options: Any) -> Check:
    return run.checks(purposes=("check_sample",), **options)["sample_inspection"]


def test_the_sample_is_of_the_whole_run_and_repeatable(everything: Run) -> None:
    rows = sampled(everything)
    places = {(table, column) for table, columns in PLACES.items() for column in columns}
    assert (
        len(rows)
        == 100
        == len({(row["table_name"], row["column_name"], row["row_key"]) for row in rows})
    )
    assert {(row["table_name"], row["column_name"]) for row in rows} == places
    logged = set(
        everything.query(
            "select table_name, column_name, row_id, tenant, stage_before, stage_after, batch_id"
            f" from {LOG} where run_id = %s", everything.run_id,
        )
    )  # fmt: skip
    names = ("table_name", "column_name", "row_key", "tenant", "value_before", "value_after",
             "batch_id")  # fmt: skip
    assert {tuple(row[name] for name in names) for row in rows} <= logged
    assert all(row["status"] == "info" and row["is_there"] for row in rows)
    assert all(row["value_now"] == row["value_after"] for row in rows)

    assert sampled(everything) == rows
    assert sampled(everything, seed=2) != rows
    assert len(sampled(everything, sample_size=7)) == 7
    assert len(sampled(everything, sample_size=1)) == 1
    whole = sampled(everything, sample_size=1_000_000)
    assert {tuple(row[name] for name in names) for row in whole} == logged
    assert len(whole) == len(logged)


def test_every_change_is_as_likely_as_any_other(everything: Run) -> None:
    """Over many seeds, a share of the sample falls to a column as its share of the changes."""
    ((total, of_column),) = everything.query(
        f"select count(*), count(*) filter (where table_name = 'deal_opportunities') from {LOG}"
        " where run_id = %s", everything.run_id,
    )  # fmt: skip
    for size in (20, 200):  # of many changes and of few
        assert (total <= 20 * size) == (size == 200)
        drawn = [of_deals(everything, seed=n, sample_size=size) for n in range(60)]
        share = sum(each.rows for each in drawn) / (60 * size)
        assert abs(share - of_column / total) < 0.03
        assert len({offender["row_key"] for each in drawn for offender in each.sample}) > (
            of_column * 0.9 if size == 200 else 50
        )


def test_the_sample_of_some_tenants_and_tables(everything: Run) -> None:
    for tenants in (["3"], ["3", None], [None]):
        rows = sampled(everything, tenants=tenants)
        assert len(rows) == 100 or tenants == [None]
        assert {row["tenant"] for row in rows} == set(tenants)
        ((changes,),) = everything.query(
            f"select count(*) from {LOG} where run_id = %s"
            " and array_position(%s::text[], tenant) is not null", everything.run_id, tenants,
        )  # fmt: skip
        assert len(sampled(everything, tenants=tenants, sample_size=100_000)) == changes
    rows = sampled(everything, table_names=["investments", "deal_opportunities"])
    assert {row["table_name"] for row in rows} == {"investments", "deal_opportunities"}
    assert len(rows) == 100
    assert sampled(everything, table_names=["x"]) == []


def test_a_sampled_row_says_what_became_of_it_and_who_decided(deals: Run) -> None:
    deals.query("update trueup_ledger.migration_value_map set value_before = e'Two\\nlines'"
                " where table_name = 'deal_opportunities' and map_id = 1")  # fmt: skip
    query = f"select row_id from {LOG} where table_name = 'deal_opportunities' order by 1 limit 2"
    (gone, edited) = (key for (key,) in deals.query(query))
    deals.query("delete from deal_opportunities where id = %s", gone)
    deals.query("update deal_opportunities set stage = 'Other' where id = %s", edited)
    found = of_deals(deals, sample_size=5000)
    rows = {row["row_key"]: row for row in found.sample}
    assert found.status == "info" and found.rows == len(rows)
    assert rows[gone]["value_now"] is None and not rows[gone]["is_there"]
    assert ", now gone" in rows[gone]["message"]
    assert rows[edited]["value_now"] == "Other" and ", now 'Other'" in rows[edited]["message"]

    decided = [row for row in rows.values() if row["reason"]]
    assert decided
    for row in decided:
        ((value, reason, by, on),) = deals.query(
            "select canonical_value, reason, added_by, added_on::text"
            " from trueup_vocabulary.stage_aliases where alias_text = %s", row["alias"],
        )  # fmt: skip
        assert (value, reason, by, on) == (
            row["value_after"], row["reason"], row["added_by"], row["added_on"]
        )  # fmt: skip
        assert f"by alias '{row['alias']}'" in row["message"]
    # canonical values and labels are spellings without anybody having decided
    assert all(row["alias"] for row in rows.values() if row["value_before"] != "Two\nlines")
    assert re.fullmatch(
        r"deal_opportunities\.stage, row \d+: '.+' → '[\w+-]+', now '.*'(, by alias '.+')?",
        decided[-1]["message"],
    )
    assert found.found == [
        f"deal_opportunities.stage: {len(rows)} of its {len(rows)} changes are among them"
    ]


def test_a_sample_of_a_spoilt_audit_is_read_nevertheless(deals: Run) -> None:
    deals.query(f"update {CHANGES} set row_keys[1] = 'x', row_keys[2] = null,"
                " row_keys[3] = '99999999999999999999', map_ids[4] = 999")  # fmt: skip
    found = of_deals(deals, sample_size=5000)
    odd = {row["row_key"]: row for row in found.sample if not row["is_there"]}
    assert odd.keys() == {"x", None, "99999999999999999999"}
    assert sum(row["value_before"] is None for row in found.sample) == 6  # one of each batch
    # the books promise more than the audit has
    total = deals.query("update trueup_ledger.stage_migration_batches"
                        " set rows_updated = 2 * rows_updated returning rows_updated")  # fmt: skip
    assert len(total) == 9 and 20 < of_deals(deals).rows < 60


def test_a_sample_of_a_run_that_changed_nothing_is_empty(deals: Run) -> None:
    deals.query(f"delete from {CHANGES}")
    deals.query("update trueup_ledger.stage_migration_batches set rows_updated = 0")
    found = of_deals(deals)
    assert (found.status, found.sample, found.rows) == ("info", [], 0)


# ------------------------------------------------------------------------------------------ weights


def weights(run: Run, **options: Any) -> Check:
    return run.checks(purposes=("verification__weights",), **options)["weight_sums"]


def document(run: Run) -> str:
    """The key of a document."""
    ((key,),) = run.query(f"select id::text from {DOCUMENTS} order by id offset 1 limit 1")
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
    deals: Run, text: str, issue: str | None
) -> None:
    key = document(deals)
    deals.query(
        f"alter table {DOCUMENTS} drop constraint fund_strategy_models_stage_allocation_check"
    )
    deals.query(f"update {DOCUMENTS} set stage_allocation = %s where id = %s::uuid", text, key)
    assert deals.differs() == ({"weight_sums": "fail"} if issue else {})
    found = weights(deals)
    if issue is None:
        assert (found.sample, found.rows) == ([], 0)
        return
    (offender,) = found.sample
    assert offender["row_key"] == key and offender["issue"] == issue
    assert offender["table_name"] == "fund_strategy_models"
    assert offender["message"].startswith(f"fund_strategy_models.stage_allocation, row {key}: ")
    assert issue in offender["message"]
    # another epsilon, other tables, other tenants
    if "sum" in issue:
        assert weights(deals, epsilon=0.00001).status == "ok"
    assert weights(deals, table_names=["fund_baselines"]).status == "ok"
    assert weights(deals, table_names=["fund_strategy_models"]).status == "fail"
    assert weights(deals, tenants=["0"]).status == "ok"
    assert weights(deals, tenants=[offender["tenant"]]).status == "fail"


def test_equal_names_are_added_up_in_the_mart(everything: Run) -> None:
    ((key,),) = everything.query(
        f"select id::text from {DOCUMENTS} where stage_allocation = cast(%s as jsonb)", EQUAL_NAMES
    )
    of_key = f"where owner_key = '{key}' and stage = 'series-a'"
    assert everything.query(f"select weight = 0.5 from {ALLOCATIONS} {of_key}") == [(True,)]
    assert everything.differs() == {}
    everything.query(f"update {ALLOCATIONS} set weight = 0.2 {of_key}")  # the last one won
    assert everything.differs() == {"weight_sums": "fail"}
    (offender,) = weights(everything).sample
    assert offender["row_key"] == key and offender["message"].endswith(
        "the values of the mart weigh 0.7 together, the names that they were added up from 1"
    )
    everything.query(f"delete from {ALLOCATIONS} {of_key}")  # a stage that is not there at all
    (offender,) = weights(everything).sample
    assert "the values of the mart weigh 0.5 together" in offender["message"]


@pytest.mark.parametrize("moves", [True, False])
def test_a_mart_that_is_behind_is_not_blamed(deals: Run, moves: bool) -> None:
    """Also if nobody has moved updated_at, so that only the weights themselves tell."""
    if not moves:
        deals.query("alter table public.fund_strategy_models disable trigger user")
    changed = deals.query(
        f"update {DOCUMENTS} set stage_allocation = %s where id = %s::uuid"
        " returning updated_at = (select max(updated_at) from trueup.fct_stage_allocations"
        "  where owner_key = id::text)",
        '{"seed": 0.25, "Seed": 0.25, "series-b": 0.5}', document(deals),
    )  # fmt: skip
    assert changed == [(not moves,)]
    assert (weights(deals).status, weights(deals).sample) == ("ok", [])


# ------------------------------------------------------------------------------------------- models


def agree(run: Run, place: tuple[str, str] = ("deal_opportunities", "stage"), **more: Any) -> Check:
    return run.checks(place, ("check_models",), **more)["models_agree"]


def test_marts_that_are_behind_are_counted(deals: Run) -> None:
    """They were built before the run."""
    query = f"select count(*) from {LOG} where table_name = 'deal_opportunities'"
    ((changed,),) = deals.query(query)
    found = agree(deals)
    (behind,) = found.sample
    assert (found.status, found.rows, behind["status"]) == ("ok", 1, "info")
    assert behind["rows"] == changed
    assert behind["message"] == (
        f"deal_opportunities.stage, fct_deal_stages: {changed} rows behind; dbt build"
    )
    # not in the mart yet, and gone from the table
    deals.query("insert into deal_opportunities (company_name, stage) values ('New', 'Seed')")
    deals.query("delete from deal_opportunities where id in (1, 2)")
    ((of_them,),) = deals.query(f"{query} and row_id in ('1', '2')")
    assert agree(deals).sample[0]["rows"] == changed + 3 - of_them


def test_a_mart_that_shows_another_value_fails_and_the_row_is_named(everything: Run) -> None:
    found = agree(everything)
    assert (found.status, found.sample, found.rows) == ("ok", [], 0)
    ((key, tenant, stage),) = everything.query(
        f"select deal_id::text, fund_id::text, stage from {MART} where stage_resolution ="
        " 'canonical' and fund_id is not null order by deal_id limit 1"
    )
    ((unknown, raw),) = everything.query(
        f"select deal_id::text, stage_raw from {MART} where stage_resolution = 'unknown'"
        " order by deal_id limit 1"
    )
    other = "seed" if stage != "seed" else "series-a"
    everything.query(f"update {MART} set stage = %s where deal_id = %s", other, key)
    everything.query(f"update {MART} set stage = 'seed' where deal_id = %s", unknown)
    assert everything.differs() == {"models_agree": "fail"}
    found = agree(everything)
    by_key = {offender["row_key"]: offender for offender in found.sample}
    assert by_key.keys() == {key, unknown} and found.rows == 2
    assert by_key[key]["message"] == (
        f"deal_opportunities.stage, row {key}: '{stage}' in the table,"
        f" fct_deal_stages shows '{other}', not '{stage}'"
    )
    assert by_key[key]["tenant"] == tenant
    assert (by_key[unknown]["value_in_table"], by_key[unknown]["value_in_mart"]) == (raw, "seed")
    assert agree(everything, tenants=[tenant]).rows >= 1
    assert agree(everything, tenants=["0"]).status == "ok"
    # a value that somebody edits is behind, not wrong
    everything.query("update deal_opportunities set stage = 'Seed' where id in (%s, %s)",
                     key, unknown)  # fmt: skip
    found = agree(everything)
    assert found.status == "ok" and found.sample[0]["rows"] == 2
    # nothing where there should be something
    everything.query(f"update {MART} set stage = null where stage_resolution = 'canonical'")
    assert agree(everything).status == "fail"


def test_an_empty_value_is_no_other_value(everything: Run) -> None:
    """NULL in the mart's raw value and NULL in the table are the same, and mean nothing."""
    place, mart = ("investments", "round"), "trueup.fct_investment_rounds"
    query = f"select min(investment_id)::text from {mart} where round_raw is null"
    ((key,),) = everything.query(query)
    assert agree(everything, place).status == "ok"
    everything.query(f"update {mart} set round = 'seed' where investment_id = %s", key)
    (offender, *_) = agree(everything, place).sample
    assert (offender["row_key"], offender["value_in_table"]) == (key, None)
    assert json.dumps(offender["message"])
