"""Every data test of the project fails on a fault of its kind, and stores the rows that are wrong.

Faults are planted with plain SQL, many at a time, in a copy of the built database; then the tests
run once. Exactly the tests that the faults name may fail, and what they store must be exactly the
rows that the faults name: each fault is found by its tests, and by no other.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg import sql

from integration.conftest import App, create_database, drop_database
from support import migration
from trueup.cli import try_csv

COMPANIES = "trueup.fct_portfolio_company_stages"
DEALS = "trueup.fct_deal_stages"
ROUNDS = "trueup.fct_investment_rounds"
ALLOCATIONS = "trueup.fct_stage_allocations"
COVERAGE = "trueup.fct_stage_coverage"
COUNTS = "trueup_intermediate.int_value_counts"
VALUES = "trueup_intermediate.int_values"
KEYS = "trueup_intermediate.int_vocabulary_keys"
PENDING = "trueup_audit.audit_pending_changes"
STAGES = "trueup_vocabulary.stages"
ALIASES = "trueup_vocabulary.stage_aliases"


# Of something that can be wrong with the data: SQL that makes it so and, for each test that must
# notice it, a query that gives the rows it must store, some of their columns. Asked before anything
# is planted.
Faults = dict[str, tuple[str, dict[str, str]]]


def row(**cells: str | int | None) -> str:
    """A query that gives one row of these values."""
    return "select " + ", ".join(
        f"{sql.Literal(value).as_string()} as {name}" for name, value in cells.items()
    )


def rows(*queries: str) -> str:
    """A query that gives the rows of all of them."""
    return " union all ".join(queries)


def line(table: str, *cells: str | int | None) -> str:
    """SQL that adds a row to a table."""
    values = ", ".join(sql.Literal(cell).as_string() for cell in cells)
    return f"insert into {table} values ({values});"


def alias(
    text: str | None,
    value: str | None = "seed",
    match: str | None = "exact",
    by: str | None = "somebody",
    on: str | None = "2026-01-01",
    reason: str | None = "made up",
) -> str:
    """SQL that adds a row to the table of the alias seed."""
    return line(ALIASES, text, value, match, by, on, reason)


def again(table: str, condition: str) -> str:
    """SQL that puts the rows of that condition into a table once more."""
    return f"insert into {table} overriding system value select * from {table} where {condition};"


def unprotected(mart: str, key: str) -> str:
    """SQL that takes away what the contract protects a mart's key with."""
    return (
        f"alter table {mart} drop constraint {mart.partition('.')[2]}_pkey;"
        f"alter table {mart} alter column {key} drop not null;"
    )


def with_row(view: str, query: str) -> str:
    """SQL that adds a row to a view, unseen by the views that read it.

    query: the row, from the table `sound`: what the view gives without the fault.
    """
    schema, _, name = view.partition(".")
    return (
        f"alter view {view} rename to sound_{name};"
        f"create view {view} as with sound as (select * from {schema}.sound_{name})"
        f" select * from sound union all ({query});"
    )


def first(table: str, key: str, condition: str = "true") -> str:
    """A subquery: the smallest key of the rows that fulfil the condition."""
    return f"(select min({key}) from {table} where {condition})"


def is_plain(column: str) -> str:
    """A condition: the value is canonical as it stands, so that nobody would change it."""
    return f"{column} in (select canonical_value from {STAGES})"


def twice(key: str, value: str) -> str:
    """A query that gives what a grain test of one column stores about a key that stands twice."""
    return f"select {value} as {key}, 2 as row_count"


