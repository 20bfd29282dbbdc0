"""What full, incremental, alias-change and no-change runs write, and what an entry adds."""

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
MODELS = "config.materialized:incremental"
Versions = dict[str, dict[Any, Any]]


def versions(app: App) -> Versions:
    """Per mart and key the row version: a row that a run writes gets another one."""
    return {
        mart: dict(app.query(f"select {key}, (xmin, ctid)::text from trueup.{mart}"))
        for mart, key in MARTS.items()
    }


def written(before: Versions, after: Versions) -> dict[str, set[Any]]:
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
    """Per mart a digest of all its rows."""
    return {
        mart: app.query(
            f"select md5(string_agg(m::text, '|' order by {key}::text)) from trueup.{mart} m"
        )
        for mart, key in MARTS.items()
    }


def build(app: App, *options: str) -> None:
    """Everything but the tests and the ledger, which other modules are about."""
    kinds = ("resource_type:test", "resource_type:unit_test", "tag:ledger")
    assert app.dbt("build", "--exclude", *kinds, *options).failures == []


def written_by_build(app: App) -> dict[str, set[Any]]:
    """Build, and say which rows that wrote."""
    before = versions(app)
    build(app)
    return written(before, versions(app))


def carriers(app: App, base_spelling: str) -> dict[str, set[Any]]:
    """Per mart the keys of the rows that the sample's generator wrote from a spelling."""
    marts = {
        "portfoliocompanies": "fct_portfolio_company_stages",
        "deal_opportunities": "fct_deal_stages",
        "investments": "fct_investment_rounds",
    }
    found: dict[str, set[Any]] = {mart: set() for mart in marts.values()}
    for table, key in app.query(
        """
        select truth.table_name, truth.row_key::bigint
        from trueup_sample.truth
        inner join trueup_sample.spellings on truth.raw_value = spellings.raw_value
        where spellings.base_spelling = %s
        """,
        base_spelling,
    ):
        found[marts[table]].add(key)
    return found


def test_full_incremental_alias_change_and_no_change(built: App) -> None:
    """Every run writes the rows that changed, whatever changed them, and no others."""
    assert written_by_build(built) == {}, "nothing has changed"

    # an alias resolves exactly the rows with its spelling
    spelt = carriers(built, "see notes")
    assert len(spelt["fct_portfolio_company_stages"]) > 1
    aliases = built.project / "seeds" / "stage_aliases.csv"
    decided = aliases.read_text()
    with aliases.open("a", newline="") as file:
        row = ["See Notes", "seed", "exact", "test", "2026-11-20", "test"]
        csv.writer(file, lineterminator="\n").writerow(row)
    changed = written_by_build(built)
    assert {mart: changed.get(mart, set()) for mart in spelt} == spelt
    assert changed["dim_vocabularies"] == {"stage"}
    assert built.query("""
        select count(distinct row_key) from trueup_audit.audit_pending_changes
        where matched_alias = 'See Notes' and table_name = 'portfoliocompanies'
    """) == [(len(spelt["fct_portfolio_company_stages"]),)]

    # The alias is withdrawn. Rows are edited, deleted and inserted; the new ones claim to be older
    # and newer than all that the marts have seen. One transaction is still open.
    aliases.write_text(decided)
    edited, deleted = (key for (key,) in built.query("select min(id) + n from deal_opportunities,"
                       " generate_series(0, 1) as n group by n order by n"))  # fmt: skip
    built.query("update deal_opportunities set stage = 'Serie B' where id = %s", edited)
    built.query("delete from deal_opportunities where id = %s", deleted)
    inserted = {
        key for (key,) in built.query("""
            insert into deal_opportunities (fund_id, company_name, stage, updated_at)
            values (null, 'Late', 'A轮', '2001-01-01'), (1, 'Early', 'Seed', '2099-01-01')
            returning id
        """)
    }  # fmt: skip
    built.query("update portfoliocompanies set stage = 'Series B' where id = 10")
    with built.connect() as late:
        late.autocommit = False
        late.execute("update investments set round = 'Series  A' where id = 1")
        built.query("update investments set round = 'Series B' where id = 2")
        changed = written_by_build(built)
        late.commit()
    assert changed.pop("fct_portfolio_company_stages") == (
        spelt["fct_portfolio_company_stages"] | {10}
    )
    assert changed.pop("fct_deal_stages") == (
        spelt["fct_deal_stages"] | {edited, deleted} | inserted
    )
    assert changed.pop("fct_investment_rounds") == spelt["fct_investment_rounds"] | {2}
    assert changed.keys() <= {"fct_stage_allocations", "fct_stage_coverage", "dim_vocabularies"}
    assert built.query(
        "select count(*) from trueup_intermediate.int_values"
        " where text_key = 'see notes' and resolution <> 'unknown'"
    ) == [(0,)]
    assert built.query(
        "select deal_id, fund_id, stage_raw, stage, stage_resolution from trueup.fct_deal_stages"
        " where deal_id = any(%s) and deal_id <> %s order by deal_id", sorted(inserted), edited,
    ) == [
        (min(inserted), None, "A轮", "series-a", "exact"),
        (max(inserted), 1, "Seed", "seed", "exact"),
    ]  # fmt: skip

    # What was open is committed. Rows change that are older than the newest that the mart has seen:
    # one moves to another tenant, one changes behind the back of its triggers.
    built.query("""
        update deal_opportunities set stage = 'Serie B', fund_id = null where id = 5;
        alter table investments disable trigger user;
        update investments set round = 'Serie C' where id = 7;
        alter table investments enable trigger user
    """)
    gone = {key for (key,) in built.query("delete from investments where company_id = 10"
                                          " returning id")}  # fmt: skip
    built.query("delete from portfoliocompanies where id = 10")
    # a name that is longer than an entry of an index may be
    built.query("""
        update fund_baselines set stage_distribution = jsonb_build_object(
            (select string_agg(md5(n::text), '') from generate_series(1, 400) as n), 1
        ) where id = (select id from fund_baselines order by id limit 1)
    """)
    changed = written_by_build(built)
    assert changed["fct_deal_stages"] == {5}
    assert changed["fct_investment_rounds"] == {1, 7} | gone
    assert changed["fct_portfolio_company_stages"] == {10}
    assert "dim_vocabularies" not in changed
    assert built.query(
        "select fund_id, stage_raw, stage from trueup.fct_deal_stages where deal_id = 5"
    ) == [(None, "Serie B", "series-b")]
    assert built.query(
        "select round_raw, round from trueup.fct_investment_rounds"
        " where investment_id in (1, 2, 7) order by investment_id"
    ) == [("Series  A", "series-a"), ("Series B", "series-b"), ("Serie C", "series-c")]
    assert built.query("""
        select weight::float, owner_has_unresolved_name from trueup.fct_stage_allocations
        where char_length(stage_names) > 9000
    """) == [(1.0, True)]
    # snapshots keep every state that a run has seen
    states = built.query("""
        select stage, dbt_valid_to is null, dbt_is_deleted
        from trueup_snapshots.snap_app__portfoliocompanies where id = 10 order by dbt_valid_from
    """)
    assert states[1:] == [("Series B", False, "False"), ("Series B", True, "True")]
    assert states[0][1:] == (False, "False")

    incremental = contents(built)
    assert built.dbt("run", "--full-refresh", "--select", MODELS).failures == []
    assert contents(built) == incremental, "an incremental mart equals the same built anew"


