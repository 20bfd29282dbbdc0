"""The sample application database, on a real server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from trueup.core.errors import TrueupError
from trueup.local import sample, server

if TYPE_CHECKING:
    from typing_extensions import LiteralString

pytestmark = pytest.mark.database

TRUTH_TABLE = Path(__file__).resolve().parents[2] / "data" / "resolution_truth.json"
RESOLUTIONS = {
    "canonical",
    "exact",
    "broader",
    "ambiguous",
    "out_of_scope",
    "unknown",
    "blank",
    "null",
}
RESOLVED = {"canonical", "exact", "broader"}

# 20,000 companies: a share of one half has a standard error of 0.35 points.
SIZES: dict[str, Any] = {
    "companies": 20_000,
    "deals": 4_000,
    "investments": 2_000,
    "strategies": 300,
    "baselines": 100,
    "funds": 20,
}
SMALL: dict[str, Any] = {
    "companies": 2_000,
    "deals": 300,
    "investments": 200,
    "strategies": 40,
    "baselines": 20,
    "funds": 20,
}
ROWS = {
    "funds": "funds",
    "portfoliocompanies": "companies",
    "deal_opportunities": "deals",
    "investments": "investments",
    "fund_strategy_models": "strategies",
    "fund_baselines": "baselines",
}

Connection = psycopg.Connection[tuple[Any, ...]]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Address]:
    state = tmp_path_factory.mktemp("sample") / "state"
    try:
        yield server.start(state, options={"fsync": "off"})
    finally:
        server.remove(state)


def _database(address: server.Address, name: str) -> str:
    """Create an empty database, owned by the server's ordinary role, and say how to connect."""
    with psycopg.connect(address.conninfo(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} encoding 'UTF8' template template0").format(
                sql.Identifier(name)
            )
        )
    return address.conninfo(name)


@pytest.fixture(scope="module")
def loaded(address: server.Address) -> Iterator[Connection]:
    """One sample for the tests that only read it."""
    with psycopg.connect(_database(address, "loaded"), autocommit=True) as connection:
        sample.load(connection, **SIZES)
        yield connection


@pytest.fixture
def fresh(address: server.Address) -> Iterator[Connection]:
    """An empty database for the tests that write."""
    conninfo = _database(address, f"fresh_{next(_numbers)}")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


def _all(connection: Connection, query: LiteralString) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def _one(connection: Connection, query: LiteralString) -> Any:
    return _all(connection, query)[0][0]


def _digests(connection: Connection) -> dict[str, str]:
    """The md5 of every row of every table and of the truth."""
    relations = [("public", table) for table in sample.TABLES] + [
        ("trueup_sample", "spellings"),
        ("trueup_sample", "truth"),
        ("trueup_sample", "weight_truth"),
    ]
    query = sql.SQL(
        "select md5(string_agg(rows::text, ',' order by rows::text collate \"C\")) from {} as rows"
    )
    return {
        relation: connection.execute(query.format(sql.Identifier(schema, relation))).fetchall()[0][
            0
        ]
        for schema, relation in relations
    }


def _tables(connection: Connection) -> list[tuple[Any, ...]]:
    return _all(
        connection,
        "select schemaname, tablename from pg_tables"
        " where schemaname in ('public', 'trueup_sample') order by 1, 2",
    )


# ------------------------------------------------------------------------------ the rows


def test_counts_are_as_asked(loaded: Connection) -> None:
    for table, name in ROWS.items():
        query = sql.SQL("select count(*) from {}").format(sql.Identifier("public", table))
        assert loaded.execute(query).fetchall()[0][0] == SIZES[name], table


def test_the_role_is_no_superuser(loaded: Connection) -> None:
    assert _one(loaded, "select rolsuper from pg_roles where rolname = current_user") is False


@pytest.mark.parametrize(
    ("table", "column"), [("portfoliocompanies", "stage"), ("portfoliocompanies", "current_stage")]
)
def test_dirty_share(loaded: Connection, table: str, column: str) -> None:
    share = loaded.execute(
        "select avg((resolution <> 'canonical')::int) from trueup_sample.truth"
        " where table_name = %s and column_name = %s",
        [table, column],
    ).fetchall()[0][0]
    assert float(share) == pytest.approx(0.56, abs=0.01)


def test_spellings_do_not_depend_on_the_low_bits_of_the_key(loaded: Connection) -> None:
    shares = _all(
        loaded,
        "select row_key::bigint % 8, avg((resolution <> 'canonical')::int)"
        " from trueup_sample.truth"
        " where table_name = 'portfoliocompanies' and column_name = 'stage' group by 1",
    )
    assert len(shares) == 8
    # 2,500 rows each: four standard errors are 0.04.
    for _, share in shares:
        assert float(share) == pytest.approx(0.56, abs=0.04)