STAGE_FAULTS: Faults = {
    "a canonical value is NULL": (
        line(STAGES, None, "Warp 0", 90, "made up"),
        {"stages_one_row_per_canonical_value": row(canonical_value=None, row_count=1)}),
    "a canonical value stands twice": (
        line(STAGES, "warp-1", "Warp 1", 91, "made up")
        + line(STAGES, "warp-1", "Warp One", 92, "made up"),
        {
            "stages_one_row_per_canonical_value": row(canonical_value="warp-1", row_count=2),
            "stages_canonical_values_have_keys_of_their_own": row(
                text_key="warp 1", row_count=2, texts="warp-1 | warp-1"
            ),
        }),
    "two canonical values fold to one key": (
        line(STAGES, "warp-2", "Warp 2", 93, "made up")
        + line(STAGES, "warp  2", "Warp Two", 94, "made up"),
        {"stages_canonical_values_have_keys_of_their_own": row(
            text_key="warp 2", row_count=2, texts="warp  2 | warp-2")}),
    "a label is invisible, another is NULL": (
        line(STAGES, "warp-3", " \u200b", 95, "made up")
        + line(STAGES, "warp-4", None, 96, "made up"),
        {"stages_label_is_there": rows(
            row(canonical_value="warp-3", label=" \u200b"),
            row(canonical_value="warp-4", label=None))}),
    "two labels fold to one key": (
        line(STAGES, "warp-5", "Warp 5", 97, "made up")
        + line(STAGES, "warp-6", "Warp—5", 98, "made up"),
        {"stages_labels_have_keys_of_their_own": row(
            text_key="warp 5", row_count=2, texts="Warp 5 | Warp—5")}),
    "two stages have one place in the order": (
        line(STAGES, "warp-7", "Warp 7", 0, "made up"),
        {"stages_sort_rank_is_unique": row(unique_field=0, n_records=2)}),
    "a stage has no place in the order": (
        line(STAGES, "warp-8", "Warp 8", None, "made up"),
        {"stages_sort_rank_is_there": row(canonical_value="warp-8", sort_rank=None)}),
    "a stage is not described": (
        line(STAGES, "warp-9", "Warp 9", 99, "\t"),
        {"stages_description_is_there": row(canonical_value="warp-9", description="\t")}),
    "a stage stands twice in the dimension": (
        unprotected("trueup.dim_stages", "stage")
        + line("trueup.dim_stages", "warp-21", "Warp 21", 90, "made up") * 2,
        {"dim_stages_one_row_per_stage": row(stage="warp-21", row_count=2)}),
    "a vocabulary has two versions": (
        unprotected("trueup.dim_vocabularies", "vocabulary")
        + again("trueup.dim_vocabularies", "vocabulary = 'stage'"),
        {"dim_vocabularies_one_row_per_vocabulary": row(vocabulary="stage", row_count=2)}),
}  # fmt: skip

ALIAS_FAULTS: Faults = {
    "an alias is exact but leads nowhere, another is ambiguous but leads somewhere": (
        alias("Warp 10", None) + alias("Warp 11", "seed", "ambiguous"),
        {"stage_aliases_decision_is_complete": rows(
            row(alias_text="Warp 10", canonical_value=None, match_type="exact"),
            row(alias_text="Warp 11", canonical_value="seed", match_type="ambiguous"))}),
    "an alias is NULL": (
        alias(None),
        {"stage_aliases_alias_text_is_there": row(alias_text=None)}),
    "an alias is invisible": (
        alias("\u200b"),
        {
            "stage_aliases_alias_text_is_there": row(alias_text="\u200b"),
            "stage_aliases_key_is_free": row(
                alias_found="\u200b", text_key="", belongs_to="warp-3"
            ),
        }),
    "two aliases fold to one key and contradict each other": (
        alias("Warp–12") + alias("WARP 12", "series-a"),
        {"stage_aliases_key_is_unique": row(
            text_key="warp 12", row_count=2, texts="WARP 12 | Warp–12")}),
    "an alias is a spelling of a canonical value, another a single letter": (
        alias("SEED", "series-b") + alias("(Q)", "series-a"),
        {"stage_aliases_key_is_free": rows(
            row(alias_found="SEED", text_key="seed", belongs_to="seed"),
            row(alias_found="(Q)", text_key="q", belongs_to=None))}),
    "an alias leads to a value that does not exist": (
        alias("Warp 13", "series-q"),
        {"stage_aliases_canonical_value_exists": row(from_field="series-q")}),
    "an alias does not say what was decided": (
        alias("Warp 14", "seed", None),
        {
            "stage_aliases_match_type_is_there": row(alias_text="Warp 14", match_type=None),
            "stage_aliases_decision_is_complete": row(
                alias_text="Warp 14", canonical_value="seed", match_type=None
            ),
        }),
    "an alias has a match type of its own": (
        alias("Warp 15", None, "similar"),
        {"stage_aliases_match_type_is_known": row(value_field="similar", n_records=1)}),
    "a decision has no author": (
        alias("Warp 16", by=" "),
        {"stage_aliases_added_by_is_there": row(alias_text="Warp 16", added_by=" ")}),
    "a decision has no date": (
        alias("Warp 17", on=None),
        {"stage_aliases_added_on_is_there": row(alias_text="Warp 17", added_on=None)}),
    "a decision has no reason": (
        alias("Warp 18", reason=None),
        {"stage_aliases_reason_is_there": row(alias_text="Warp 18", reason=None)}),
    "a key is looked up twice, another is NULL": (
        line(KEYS, "stage", "warp 19", "Warp 19", "exact", "seed", "seed")
        + line(KEYS, "stage", "warp 19", "Warp-19", "exact", "series-a", "series-a")
        + line(KEYS, "stage", None, "Warp 20", "exact", "seed", "seed"),
        {"int_vocabulary_keys_one_row_per_key": rows(
            row(vocabulary="stage", alias_key="warp 19", row_count=2),
            row(vocabulary="stage", alias_key=None, row_count=1))}),
}  # fmt: skip

