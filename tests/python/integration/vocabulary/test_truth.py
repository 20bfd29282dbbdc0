"""What values mean: the sample's own truth, the truth table, and what holds for any text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.conftest import App
from support import PROOFS

TRUTH = Path(__file__).resolve().parents[2] / "data" / "resolution_truth.json"
RESOLVED = ("canonical", "exact", "broader")

# value → (resolution, canonical value, text key)
Resolver = Callable[[Sequence[str | None]], dict[str | None, tuple[str, str | None, str | None]]]


@pytest.fixture(scope="module")
def resolve(shared_built: App) -> Iterator[Resolver]:
    """The compiled int_values on any values, in a transaction that is rolled back."""
    shared_built.dbt("compile", "--select", "int_values")
    compiled = next((shared_built.settings.state / "target" / "compiled").rglob("int_values.sql"))
    with shared_built.connect() as connection:
        connection.autocommit = False

        def run(values: Sequence[str | None]) -> dict[Any, Any]:
            with connection.transaction(force_rollback=True), connection.cursor() as cursor:
                cursor.execute("truncate trueup_intermediate.int_value_counts")
                cursor.execute(
                    """
                    insert into trueup_intermediate.int_value_counts
                        (vocabulary, raw_value, row_count)
                    select 'stage', given_value, 1
                    from unnest(%s::text[]) as given_values (given_value)
                    """,
                    [list(dict.fromkeys(values))],
                )
                columns = "raw_value, resolution, canonical_value, text_key"
                psycopg.Cursor.execute(
                    cursor,
                    f"select {columns} from ({compiled.read_text()}) as found",
                )
                return {raw: tuple(rest) for raw, *rest in cursor.fetchall()}

        yield run


def test_every_row_of_the_sample_is_resolved_as_its_generator_knows(shared_built: App) -> None:
    wrong = shared_built.query("""
        select
            truth.table_name, truth.column_name, truth.raw_value,
            truth.resolution, found.resolution
        from trueup_sample.truth
        left join trueup_intermediate.int_values as found
            on coalesce('=' || truth.raw_value, '') = coalesce('=' || found.raw_value, '')
        where (truth.resolution, truth.canonical_value)
            is distinct from (found.resolution, found.canonical_value)
    """)
    assert wrong == []
    assert shared_built.query("select count(*) > 5000 from trueup_sample.truth") == [(True,)]


def test_marts_show_the_truth_row_by_row(shared_built: App) -> None:
    wrong = shared_built.query("""
        with shown as (
            select 'portfoliocompanies' as table_name, 'stage' as column_name, company_id as id,
                stage_raw as raw_value, stage as canonical_value,
                stage_resolution as resolution, fund_id
            from trueup.fct_portfolio_company_stages
            union all
            select 'portfoliocompanies', 'current_stage', company_id,
                current_stage_raw, current_stage, current_stage_resolution, fund_id
            from trueup.fct_portfolio_company_stages
            union all
            select 'deal_opportunities', 'stage', deal_id,
                stage_raw, stage, stage_resolution, fund_id
            from trueup.fct_deal_stages
            union all
            select 'investments', 'round', investment_id,
                round_raw, round, round_resolution, fund_id
            from trueup.fct_investment_rounds
        )
        select *
        from trueup_sample.truth
        full join shown
            on truth.table_name = shown.table_name and truth.column_name = shown.column_name
            and truth.row_key = shown.id::text
        where (truth.raw_value, truth.resolution, truth.canonical_value, truth.tenant)
            is distinct from
            (shown.raw_value, shown.resolution, shown.canonical_value, shown.fund_id::text)
    """)
    assert wrong == []


def test_allocations_add_up_the_names_that_mean_one_stage(shared_built: App) -> None:
    wrong = shared_built.query("""
        with expected as (
            select owner_table, owner_id, canonical_value, sum(weight) as weight
            from trueup_sample.weight_truth
            where canonical_value is not null
            group by owner_table, owner_id, canonical_value
        ), shown as (
            select owner_table, owner_key, stage, weight from trueup.fct_stage_allocations
            where stage is not null
        )
        select * from expected
        full join shown on expected.owner_table = shown.owner_table
            and expected.owner_id = shown.owner_key and expected.canonical_value = shown.stage
        where expected.weight is distinct from shown.weight
    """)
    assert wrong == []
    merged = shared_built.query(
        "select count(*) from trueup.fct_stage_allocations where stage_names like '%% | %%'"
    )
    assert merged[0][0] > 0, "the sample has owners with two names of one stage"


def test_an_owner_with_an_unknown_name_is_kept_and_flagged(shared_built: App) -> None:
    expected = shared_built.query("""
        select distinct owner_table, owner_id from trueup_sample.weight_truth
        where canonical_value is null order by 1, 2
    """)
    flagged = shared_built.query("""
        select distinct owner_table, owner_key from trueup.fct_stage_allocations
        where owner_has_unresolved_name order by 1, 2
    """)
    assert flagged == expected != []


def test_truth_table(resolve: Resolver) -> None:
    truth = json.loads(TRUTH.read_text())
    found = resolve([row["raw"] for row in truth])
    wrong = []
    for row in truth:
        resolution, canonical_value, _ = found[row["raw"]]
        allowed = row["resolution"] if isinstance(row["resolution"], list) else [row["resolution"]]
        expected = row["canonical_value"] if resolution in RESOLVED else None
        if resolution not in allowed or canonical_value != expected:
            wrong.append((row, resolution, canonical_value))
    assert not wrong, "\n".join(str(each) for each in wrong)
    assert len(truth) >= 450


def test_canonical_values_resolve_to_themselves(resolve: Resolver, shared_built: App) -> None:
    stages = [stage for (stage,) in shared_built.query("select stage from trueup.dim_stages")]
    assert len(stages) == 6
    for stage, (resolution, canonical_value, _) in resolve(stages).items():
        assert (resolution, canonical_value) == ("canonical", stage)


HOSTILE = [
    "constructor", "__proto__", "'; drop table portfoliocompanies; --", "%s %(x)s {}", "\\",
    "\\\\n", "$1", "NaN", "Infinity", "\x7f", "\ufffd", "\U0010ffff", "\ud7ff", "\u202eSeed",
    "ﷺ" * 300, "a" * 1_000_000,
    " " * 1_000_000, "seed " * 200_000, "\u0301" * 100_000, "/" * 100_000,
    "Seed" + "\n" * 100_000, "-" * 1_000_000,
]  # fmt: skip


def test_no_text_raises(resolve: Resolver) -> None:
    found = resolve(HOSTILE)
    assert len(found) == len(set(HOSTILE))
    assert {v: r for v, (r, *_) in found.items() if r in RESOLVED} == {
        "\u202eSeed": "exact",
        "Seed" + "\n" * 100_000: "exact",
    }
    assert found["-" * 1_000_000][0] == "unknown", "a text with an empty key is not blank"
    assert found[" " * 1_000_000][0] == "blank"


DEEP = settings(
    max_examples=500 if PROOFS else 20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
HABITS: list[Callable[[str], str]] = [
    str.upper, str.lower, str.title, lambda s: f"  {s}\t", lambda s: s.replace(" ", "_"),
    lambda s: s.replace(" ", "\u2013"), lambda s: s.replace(" ", "\u00a0 "), lambda s: f'"{s}"',
    lambda s: s.replace("e", "\u0435"), lambda s: s.replace("e", "e\u0301"), lambda s: f"{s}.",
    lambda s: "\u200b".join(s), lambda s: f"{s} Round", lambda s: f"{s} Funding Round",
]  # fmt: skip


@DEEP
@given(values=st.lists(text, min_size=1, max_size=60))
def test_random_text_gets_exactly_one_resolution(resolve: Resolver, values: list[str]) -> None:
    found = resolve(values)
    assert found.keys() == set(values)
    for resolution, canonical_value, _ in found.values():
        assert (canonical_value is not None) == (resolution in RESOLVED)


@DEEP
@given(habits=st.lists(st.sampled_from(range(len(HABITS))), max_size=4), escaped=st.booleans())
def test_habits_of_typing_do_not_change_the_meaning(
    resolve: Resolver, habits: list[int], escaped: bool
) -> None:
    typed = {}
    for label in ("Pre-Seed", "Seed", "Series A", "Series B", "Series C", "Series C+"):
        spelling = label
        for habit in habits:
            spelling = HABITS[habit](spelling)
        if escaped:  # the export comes last; nothing folds the case of an escape after it
            spelling = spelling.replace(" ", "\\n")
        typed[spelling] = label.lower().replace(" ", "-")
    for raw_value, (_, canonical_value, _) in resolve(list(typed)).items():
        assert canonical_value == typed[str(raw_value)]


def test_two_stages_never_fold_into_one(resolve: Resolver) -> None:
    some = ("Seed", "Series A", "Series B", "Series C", "Angel", "Growth", "Pre-Seed", "Series D")
    between = ("/", ", ", ";", " & ", "|", "、", "\u2044", " and ", " or ", " to ", " > ", "\n/\n")
    lists = [a + sign + b for a in some for b in some if a != b for sign in between]
    found = resolve(lists)
    assert len(found) == len(lists)
    assert {value: stage for value, (_, stage, _) in found.items() if stage is not None} == {}