def test_an_empty_first_build_is_followed_by_a_complete_one(app: App) -> None:
    build(app, "--empty")
    assert app.dbt("run", "--empty", "--select", MODELS).failures == []  # the tables are there
    assert app.query("select count(*) from trueup.fct_deal_stages") == [(0,)]
    build(app)
    assert app.query("select count(*) from trueup.fct_deal_stages") == [(600,)]


def test_columns_and_vocabularies_are_entries(built: App) -> None:
    """A column of a known table is one entry, a vocabulary one entry and two seeds. A narrower term
    stays unresolved if broader ones are not accepted, and every setting changes the version.
    """
    before = dict(built.query("select vocabulary, vocabulary_version from trueup.dim_vocabularies"))
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
    staging = next(built.project.rglob("stg_app__portfoliocompanies.sql"))
    change(staging, "        source_rows.row_version,", "        source_rows.sector,\n")
    change(staging.with_suffix(".yml"), "      - {name: row_version",
           "      - {name: sector, description: Sector.}\n")  # fmt: skip
    columns = "".join(
        f"    - {{table: {table}, column: {column}, key: {{id: bigint}}, tenant: fund_id,"
        f" vocabulary: {vocabulary}}}\n"
        for table, column, vocabulary in (
            ("deal_opportunities", "company_name", "stage"),
            ("portfoliocompanies", "sector", "sector"),
        )
    )
    path = built.project / "dbt_project.yml"
    sound = path.read_text()
    noise = sound.partition("noise_words: [")[2].partition("]")[0]
    stage = "canonical_seed: stages, alias_seed: stage_aliases, accept_broader: true, noise_words:"
    vocabularies = f"""\
    sector: {{canonical_seed: sectors, alias_seed: sector_aliases, noise_words: [sector]}}
    twin: {{{stage} [{noise}]}}
    noisy: {{{stage} [tour, {noise}]}}
"""
    text = sound.replace("accept_broader: true", "accept_broader: false")
    text = text.replace("  managed_columns: []\n", "  managed_columns:\n" + columns)
    path.write_text(text.replace("  vocabularies:\n", "  vocabularies:\n" + vocabularies))

    outcome = built.dbt("build")

    # nearly no company is named after a stage, and the error threshold says so
    assert [failure.name for failure in outcome.failures] == [
        "fct_stage_coverage_unmapped_share_error"
    ]
    assert built.query("""
        select sum(row_count) from trueup_intermediate.int_value_counts
        where column_name = 'company_name'
    """) == [(600,)]
    assert built.query("""
        select raw_value, resolution, canonical_value from trueup_intermediate.int_values
        where vocabulary = 'sector' order by raw_value
    """) == [
        ("FIN-TECH sector", "exact", "fintech"),
        ("Financial  technology", "exact", "fintech"),
        ("Health", "exact", "health"),
        ("seed", "unknown", None),  # a stage is not a sector
    ]
    assert built.query("""
        select distinct stage_resolution, stage from trueup.fct_deal_stages
        where stage_raw = 'Series D'
    """) == [("broader", None)]
    assert built.query(
        "select count(*) from trueup_audit.audit_pending_changes where resolution = 'broader'"
    ) == [(0,)]
    after = dict(built.query("select vocabulary, vocabulary_version from trueup.dim_vocabularies"))
    assert after.keys() == {"stage", "sector", "twin", "noisy", "membership_tier"}
    assert after["twin"] == before["stage"]
    assert before["stage"] not in (after["stage"], after["noisy"])


def change(path: Path, before: str, lines: str) -> None:
    """Put lines in front of a text that stands in the file."""
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, lines + before))