QUEUED = "(select min(text_key) from trueup_audit.audit_unmapped_values)"
COUNTED = first(COUNTS, "raw_value", "table_name = 'investments'")
UNKNOWN_ROUNDS = "table_name = 'investments' and column_name = 'round'"
UNKNOWN_DEALS = "table_name = 'deal_opportunities' and column_name = 'stage'"


def value(resolution: str) -> str:
    """A subquery: the first raw value of that resolution."""
    return first(VALUES, "raw_value", f"resolution = '{resolution}'")


INTERMEDIATE: Faults = {
    "a value is counted twice": (
        again(COUNTS, f"table_name = 'investments' and raw_value = {COUNTED}"),
        {"int_value_counts_one_row_per_value": f"""
            select table_name, column_name, tenant, raw_value, 2 as row_count from {COUNTS}
            where table_name = 'investments' and raw_value = {COUNTED}
        """}),
    "a value means two things": (
        again(VALUES, f"raw_value = {value('broader')}"),
        {"int_values_one_row_per_value": rows(
            f"select 'stage' as vocabulary, {value('broader')} as raw_value, 2 as row_count")}),
    "a resolution is none of the eight": (
        f"update {VALUES} set resolution = 'guessed' where raw_value = {value('unknown')};",
        {"int_values_resolution_is_known": row(value_field="guessed", n_records=1)}),
    "a value has no resolution": (
        f"update {VALUES} set resolution = null where raw_value = {value('out_of_scope')};",
        {"int_values_resolution_is_there": rows(
            f"select {value('out_of_scope')} as raw_value, null as resolution")}),
    "a value would become a label": (
        f"update {VALUES} set canonical_value = 'Series A' where raw_value = {value('exact')};",
        {"int_values_canonical_value_is_canonical": row(value_found="Series A", row_count=1)}),
    "a key waits twice in the queue": (
        again("trueup_audit.audit_unmapped_values", f"text_key = {QUEUED}"),
        {"audit_unmapped_values_one_row_per_key": rows(
            f"select 'stage' as vocabulary, {QUEUED} as text_key, 2 as row_count")}),
    "a tenant is covered twice": (
        unprotected(COVERAGE, "coverage_key")
        + again(COVERAGE, "coverage_key = 'fund_baselines.stage_distribution/1'"),
        {"fct_stage_coverage_one_row_per_column_and_tenant": twice(
            "coverage_key", "'fund_baselines.stage_distribution/1'")}),
    "a row is counted under two resolutions": (
        f"update {COVERAGE} set exact_rows = exact_rows + 1"
        " where coverage_key = 'portfoliocompanies.stage/1';",
        {"fct_stage_coverage_every_row_is_counted_once": row(
            coverage_key="portfoliocompanies.stage/1")}),
    "a third of a column is unknown": (
        f"""
        update {COVERAGE} set exact_rows = 0, canonical_rows = 0, broader_rows = 0, blank_rows = 0,
            ambiguous_rows = 0, out_of_scope_rows = 0, null_rows = row_count - row_count / 3,
            unknown_rows = row_count / 3
        where {UNKNOWN_ROUNDS};
        """,
        {"fct_stage_coverage_unmapped_share_warn": f"""
            select table_name, column_name, sum(row_count) as row_count,
                sum(row_count / 3) as unknown_rows
            from {COVERAGE} where {UNKNOWN_ROUNDS} group by table_name, column_name
        """}),
    "all of a column is unknown": (
        f"""
        update {COVERAGE} set exact_rows = 0, canonical_rows = 0, broader_rows = 0, blank_rows = 0,
            ambiguous_rows = 0, out_of_scope_rows = 0, null_rows = 0, unknown_rows = row_count
        where {UNKNOWN_DEALS};
        """,
        dict.fromkeys(
            (
                "fct_stage_coverage_unmapped_share_warn",
                "fct_stage_coverage_unmapped_share_error",
            ),
            f"""
                select table_name, column_name, sum(row_count) as row_count,
                    sum(row_count) as unknown_rows
                from {COVERAGE} where {UNKNOWN_DEALS} group by table_name, column_name
            """,
        )),
}  # fmt: skip


def company(column: str, resolution: str) -> str:
    """A subquery: the first company whose column is resolved so."""
    return first(COMPANIES, "company_id", f"{column}_resolution = '{resolution}'")


