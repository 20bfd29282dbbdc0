"""Full, incremental, alias-change and no-change runs, and what each of them writes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from integration.conftest import App

MARTS = {
    "fct_portfolio_company_stages": "company_id",
    "fct_deal_stages": "deal_id",
    "fct_investment_rounds": "investment_id",
    "fct_stage_allocations": "allocation_key",
    "fct_stage_coverage": "coverage_key",
    "dim_stages": "stage",
    "dim_vocabularies": "vocabulary",
}


def versions(app: App) -> dict[str, dict[Any, Any]]:
    """Per mart and key the row version: a row that a run writes gets another one."""
    return {
        mart: dict(app.query(f"select {key}, (xmin, ctid)::text from trueup.{mart}"))
        for mart, key in MARTS.items()
    }


def written(
    before: dict[str, dict[Any, Any]], after: dict[str, dict[Any, Any]]
) -> dict[str, set[Any]]:
    """Keys whose row was inserted, updated or deleted, per mart that has any."""
    changed = {
        mart: {
            key
            for key in before[mart] | after[mart]
            if before[mart].get(key) != after[mart].get(key)
        }
        for mart in MARTS
    }
    return {mart: keys for mart, keys in changed.items() if keys}


def contents(app: App) -> dict[str, Any]:
    return {
        mart: app.query(
            f"select md5(string_agg(m::text, '|' order by {key}::text)) from trueup.{mart} m"
        )
        for mart, key in MARTS.items()
    }


def build(app: App, *options: str) -> None:
    """Everything but the tests, which other modules are about."""
    outcome = app.dbt(
        "build", "--exclude", "resource_type:test", "resource_type:unit_test", *options
    )
    assert outcome.failures == []


def add_alias(project: Path, alias_text: str, canonical_value: str, match_type: str) -> None:
    with (project / "seeds" / "stage_aliases.csv").open("a", newline="") as file:
        row = [alias_text, canonical_value, match_type, "test", "2026-11-20", "test"]
        csv.writer(file, lineterminator="\n").writerow(row)


def test_no_change_writes_no_row(built: App) -> None:
    before = versions(built)
    build(built)
    assert written(before, versions(built)) == {}


def test_an_alias_resolves_exactly_the_rows_with_its_spelling(built: App) -> None:
    # the generator knows which rows it wrote from which spelling
    carriers: dict[str, set[Any]] = {
        "portfoliocompanies": set(), "deal_opportunities": set(), "investments": set()
    }  # fmt: skip
    for table, key in built.query("""
        select truth.table_name, truth.row_key::bigint
        from trueup_sample.truth
        inner join trueup_sample.spellings on truth.raw_value = spellings.raw_value
        where spellings.base_spelling = 'see notes'
    """):
        carriers.setdefault(table, set()).add(key)
    before = versions(built)
    add_alias(built.project, "See Notes", "seed", "exact")
    build(built)
    changed = written(before, versions(built))
    assert changed["fct_portfolio_company_stages"] == carriers["portfoliocompanies"]
    assert changed.get("fct_deal_stages", set()) == carriers["deal_opportunities"]
    assert changed.get("fct_investment_rounds", set()) == carriers["investments"]
    assert carriers["portfoliocompanies"], "the sample has companies with the spelling"
    assert changed["dim_vocabularies"] == {"stage"}
    pending = built.query("""
        select count(distinct row_key) from trueup_audit.audit_pending_changes
        where matched_alias = 'See Notes' and table_name = 'portfoliocompanies'
    """)
    assert pending == [(len(carriers["portfoliocompanies"]),)]

    # and back: the alias is withdrawn
    aliases = built.project / "seeds" / "stage_aliases.csv"
    line = "See Notes,seed,exact,test,2026-11-20,test\n"
    aliases.write_text(aliases.read_text().replace(line, ""))
    build(built)
    resolved = built.query("""
        select count(*) from trueup.fct_portfolio_company_stages
        inner join trueup_sample.spellings on raw_value in (stage_raw, current_stage_raw)
        where base_spelling = 'see notes' and (
            (raw_value = stage_raw and stage_resolution <> 'unknown')
            or (raw_value = current_stage_raw and current_stage_resolution <> 'unknown')
        )
    """)
    assert resolved == [(0,)]


def test_changes_of_the_source_arrive_and_nothing_else_is_written(built: App) -> None:
    before = versions(built)
    edited, deleted, *_ = (
        key for (key,) in built.query("select id from deal_opportunities order by id limit 2")
    )
    built.query("update deal_opportunities set stage = 'Serie B' where id = %s", edited)
    built.query("delete from deal_opportunities where id = %s", deleted)
    # a new row that claims to be old: its updated_at lies far behind what the mart has seen
    ((inserted,),) = built.query("""
        insert into deal_opportunities (fund_id, company_name, stage, updated_at)
        values (null, 'Late', 'A轮', '2001-01-01') returning id
    """)
    build(built)
    changed = written(before, versions(built))
    assert changed.pop("fct_deal_stages") == {edited, deleted, inserted}
    assert set(changed) <= {"fct_stage_coverage"}
    shown = built.query(
        "select deal_id, fund_id, stage_raw, stage, stage_resolution from trueup.fct_deal_stages "
        "where deal_id = any(%s) order by deal_id",
        [edited, deleted, inserted],
    )
    assert [row[0] for row in shown] == [edited, inserted]
    assert shown[0][2:] == ("Serie B", "series-b", "exact")
    assert shown[1] == (inserted, None, "A轮", "series-a", "exact")
    incremental = contents(built)
    build(built, "--full-refresh")
    assert contents(built) == incremental, "an incremental mart equals the same built anew"


def test_a_transaction_that_commits_late_is_picked_up(built: App) -> None:
    """Its updated_at is older than what the mart has seen, but within the look-back."""
    with built.connect() as late:
        late.autocommit = False
        late.execute("update investments set round = 'Series  A' where id = 1")
        built.query("update investments set round = 'Series B' where id = 2")
        build(built)
        late.commit()
    build(built)
    rows = built.query(
        "select round_raw, round from trueup.fct_investment_rounds"
        " where investment_id in (1, 2) order by 1"
    )
    assert rows == [("Series  A", "series-a"), ("Series B", "series-b")]


def test_snapshots_keep_every_state_the_runs_have_seen(built: App) -> None:
    built.query("update portfoliocompanies set stage = 'Series B' where id = 10")
    build(built)
    built.query("delete from investments where company_id = 10")
    built.query("delete from portfoliocompanies where id = 10")
    build(built)
    states = built.query("""
        select stage, dbt_valid_to is null, dbt_is_deleted
        from trueup_snapshots.snap_app__portfoliocompanies where id = 10 order by dbt_valid_from
    """)
    assert [(stage, deleted) for stage, _, deleted in states[1:]] == [
        ("Series B", "False"),
        ("Series B", "True"),
    ]
    assert [current for _, current, _ in states] == [False, False, True]


def test_an_empty_first_build_is_followed_by_a_complete_one(app: App) -> None:
    for _ in ("first", "later"):
        assert app.dbt("build", "--empty").failures == []
        assert app.query("select count(*) from trueup.fct_deal_stages") == [(0,)]
    build(app)
    assert app.query("select count(*) from trueup.fct_deal_stages") == [(600,)]


def test_counts_and_nulls_are_those_of_the_source_per_tenant(shared_built: App) -> None:
    pairs = {
        "portfoliocompanies": ("fct_portfolio_company_stages", ("stage", "current_stage")),
        "deal_opportunities": ("fct_deal_stages", ("stage",)),
        "investments": ("fct_investment_rounds", ("round",)),
    }
    for table, (mart, columns) in pairs.items():
        nulls = ", ".join(f"count(*) filter (where {column} is null)" for column in columns)
        raw_nulls = ", ".join(f"count(*) filter (where {column}_raw is null)" for column in columns)
        source = shared_built.query(
            f"select fund_id, count(*), {nulls} from {table} group by 1 order by 1"
        )
        shown = shared_built.query(
            f"select fund_id, count(*), {raw_nulls} from trueup.{mart} group by 1 order by 1"
        )
        assert source == shown
        assert None in {fund for fund, *_ in source}, "the sample has rows of no fund"


def test_a_narrower_term_stays_unresolved_where_broader_is_not_accepted(built: App) -> None:
    path = built.project / "dbt_project.yml"
    path.write_text(path.read_text().replace("accept_broader: true", "accept_broader: false"))
    build(built)
    rows = built.query("""
        select distinct stage_resolution, stage from trueup.fct_deal_stages
        where stage_raw = 'Series D'
    """)
    assert rows == [("broader", None)]
    assert built.query(
        "select count(*) from trueup_audit.audit_pending_changes where resolution = 'broader'"
    ) == [(0,)]


def test_a_managed_column_of_a_known_table_is_one_entry(built: App) -> None:
    path = built.project / "dbt_project.yml"
    entry = (
        "    - {table: deal_opportunities, column: company_name, key: {id: bigint},"
        " tenant: fund_id, vocabulary: stage}\n"
    )
    text = path.read_text()
    path.write_text(text.replace("  managed_columns: []\n", "  managed_columns:\n" + entry))
    outcome = built.dbt("build")
    # nearly no company is named after a stage, and the error threshold says so
    assert [failure.name for failure in outcome.failures] == [
        "fct_stage_coverage_unmapped_share_error"
    ]
    counted = built.query("""
        select sum(row_count) from trueup_intermediate.int_value_counts
        where column_name = 'company_name'
    """)
    assert counted == [(600,)]


def test_a_vocabulary_is_two_seeds_and_one_entry(built: App) -> None:
    seeds = built.project / "seeds"
    (seeds / "sectors.csv").write_text(
        "canonical_value,label,sort_rank,description\n"
        "fintech,Financial technology,0,Money\nhealth,Health,1,Medicine\n"
    )
    (seeds / "sector_aliases.csv").write_text(
        "alias_text,canonical_value,match_type,added_by,added_on,reason\n"
        "Fin Tech,fintech,exact,test,2026-11-20,test\n"
    )
    built.query("""
        update portfoliocompanies
        set sector = (
            array['FIN-TECH sector', 'Health', 'seed', 'Financial  technology']
        )[1 + id % 4]
    """)
    path = built.project / "dbt_project.yml"
    entry = (
        "    - {table: portfoliocompanies, column: sector, key: {id: bigint}, tenant: fund_id,"
        " vocabulary: sector}\n"
    )
    vocabulary = (
        "    sector: {canonical_seed: sectors, alias_seed: sector_aliases, noise_words: [sector]}\n"
    )
    text = path.read_text()
    text = text.replace("  managed_columns: []\n", "  managed_columns:\n" + entry)
    path.write_text(text.replace("  vocabularies:\n", "  vocabularies:\n" + vocabulary))
    staging = built.project / "models" / "staging" / "sample" / "stg_app__portfoliocompanies"
    for suffix, before, line in (
        (".sql", "        source_rows.row_version,", "        source_rows.sector,"),
        (".yml", "      - {name: row_version", "      - {name: sector, description: Sector.}"),
    ):
        file = staging.with_suffix(suffix)
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, f"{line}\n{before}"))
    build(built)
    meanings = built.query("""
        select raw_value, resolution, canonical_value from trueup_intermediate.int_values
        where vocabulary = 'sector' order by raw_value
    """)
    assert meanings == [
        ("FIN-TECH sector", "exact", "fintech"),
        ("Financial  technology", "exact", "fintech"),
        ("Health", "exact", "health"),
        # a stage is not a sector
        ("seed", "unknown", None),
    ]
    versions_found = built.query("select vocabulary from trueup.dim_vocabularies order by 1")
    assert versions_found == [("sector",), ("stage",)]


def test_changes_arrive_whatever_updated_at_says(built: App) -> None:
    """A clock in the future, a load with triggers disabled, a row that moves to another tenant."""
    built.query("""
        insert into deal_opportunities (fund_id, company_name, stage, updated_at)
        values (1, 'From the future', 'Seed', '2099-01-01')
    """)
    build(built)
    built.query("update deal_opportunities set stage = 'Serie B', fund_id = null where id = 5")
    built.query("""
        alter table investments disable trigger user;
        update investments set round = 'Serie C' where id = 7;
        alter table investments enable trigger user
    """)
    build(built)
    assert built.query(
        "select fund_id, stage_raw, stage from trueup.fct_deal_stages where deal_id = 5"
    ) == [(None, "Serie B", "series-b")]
    assert built.query(
        "select round_raw, round from trueup.fct_investment_rounds where investment_id = 7"
    ) == [("Serie C", "series-c")]


def test_a_name_longer_than_an_index_entry_does_not_stop_the_build(built: App) -> None:
    built.query("""
        update fund_baselines set stage_distribution = jsonb_build_object(
            (select string_agg(md5(n::text), '') from generate_series(1, 400) n), 1
        ) where id = (select id from fund_baselines order by id limit 1)
    """)
    build(built)
    flagged = built.query("""
        select weight, owner_has_unresolved_name from trueup.fct_stage_allocations
        where char_length(stage_names) > 9000
    """)
    assert [(float(weight), unresolved) for weight, unresolved in flagged] == [(1.0, True)]


def test_the_version_changes_with_everything_that_changes_meanings(built: App) -> None:
    def version() -> str:
        ((found,),) = built.query("select vocabulary_version from trueup.dim_vocabularies")
        return str(found)

    path = built.project / "dbt_project.yml"
    original = path.read_text()
    versions_seen = {version()}
    for before, after in (
        ("accept_broader: true", "accept_broader: false"),
        ("[round, ", "[tour, round, "),
    ):
        assert before in original
        path.write_text(original.replace(before, after))
        outcome = built.dbt("run", "--select", "dim_vocabularies")
        assert outcome.failures == []
        versions_seen.add(version())
    assert len(versions_seen) == 3