def test_columns_of_a_row_are_independent(loaded: Connection) -> None:
    correlation = _one(
        loaded,
        "select corr((a.resolution = 'canonical')::int, (b.resolution = 'canonical')::int)"
        " from trueup_sample.truth as a inner join trueup_sample.truth as b using (row_key)"
        " where a.table_name = 'portfoliocompanies' and a.column_name = 'stage'"
        " and b.table_name = 'portfoliocompanies' and b.column_name = 'current_stage'",
    )
    assert abs(correlation) < 0.03


def test_nulls_only_where_they_are_allowed(loaded: Connection) -> None:
    nulls = _all(
        loaded,
        "select table_name, column_name, count(*) from trueup_sample.truth"
        " where raw_value is null group by 1, 2 order by 1, 2",
    )
    assert [row[:2] for row in nulls] == [
        ("investments", "round"),
        ("portfoliocompanies", "current_stage"),
    ]
    assert all(count > 0 for _, _, count in nulls)


def test_tenants_are_uneven_interleaved_and_sometimes_absent(loaded: Connection) -> None:
    sizes = dict(_all(loaded, "select fund_id, count(*) from portfoliocompanies group by 1"))
    assert sizes.pop(None) == pytest.approx(600, abs=120)
    assert set(sizes) == set(range(1, 21))
    assert max(sizes.values()) > 5 * min(sizes.values())
    changes = _one(
        loaded,
        "select avg((a.fund_id is distinct from b.fund_id)::int) from portfoliocompanies as a"
        " inner join portfoliocompanies as b on a.id + 1 = b.id",
    )
    assert changes > 0.8
    assert _one(loaded, "select count(*) from deal_opportunities where fund_id is null") > 0
    assert _one(loaded, "select count(*) from investments where fund_id is null") > 0


def test_times_are_fixed_and_in_order(loaded: Connection) -> None:
    for table in ("portfoliocompanies", "deal_opportunities", "investments"):
        query = sql.SQL(
            "select min(updated_at) >= '2023-10-01 00:00:00+00',"
            " max(updated_at) < '2026-10-01 00:00:00+00', bool_and(created_at <= updated_at),"
            " max(updated_at) - min(updated_at) > interval '1000 days', max(row_version)"
            " from {}"
        ).format(sql.Identifier("public", table))
        assert loaded.execute(query).fetchall() == [(True, True, True, True, 1)], table


# ------------------------------------------------------------------------------ the truth


def test_every_value_has_exactly_one_truth(loaded: Connection) -> None:
    rows, distinct, without = _all(
        loaded,
        "select count(*), count(distinct (table_name, column_name, row_key)),"
        " count(*) filter (where resolution is null) from trueup_sample.truth",
    )[0]
    expected = 2 * SIZES["companies"] + SIZES["deals"] + SIZES["investments"]
    assert (rows, distinct, without) == (expected, expected, 0)


def test_truth_is_consistent(loaded: Connection) -> None:
    spellings = _all(
        loaded,
        "select distinct raw_value, resolution, canonical_value from trueup_sample.spellings",
    )
    assert len(spellings) > 3_000
    assert {resolution for _, resolution, _ in spellings} == RESOLUTIONS
    canonical = {value for _, _, value in spellings if value is not None}
    for raw, resolution, value in spellings:
        assert (resolution in RESOLVED) == (value is not None), raw
        assert (resolution == "canonical") == (raw in canonical), raw
        assert (resolution == "null") == (raw is None)
        assert (resolution == "blank") == (raw is not None and not raw.strip()), raw
        if resolution == "canonical":
            assert raw == value


def test_shares_of_the_spellings_fill_the_unit_interval(loaded: Connection) -> None:
    rows = _all(
        loaded,
        "select starts_at, starts_at_nullable from trueup_sample.spellings order by spelling_id",
    )
    for starts in zip(*rows, strict=True):
        assert starts[0] == 0
        assert list(starts) == sorted(starts)
        assert starts[-1] <= 1


def test_changed_values_lose_their_truth(loaded: Connection) -> None:
    with loaded.transaction(force_rollback=True):
        loaded.execute("update portfoliocompanies set stage = 'written by a test' where id = 7")
        assert _all(
            loaded,
            "select resolution, canonical_value from trueup_sample.truth where row_key = '7'"
            " and table_name = 'portfoliocompanies' and column_name = 'stage'",
        ) == [(None, None)]