def deal(resolution: str) -> str:
    """A subquery: the first deal that is resolved so."""
    return first(DEALS, "deal_id", f"stage_resolution = '{resolution}'")


def investment(resolution: str) -> str:
    """A subquery: the first investment that is resolved so."""
    return first(ROUNDS, "investment_id", f"round_resolution = '{resolution}'")


def multiplied(mart: str, key: str, of: str, found: str) -> Faults:
    """A join that makes two rows of one. of: what the tests call a row."""
    name = mart.partition(".")[2]
    labels = f"{name.removesuffix('s')}_labels"
    return {f"a join has multiplied a row of {name}": (
        unprotected(mart, key) + again(mart, f"{key} = {found}"),
        {
            f"{name}_one_row_per_{of}": twice(key, found),
            f"{labels}_one_row_per_{of}": twice(key, found),
            f"{name}_no_fan_out": f"select {found} as row_key, 1 as rows_before, 2 as rows_after",
        },
    )}  # fmt: skip


def integrity(place: str, found: str, lost: int, invented: int) -> dict[str, str]:
    """What the integrity test stores about the column and the row's tenant."""
    table, column = place.split(".")
    mart, key = {
        "portfoliocompanies": (COMPANIES, "company_id"),
        "deal_opportunities": (DEALS, "deal_id"),
        "investments": (ROUNDS, "investment_id"),
    }[table]
    return {"audit_null_integrity_nothing_lost_or_invented": f"""
        select '{table}' as table_name, '{column}' as column_name, fund_id::text as tenant,
            {lost} as values_lost, {invented} as values_invented
        from {mart} where {key} = {found}
    """}  # fmt: skip


MARTS: Faults = {
    **multiplied(COMPANIES, "company_id", "company", company("stage", "ambiguous")),
    **multiplied(DEALS, "deal_id", "deal", deal("ambiguous")),
    **multiplied(ROUNDS, "investment_id", "investment", investment("ambiguous")),
    "a company shows a label as its stage": (
        f"update {COMPANIES} set stage = 'Series A'"
        f" where company_id = {company('stage', 'exact')};",
        {"fct_portfolio_company_stages_stage_is_canonical": row(
            value_found="Series A", row_count=1)}),
    "a company shows a canonical stage in upper case": (
        f"update {COMPANIES} set current_stage = 'SEED'"
        f" where company_id = {company('current_stage', 'exact')};",
        {"fct_portfolio_company_stages_current_stage_is_canonical": row(
            value_found="SEED", row_count=1)}),
    "deals show a stage of no list": (
        f"update {DEALS} set stage = 'series-q' where stage_resolution = 'broader';",
        {"fct_deal_stages_stage_is_canonical": f"""
            select 'series-q' as value_found, count(*) as row_count from {DEALS}
            where stage_resolution = 'broader'
        """}),
    "an investment shows a blank round": (
        f"update {ROUNDS} set round = '' where investment_id = {investment('exact')};",
        {"fct_investment_rounds_round_is_canonical": row(value_found="", row_count=1)}),
    "an allocation shows a label as its stage": (
        f"update {ALLOCATIONS} set stage = 'Seed'"
        f" where allocation_key = {first(ALLOCATIONS, 'allocation_key')};",
        {"fct_stage_allocations_stage_is_canonical": row(value_found="Seed", row_count=1)}),
    "a stage stands twice in an allocation": (
        unprotected(ALLOCATIONS, "allocation_key")
        + again(ALLOCATIONS, f"allocation_key = (select max(allocation_key) from {ALLOCATIONS})"),
        {"fct_stage_allocations_one_row_per_owner_and_stage": twice(
            "allocation_key", f"(select max(allocation_key) from {ALLOCATIONS})")}),
    "a resolved value is not shown": (
        f"update {COMPANIES} set stage = null where company_id = {company('stage', 'canonical')};",
        integrity("portfoliocompanies.stage", company("stage", "canonical"), 1, 0)),
    "a raw value has become NULL": (
        f"update {COMPANIES} set current_stage_raw = null"
        f" where company_id = {company('current_stage', 'unknown')};",
        integrity("portfoliocompanies.current_stage", company("current_stage", "unknown"), 1, 0)),
    "a raw value has become blank": (
        f"update {DEALS} set stage_raw = ' ' where deal_id = {deal('out_of_scope')};",
        integrity("deal_opportunities.stage", deal("out_of_scope"), 0, 0)),
    "a round is shown where the application has none": (
        f"update {ROUNDS} set round = 'seed' where investment_id = {investment('null')};",
        integrity("investments.round", investment("null"), 0, 1)),
    "a company is missing": (
        f"delete from {COMPANIES} where company_id = {company('stage', 'broader')};",
        {"audit_row_counts_source_equals_mart": f"""
            select 'portfoliocompanies' as table_name, fund_id::text as tenant,
                1 as rows_missing, 0 as rows_extra
            from {COMPANIES} where company_id = {company("stage", "broader")}
        """}),
    "a deal has outlived its row in the application": (
        f"delete from public.deal_opportunities where id = {deal('unknown')};",
        {"audit_row_counts_source_equals_mart": f"""
            select 'deal_opportunities' as table_name, fund_id::text as tenant,
                0 as rows_missing, 1 as rows_extra
            from {DEALS} where deal_id = {deal("unknown")}
        """}),
}  # fmt: skip

VALUES_TEST = "audit_null_integrity_values_are_the_sources"

VALUE_FAULTS: Faults = {
    "a deal shows another value than the application, resolved correctly": (
        f"update {DEALS} set stage_raw = 'Series B', stage = 'series-b', stage_resolution = 'exact'"
        f" where deal_id = {deal('canonical')} and stage <> 'series-b';",
        {"audit_null_integrity_values_are_the_sources": f"""
            select 'deal_opportunities' as table_name, fund_id::text as tenant,
                1 as values_changed, 0 as values_misread
            from {DEALS} where deal_id = {deal("canonical")}
        """}),
    "an investment shows the right value with another meaning": (
        f"update {ROUNDS} set round = 'pre-seed' where investment_id = {investment('broader')};",
        {"audit_null_integrity_values_are_the_sources": f"""
            select 'investments' as table_name, fund_id::text as tenant,
                0 as values_changed, 1 as values_misread
            from {ROUNDS} where investment_id = {investment("broader")}
        """}),
    "a company stands with no fund although it has one": (
        f"update {COMPANIES} set fund_id = null where company_id = {company('stage', 'exact')};",
        {"audit_row_counts_source_equals_mart": f"""
            select 'portfoliocompanies' as table_name, fund_id::text as tenant,
                1 as rows_missing, 0 as rows_extra, 0 as rows_stale
            from {COMPANIES} where company_id = {company("stage", "exact")}
            union all
            select 'portfoliocompanies', null, 0, 1, 0
        """}),
    "a deal stands as it was long ago": (
        f"update {DEALS} set updated_at = '2001-01-01' where deal_id = {deal('unknown')};",
        {"audit_row_counts_source_equals_mart": f"""
            select 'deal_opportunities' as table_name, fund_id::text as tenant,
                0 as rows_missing, 0 as rows_extra, 1 as rows_stale
            from {DEALS} where deal_id = {deal("unknown")}
        """}),
}  # fmt: skip

PLAIN_COMPANY = first(
    "public.portfoliocompanies", "id", f"{is_plain('stage')} and current_stage is null"
)
PLAIN_DEAL = first("public.deal_opportunities", "id", is_plain("stage"))
PLAIN_INVESTMENT = "(select max(id) from public.investments where round is null)"
STRATEGY = "(select id from public.fund_strategy_models order by id limit 1)"
BASELINE = "(select id from public.fund_baselines order by id limit 1)"


def repeated_row(table: str, key: str, columns: tuple[str, ...]) -> Faults:
    """An application table with two rows of one key (a value that nobody would change)."""
    return {f"{table} has a key twice": (
        f"alter table public.{table} drop constraint {table}_pkey cascade;"
        + again(f"public.{table}", f"id = {key}"),
        {
            f"stg_app__{table}_one_row_per_id": twice("id", key),
            "int_value_observations_one_row_per_cell": rows(
                *(
                    f"select '{table}' as table_name, '{column}' as column_name,"
                    f" {key}::text as row_key, 2 as row_count"
                    for column in columns
                )
            ),
        },
    )}  # fmt: skip


def repeated_document(table: str, key: str, column: str) -> Faults:
    """The same for a table of documents: every name in the document stands twice."""
    return {f"{table} has a key twice": (
        f"alter table public.{table} drop constraint {table}_pkey cascade;"
        + again(f"public.{table}", f"id = {key}"),
        {
            f"stg_app__{table}_one_row_per_id": twice("id", key),
            "int_stage_weights_one_row_per_name": f"""
                select owner_table, owner_key, stage_name, 2 as row_count
                from trueup_intermediate.int_stage_weights
                where owner_table = '{table}' and owner_key = {key}::text
            """,
        },
    )}  # fmt: skip