def test_weights_sum_to_one(loaded: Connection) -> None:
    owners = _all(
        loaded,
        "select owner_table, owner_id, sum(weight), min(weight),"
        " count(*) filter (where resolution is null),"
        " count(*) filter (where resolution = 'unknown') > 0,"
        " count(canonical_value) > count(distinct canonical_value)"
        " from trueup_sample.weight_truth group by 1, 2",
    )
    assert len(owners) == SIZES["strategies"] + SIZES["baselines"]
    assert {total for _, _, total, _, _, _, _ in owners} == {1}
    assert all(least > 0 and without == 0 for _, _, _, least, without, _, _ in owners)
    unknown = sum(row[5] for row in owners)
    doubled = sum(row[6] for row in owners)
    assert 0 < unknown < len(owners) / 8
    assert 0 < doubled < len(owners) / 3


# ------------------------------------------------------------------------------ the schema


def test_updates_move_row_version_and_updated_at(loaded: Connection) -> None:
    with loaded.transaction(force_rollback=True):
        loaded.execute("update investments set round = null where id = 1")
        assert _all(
            loaded, "select row_version, updated_at = now() from investments where id = 1"
        ) == [(2, True)]


def test_next_insert_gets_the_next_key(loaded: Connection) -> None:
    with loaded.transaction(force_rollback=True):
        key = _one(
            loaded, "insert into portfoliocompanies (name, stage) values ('x', 'y') returning id"
        )
    assert key == SIZES["companies"] + 1


# ------------------------------------------------------------------------------ the loader


def test_same_numbers_same_rows_and_loading_twice(fresh: Connection) -> None:
    rows = sample.load(fresh, **SMALL, seed=5)
    assert rows == {table: SMALL[name] for table, name in ROWS.items()}
    first = _digests(fresh)
    assert sample.load(fresh, **SMALL, seed=5) == rows
    assert _digests(fresh) == first
    sample.load(fresh, **SMALL, seed=6)
    other = _digests(fresh)
    same = {name for name in first if first[name] == other[name]}
    assert same == {"funds", "spellings"}


def test_a_row_is_the_same_at_any_size(fresh: Connection, loaded: Connection) -> None:
    sample.load(fresh, **SMALL)
    query = "select id, fund_id, name, stage, current_stage, updated_at from portfoliocompanies"
    limited = f"{query} where id <= {SMALL['companies']} order by id"
    assert _all(fresh, limited) == _all(loaded, limited)


@pytest.mark.parametrize("dirty_share", [0, 1, 0.25])
def test_other_dirty_shares(fresh: Connection, dirty_share: float) -> None:
    sample.load(fresh, **SMALL, dirty_share=dirty_share)
    for view in ("truth", "weight_truth"):
        query = sql.SQL("select avg((resolution <> 'canonical')::int) from {}").format(
            sql.Identifier("trueup_sample", view)
        )
        share = float(fresh.execute(query).fetchall()[0][0])
        if dirty_share in (0, 1):
            assert share == dirty_share, view
        elif view == "truth":
            assert share == pytest.approx(dirty_share, abs=0.03)


def test_nothing_at_all(fresh: Connection) -> None:
    nothing: dict[str, Any] = dict.fromkeys(SIZES, 0)
    rows = sample.load(fresh, **nothing)
    assert rows == dict.fromkeys(ROWS, 0)
    key = _one(
        fresh, "insert into deal_opportunities (company_name, stage) values ('x', 'y') returning id"
    )
    assert key == 1


def test_no_funds(fresh: Connection) -> None:
    sample.load(fresh, **{**SMALL, "funds": 0, "strategies": 0, "baselines": 0})
    assert _one(fresh, "select count(fund_id) from portfoliocompanies") == 0


def test_whatever_factories_the_connection_has(address: server.Address) -> None:
    conninfo = _database(address, "factories")
    steps: list[tuple[str, int, int]] = []
    with psycopg.connect(
        conninfo, row_factory=dict_row, cursor_factory=psycopg.RawCursor
    ) as connection:
        sample.load(connection, **SMALL, progress=lambda *step: steps.append(step))
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert [done for _, done, _ in steps] == list(range(len(steps)))
    assert steps[-1] == ("done", len(steps) - 1, len(steps) - 1)


def test_within_the_transaction_of_the_caller(fresh: Connection) -> None:
    with fresh.transaction(force_rollback=True):
        sample.load(fresh, **SMALL)
    assert _tables(fresh) == []