APPLICATION: Faults = {
    **repeated_row("portfoliocompanies", PLAIN_COMPANY, ("stage", "current_stage")),
    **repeated_row("deal_opportunities", PLAIN_DEAL, ("stage",)),
    **repeated_row("investments", PLAIN_INVESTMENT, ("round",)),
    **repeated_document("fund_strategy_models", STRATEGY, "stage_allocation"),
    **repeated_document("fund_baselines", BASELINE, "stage_distribution"),
    "a change would lead to a label": (
        f"update {KEYS} set accepted_value = 'Seed' where alias_key = 'seed';",
        {"audit_pending_changes_value_after_is_canonical": f"""
            select 'Seed' as value_found, count(*) as row_count
            from trueup_intermediate.int_value_observations
            inner join {VALUES} using (vocabulary, raw_value)
            where matched_alias = 'seed' and raw_value <> 'Seed'
        """}),
}  # fmt: skip

CELL = "row_key = '1' and column_name = 'stage' and table_name = 'portfoliocompanies'"


def repeated_tenant(view: str, test: str, columns: str) -> Faults:
    """An audit view that shows rows of no tenant twice."""
    condition = "table_name = 'deal_opportunities' and tenant is null"
    return {f"{view} shows a tenant twice": (
        with_row(f"trueup_audit.{view}", f"select * from sound where {condition}"),
        {test: f"select {columns}, 2 as row_count from trueup_audit.{view} where {condition}"},
    )}  # fmt: skip


def repeated_label(mart: str, key: str, of: str) -> Faults:
    """A view of labels that shows a row twice."""
    view = f"{mart.removesuffix('s')}_labels"
    return {f"{view} shows a row twice": (
        with_row(view, f"select * from sound where {key} = 1"),
        {f"{view.partition('.')[2]}_one_row_per_{of}": twice(key, "1")},
    )}  # fmt: skip


VIEWS: Faults = {
    **repeated_label(COMPANIES, "company_id", "company"),
    **repeated_label(DEALS, "deal_id", "deal"),
    **repeated_label(ROUNDS, "investment_id", "investment"),
    **repeated_tenant(
        "audit_row_counts",
        "audit_row_counts_one_row_per_table_and_tenant",
        "table_name, mart_name, tenant",
    ),
    **repeated_tenant(
        "audit_null_integrity",
        "audit_null_integrity_one_row_per_column_and_tenant",
        "table_name, column_name, tenant",
    ),
    "a cell is observed twice": (
        with_row("trueup_intermediate.int_value_observations", f"select * from sound where {CELL}"),
        {"int_value_observations_one_row_per_cell": row(
            table_name="portfoliocompanies", column_name="stage", row_key="1", row_count=2)}),
    "a weight belongs to no row": (
        with_row(
            "trueup_intermediate.int_stage_weights",
            "select 'fund_baselines', 'stage_distribution', 'stage', null, '1', 'Seed', 1, null",
        ),
        {"int_stage_weights_one_row_per_name": row(
            owner_table="fund_baselines", owner_key=None, stage_name="Seed", row_count=1)}),
    "a cell would be changed twice, once to nothing": (
        with_row(
            PENDING,
            "select table_name, column_name, vocabulary, row_key, tenant, value_before, null,"
            " resolution, matched_alias from sound order by row_key, column_name limit 1",
        ),
        {
            "audit_pending_changes_one_row_per_cell": f"""
                select table_name, column_name, row_key, 2 as row_count
                from {PENDING} order by row_key, column_name limit 1
            """,
            "audit_pending_changes_value_after_is_there": f"""
                select table_name, column_name, row_key, null as value_after
                from {PENDING} order by row_key, column_name limit 1
            """,
        }),
}  # fmt: skip

# Faults of one group do not touch each other's rows, so that one run of the tests finds them all.
GROUPS: dict[str, Faults] = {
    "seeds, views and values": {**STAGE_FAULTS, **ALIAS_FAULTS, **VIEWS, **VALUE_FAULTS},
    "application, intermediate and marts": {**APPLICATION, **INTERMEDIATE, **MARTS},
}

FAILED, WARNED, BROKEN = "fail", "warn", "error"  # statuses of dbt
WEIGHTS_TEST = "fct_stage_allocations_weights_sum_to_one"
TRY_TEST = "stg_try__rows_one_row_per_record"


LEDGER = "trueup_ledger"
CHANGED = f"{LEDGER}.stage_normalization_log"
DOCUMENT = "(select id from public.fund_baselines order by id limit 1)"
# a value of a row that was changed, on its way back to what it was
SPOILT = """
    select row_id::bigint, stage_before from trueup_ledger.stage_normalization_log
    where table_name = 'portfoliocompanies' and column_name = 'stage' order by 1 limit 1
"""

# Of a check of `trueup verify`: what makes its data test fail or warn, its status then, and a query
# that gives a text which a row that it stores must contain. Asked before anything is planted.
VERIFICATION_FAULTS = {
    "batch_tracking": (
        f"update {LEDGER}.stage_migration_batches set status = 'failed' where batch_id = 1;",
        FAILED, "select 'batch 1'",
    ),
    # audited as changed in one column only, it is no row that was written since the plan
    "canonical_values": (
        f"with spoilt as ({SPOILT}), cut as (update {LEDGER}.stage_normalization_changes as changes"
        " set row_keys = array_replace(row_keys, spoilt.row_id::text, '0')"
        f" from spoilt, {LEDGER}.stage_migration_batches as batches"
        " where changes.batch_id = batches.batch_id and batches.table_name = 'portfoliocompanies'"
        " and batches.column_name = 'stage' returning 1)"
        " update public.portfoliocompanies set stage = spoilt.stage_before from spoilt"
        " where id = spoilt.row_id;",
        FAILED, f"select stage_before from ({SPOILT}) as spoilt",
    ),
    "null_integrity": (
        "update public.portfoliocompanies set current_stage = null where id = (select"
        f" min(row_id::bigint) from {CHANGED} where column_name = 'current_stage');",
        FAILED, f"select 'row ' || min(row_id::bigint) from {CHANGED} where"
        " column_name = 'current_stage'",
    ),
    "row_counts": (
        "delete from public.investments where id = 1;",
        WARNED, "select 'investments.round'",
    ),
    "audit_consistency": (
        f"update {LEDGER}.stage_normalization_changes set map_ids[1] = map_ids[1] + 1"
        f" where batch_id = (select max(batch_id) from {CHANGED});",
        FAILED, f"select 'batch ' || max(batch_id) from {CHANGED}",
    ),
    "weight_sums": (
        f"update public.fund_baselines set stage_distribution = '{{\"seed\": 2}}'"
        f" where id = {DOCUMENT};",
        FAILED, f"select {DOCUMENT}::text",
    ),
    "other_columns_untouched": (
        f"update {LEDGER}.stage_normalization_changes set others_changed = row_keys[1:1]"
        f" where batch_id = (select min(batch_id) from {CHANGED});",
        FAILED, f"select 'in batch ' || min(batch_id) from {CHANGED}",
    ),
    "models_agree": (
        f"update {DEALS} set stage = 'series-q' where deal_id = {deal('canonical')};",
        FAILED, f"select 'deal_opportunities.stage, row ' || {deal('canonical')}",
    ),
}  # fmt: skip
# What they find is for people to read; all they can do is fail to be read.
VERIFICATION_FACTS = ("sample_inspection", "per_fund_breakdown")
VERIFICATION_TESTS = {
    f"verification_{check}" for check in (*VERIFICATION_FAULTS, *VERIFICATION_FACTS)
}


@pytest.fixture
def fresh(shared_built: App) -> App:
    """The built database anew; the project is the module's, so that it is parsed once."""
    drop_database(shared_built.database)
    create_database(shared_built.database, "built_template")
    return shared_built


def ask(app: App, query: str) -> tuple[tuple[str, ...], set[tuple[str, ...]]]:
    """Column names, and the rows as texts."""
    with app.connect() as connection:
        cursor = connection.execute(query.encode())
        assert cursor.description is not None
        names = tuple(column.name for column in cursor.description)
        return names, {tuple(map(str, found)) for found in cursor}


def statuses(app: App, target: str = "target") -> dict[str, str]:
    """What the last run says of each test: pass, warn, fail or error."""
    results = json.loads((app.settings.state / target / "run_results.json").read_text())["results"]
    return {
        result["unique_id"].split(".")[2]: result["status"]
        for result in results
        if result["unique_id"].startswith("test.")
    }