def test_a_failure_leaves_what_was_there(fresh: Connection) -> None:
    sample.load(fresh, **SMALL)
    before = _digests(fresh)

    def interrupt(step: str, done: int, total: int) -> None:
        if step == "investments":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample.load(fresh, **SMALL, seed=2, progress=interrupt)
    assert _digests(fresh) == before


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("create table investments (id int)", "table public.investments"),
        ("create view funds as select 1 as id", "view public.funds"),
        ("create schema trueup_sample", "schema trueup_sample"),
        (
            "create function touch_row_version() returns int language sql return 1",
            "function touch_row_version()",
        ),
    ],
)
def test_what_is_not_ours_is_refused(
    fresh: Connection, statement: LiteralString, name: str
) -> None:
    fresh.execute(statement)
    before = _tables(fresh)
    with pytest.raises(TrueupError, match="not made by the sample") as caught:
        sample.load(fresh, **SMALL)
    assert name in caught.value.message
    assert caught.value.remedy
    assert _tables(fresh) == before


def test_a_foreign_table_beside_a_sample_is_refused(fresh: Connection) -> None:
    sample.load(fresh, **SMALL)
    fresh.execute("drop table fund_baselines cascade")
    fresh.execute("create table fund_baselines (id int)")
    with pytest.raises(TrueupError, match=r"public\.fund_baselines: exists already"):
        sample.load(fresh, **SMALL)


def test_dependents_stop_the_load_unless_it_cascades(fresh: Connection) -> None:
    sample.load(fresh, **SMALL)
    fresh.execute("create schema reports")
    fresh.execute("create view reports.stages as select stage from portfoliocompanies")
    with pytest.raises(TrueupError, match=r"view reports\.stages depends on"):
        sample.load(fresh, **SMALL)
    assert _one(fresh, "select count(*) from reports.stages") == SMALL["companies"]
    sample.load(fresh, **SMALL, cascade=True)
    assert _one(fresh, "select to_regclass('reports.stages') is null") is True


def test_a_role_without_rights_is_told_so(address: server.Address) -> None:
    # The maintenance database belongs to the superuser.
    with (
        psycopg.connect(address.conninfo("postgres")) as connection,
        pytest.raises(TrueupError, match="in database postgres: permission denied") as caught,
    ):
        sample.load(connection, **SMALL)
    assert caught.value.remedy


def test_another_encoding_is_told_so(address: server.Address) -> None:
    with psycopg.connect(address.conninfo(), autocommit=True) as connection:
        connection.execute("create database latin encoding 'LATIN1' locale 'C' template template0")
    with (
        psycopg.connect(address.conninfo("latin")) as connection,
        pytest.raises(TrueupError, match="LATIN1"),
    ):
        sample.load(connection, **SMALL)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"companies": -1}, "companies of the sample is -1"),
        ({"deals": 2**31}, "deals of the sample is 2147483648"),
        ({"seed": -5}, "seed of the sample is -5"),
        ({"funds": 2.5}, "funds of the sample is 2.5, not a whole number"),
        ({"funds": True}, "funds of the sample is True, not a whole number"),
        ({"dirty_share": 1.01}, "dirty_share of the sample is 1.01"),
        ({"dirty_share": float("nan")}, "dirty_share of the sample is nan"),
        ({"dirty_share": "half"}, "dirty_share of the sample is 'half'"),
        ({"funds": 0}, "strategies belong to funds"),
        ({"companies": 0}, "investments belong to companies"),
    ],
)
def test_wrong_numbers(loaded: Connection, numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(TrueupError) as caught:
        sample.load(loaded, **{**SMALL, **numbers})
    assert message in caught.value.message
    assert caught.value.remedy


# ------------------------------------------------------------------------------ the truth table


def test_truth_table_of_the_resolver_is_well_formed() -> None:
    text = TRUTH_TABLE.read_bytes()
    assert text.isascii()
    rows = json.loads(text)
    assert len(rows) >= 450
    raw_values = [row["raw"] for row in rows]
    assert len(set(raw_values)) == len(raw_values)
    for row in rows:
        assert set(row) == {"raw", "resolution", "canonical_value", "why"}
        allowed = row["resolution"]
        allowed = set(allowed) if isinstance(allowed, list) else {allowed}
        assert allowed <= RESOLUTIONS, row
        # The stage it must be if it is resolved to one.
        assert bool(allowed & RESOLVED) == (row["canonical_value"] is not None), row


def test_truth_table_and_sample_agree(loaded: Connection) -> None:
    spellings = {
        raw: (resolution, value)
        for raw, resolution, value in _all(
            loaded, "select raw_value, resolution, canonical_value from trueup_sample.spellings"
        )
    }
    shared = [row for row in json.loads(TRUTH_TABLE.read_text()) if row["raw"] in spellings]
    assert len(shared) > 200
    for row in shared:
        resolution, value = spellings[row["raw"]]
        assert resolution in row["resolution"] or resolution == row["resolution"], row
        assert value is None or value == row["canonical_value"], row