def stored(app: App, test: str, columns: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The rows that a test has stored, as texts."""
    return ask(app, f"select {', '.join(columns)} from trueup_test_failures.{test}")[1]


@pytest.mark.parametrize("group", GROUPS)
def test_every_fault_is_found_by_its_tests_and_no_others(fresh: App, group: str) -> None:
    expected: dict[str, dict[tuple[str, ...], set[tuple[str, ...]]]] = {}
    for what, (_, by_test) in GROUPS[group].items():
        for test, query in by_test.items():
            columns, found = ask(fresh, query)
            assert found, f"{what}: the sound database has no row to spoil for {test}"
            of_test = expected.setdefault(test, {})
            of_test[columns] = of_test.get(columns, set()) | found
    for plant, _ in GROUPS[group].values():
        fresh.query(plant)

    fresh.dbt("test", "--select", "test_type:data")

    found_by = statuses(fresh)
    noticed = {test: status for test, status in found_by.items() if status != "pass"}
    if VALUES_TEST not in expected:
        noticed.pop(VALUES_TEST, None)  # most faults in a mart or its meanings are changed values
    assert noticed == {test: WARNED if test.endswith("_warn") else FAILED for test in expected}
    assert len(found_by) >= 60
    for test, by_columns in expected.items():
        ((columns, found),) = by_columns.items()
        assert stored(fresh, test, columns) == found, test


def test_every_kind_of_wrong_weight_is_found(fresh: App) -> None:
    documents = {
        "no weights": "{}",
        "a weight is not a number": '{"seed": 0.5, "Series A": "NaN", "series-b": 0.5}',
        "a weight is negative": '{"seed": -0.5, "series-a": 1.5}',
        "all weights are zero": '{"seed": 0, "series-a": 0.0}',
        "weights do not sum to 1": '{"seed": 0.4, "Seed": 0.3, "series-a": 0.300002}',
    }
    keys = [
        key
        for (key,) in fresh.query(
            "select id::text from public.fund_strategy_models order by id limit %s", len(documents)
        )
    ]
    for key, document in zip(keys, documents.values(), strict=True):
        fresh.query(
            "update public.fund_strategy_models set stage_allocation = %s where id = %s::uuid",
            document, key,
        )  # fmt: skip

    outcome = fresh.dbt("build", "--select", "fct_stage_allocations")

    assert [failure.name for failure in outcome.failures] == [WEIGHTS_TEST]
    _, found = ask(
        fresh,
        f"select distinct owner_key, owner_weight_issue from trueup_test_failures.{WEIGHTS_TEST}",
    )
    assert found == set(zip(keys, documents, strict=True))


def verified(app: App) -> dict[str, str]:
    """What the data tests of the checks say, by check."""
    app.dbt("test", "--select", "tag:verification")
    found = statuses(app)
    assert found.keys() == VERIFICATION_TESTS
    return {test.removeprefix("verification_"): status for test, status in found.items()}


def test_every_check_of_a_migration_passes_warns_and_fails(fresh: App) -> None:
    made = migration.make_plan(fresh)
    assert set(verified(fresh).values()) == {"pass"}  # none that has come to its end
    assert migration.apply(fresh, made).status == "completed"
    found = verified(fresh)
    assert found.pop("canonical_values") == WARNED  # what the plan listed as unknown
    assert set(found.values()) == {"pass"}
    assert stored(fresh, "verification_canonical_values", ("distinct status",)) == {("warn",)}

    expected = {check: ask(fresh, query)[1] for check, (_, _, query) in VERIFICATION_FAULTS.items()}
    for plant, _, _ in VERIFICATION_FAULTS.values():
        fresh.query(plant)
    found = verified(fresh)
    assert {check: found.pop(check) for check in VERIFICATION_FACTS} == {
        "sample_inspection": "pass", "per_fund_breakdown": "pass",
    }  # fmt: skip
    assert found == {check: status for check, (_, status, _) in VERIFICATION_FAULTS.items()}
    for check, texts in expected.items():
        (((text,),),) = (texts,)
        rows = stored(fresh, f"verification_{check}", ("status", "message"))
        assert any(text in message for _, message in rows), (check, text, rows)

    fresh.query("alter table public.investments rename column round to round_of_it")
    found = verified(fresh)
    assert {found[check] for check in VERIFICATION_FACTS} == {BROKEN}


def test_every_data_test_has_a_planted_fault(built: App) -> None:
    """A new data test without a fault in this file is not known to be able to fail."""
    tests = known_tests(built, "parse")
    built.query("create table public.try_rows (row_number bigint, value text)")
    built.query("insert into public.try_rows values (1, 'Seed'), (2, 'Seed'), (2, 'Series A')")
    tried = {**try_csv.VARIABLES, "managed_columns": [{**try_csv.ENTRY, "vocabulary": "stage"}]}
    tests |= known_tests(built, "build", "--select", "stg_try__rows", variables=tried)
    assert statuses(built) == {TRY_TEST: FAILED}
    assert stored(built, TRY_TEST, ("row_number", "row_count")) == {("2", "2")}

    found = {test for group in GROUPS.values() for _, by_test in group.values() for test in by_test}
    assert tests == found | VERIFICATION_TESTS | {WEIGHTS_TEST, TRY_TEST}


def known_tests(app: App, *arguments: str, variables: dict[str, Any] | None = None) -> set[str]:
    """The data tests that dbt knows when it runs this command."""
    app.dbt(*arguments, variables=variables)
    manifest = json.loads((app.settings.state / "target" / "manifest.json").read_text())
    nodes = manifest["nodes"].values()
    return {node["name"] for node in nodes if node["resource_type"] == "test"}
