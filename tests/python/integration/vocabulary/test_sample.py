"""The sample application database, on a real server."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from integration.conftest import create_database, drop_database, server_conninfo
from trueup.core.errors import TrueupError
from trueup.local import sample, server

RESOLUTIONS = {
    "canonical", "exact", "broader", "ambiguous", "out_of_scope", "unknown", "blank", "null",
}  # fmt: skip
RESOLVED = {"canonical", "exact", "broader"}

# 20,000 companies: a share of one half has a standard error of 0.35 points.
SIZES: dict[str, Any] = {
    "companies": 20_000, "deals": 4_000, "investments": 2_000, "strategies": 300,
    "baselines": 100, "funds": 20,
}  # fmt: skip
SMALL: dict[str, Any] = {
    "companies": 2_000, "deals": 300, "investments": 200, "strategies": 40, "baselines": 20,
    "funds": 20,
}  # fmt: skip
ROWS = {
    "funds": "funds",
    "portfoliocompanies": "companies",
    "deal_opportunities": "deals",
    "investments": "investments",
    "fund_strategy_models": "strategies",
    "fund_baselines": "baselines",
}
DOCUMENTS = {"user_app_state": 205}  # as many in every sample

Connection = psycopg.Connection[tuple[Any, ...]]

_numbers = itertools.count(1)


def _connect(database: str) -> Connection:
    return psycopg.connect(server_conninfo(database, server.ROLE), autocommit=True)


def _empty_database() -> Iterator[Connection]:
    name = f"sample_{os.getpid()}_{next(_numbers)}"
    create_database(name, "template0")
    with _connect(name) as connection:
        yield connection
    drop_database(name)


@pytest.fixture(scope="module")
def loaded() -> Iterator[Connection]:
    """One sample for the tests that only read it."""
    for connection in _empty_database():
        sample.load(connection, **SIZES)
        yield connection


@pytest.fixture
def fresh() -> Iterator[Connection]:
    """An empty database for the tests that write."""
    yield from _empty_database()


def _all(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


def _one(connection: Connection, query: str) -> Any:
    return _all(connection, query)[0][0]


def _digests(connection: Connection) -> dict[str, str]:
    """The md5 of every row of every table and of the truth."""
    truth = ("trueup_sample.spellings", "trueup_sample.truth", "trueup_sample.weight_truth")
    ordered = "string_agg(rows::text, ',' order by rows::text collate \"C\")"
    return {
        relation: _one(connection, f"select md5({ordered}) from {relation} as rows")
        for relation in (*sample.TABLES, *truth)
    }


def _tables(connection: Connection) -> list[tuple[Any, ...]]:
    return _all(
        connection,
        "select schemaname, tablename from pg_tables"
        " where schemaname in ('public', 'trueup_sample') order by 1, 2",
    )


# ------------------------------------------------------------------------------ the rows


def test_dirty_rows_depend_on_nothing_else(loaded: Connection) -> None:
    """Their share is as asked, whatever the low bits of the key and the other column."""
    shares = _all(
        loaded,
        "select column_name, row_key::bigint % 8, avg((resolution <> 'canonical')::int)"
        " from trueup_sample.truth where table_name = 'portfoliocompanies'"
        " group by grouping sets ((1), (1, 2))",
    )
    assert len(shares) == 2 * (1 + 8)
    for _, low_bits, share in shares:
        # 20,000 rows, or 2,500: four standard errors of the latter are 0.04
        assert float(share) == pytest.approx(0.56, abs=0.01 if low_bits is None else 0.04)
    correlation = _one(
        loaded,
        "select corr((a.resolution = 'canonical')::int, (b.resolution = 'canonical')::int)"
        " from trueup_sample.truth as a inner join trueup_sample.truth as b using (row_key)"
        " where a.table_name = 'portfoliocompanies' and a.column_name = 'stage'"
        " and b.table_name = 'portfoliocompanies' and b.column_name = 'current_stage'",
    )
    assert abs(correlation) < 0.03


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
    for table in ("deal_opportunities", "investments"):
        assert _one(loaded, f"select count(*) from {table} where fund_id is null") > 0


def test_every_value_has_exactly_one_truth(loaded: Connection) -> None:
    rows, distinct, without = _all(
        loaded,
        "select count(*), count(distinct (table_name, column_name, row_key)),"
        " count(*) filter (where resolution is null) from trueup_sample.truth",
    )[0]
    expected = 2 * SIZES["companies"] + SIZES["deals"] + SIZES["investments"]
    assert (rows, distinct, without) == (expected, expected, 0)

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


def test_rows_that_people_write(loaded: Connection) -> None:
    """They get the next key; an update moves version and time, and its value has no truth."""
    with loaded.transaction(force_rollback=True):
        insert = "insert into portfoliocompanies (name, stage) values ('x', 'y') returning id"
        assert _one(loaded, insert) == SIZES["companies"] + 1
        loaded.execute("update portfoliocompanies set stage = 'written by a test' where id = 7")
        assert _all(
            loaded, "select row_version, updated_at = now() from portfoliocompanies where id = 7"
        ) == [(2, True)]
        assert _all(
            loaded,
            "select resolution, canonical_value from trueup_sample.truth where row_key = '7'"
            " and table_name = 'portfoliocompanies' and column_name = 'stage'",
        ) == [(None, None)]


# ------------------------------------------------------------------------------ the loader


def test_same_numbers_same_rows(fresh: Connection, loaded: Connection) -> None:
    """Loaded once or twice, at any size; another seed gives other rows."""
    rows = sample.load(fresh, **SMALL)
    assert rows == {table: SMALL[name] for table, name in ROWS.items()} | DOCUMENTS
    first = _digests(fresh)
    query = "select id, fund_id, name, stage, current_stage, updated_at from portfoliocompanies"
    limited = f"{query} where id <= {SMALL['companies']} order by id"
    assert _all(fresh, limited) == _all(loaded, limited)
    assert sample.load(fresh, **SMALL) == rows
    assert _digests(fresh) == first
    sample.load(fresh, **SMALL, seed=6)
    other = _digests(fresh)
    same = {name for name in first if first[name] == other[name]}
    assert same - DOCUMENTS.keys() == {"funds", "trueup_sample.spellings"}


def test_other_numbers(fresh: Connection) -> None:
    for dirty_share in (0, 1, 0.25):
        sample.load(fresh, **SMALL, dirty_share=dirty_share)
        for view in ("truth", "weight_truth"):
            dirty = "avg((resolution <> 'canonical')::int)"
            share = float(_one(fresh, f"select {dirty} from trueup_sample.{view}"))
            if dirty_share in (0, 1):
                assert share == dirty_share, view
            elif view == "truth":
                assert share == pytest.approx(dirty_share, abs=0.03)

    sample.load(fresh, **{**SMALL, "funds": 0, "strategies": 0, "baselines": 0})
    assert _one(fresh, "select count(fund_id) from portfoliocompanies") == 0

    nothing: dict[str, Any] = dict.fromkeys(SIZES, 0)
    assert sample.load(fresh, **nothing) == dict.fromkeys(ROWS, 0) | DOCUMENTS
    insert = "insert into deal_opportunities (company_name, stage) values ('x', 'y') returning id"
    assert _one(fresh, insert) == 1


def test_a_failure_leaves_what_was_there(fresh: Connection) -> None:
    sample.load(fresh, **SMALL)
    before = _digests(fresh)

    def interrupt(step: str, done: int, total: int) -> None:
        if step == "investments":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample.load(fresh, **SMALL, seed=2, progress=interrupt)
    assert _digests(fresh) == before


def test_what_is_not_ours_is_refused(fresh: Connection) -> None:
    foreign = (
        ("create table investments (id int)", "table public.investments"),
        ("create view funds as select 1 as id", "view public.funds"),
        ("create schema trueup_sample", "schema trueup_sample"),
        (
            "create function touch_row_version() returns int language sql return 1",
            "function touch_row_version()",
        ),
    )
    for statement, name in foreign:
        with fresh.transaction(force_rollback=True):
            fresh.execute(statement.encode())
            before = _tables(fresh)
            with pytest.raises(TrueupError, match="not made by the sample") as caught:
                sample.load(fresh, **SMALL)
            assert name in caught.value.message
            assert caught.value.remedy
            assert _tables(fresh) == before

    # beside a sample, too
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


def test_a_role_without_rights_and_another_encoding_are_told_so() -> None:
    # the maintenance database belongs to the superuser
    with (
        _connect("postgres") as connection,
        pytest.raises(TrueupError, match="in database postgres: permission denied") as caught,
    ):
        sample.load(connection, **SMALL)
    assert caught.value.remedy

    name = f"latin_{os.getpid()}"
    with _connect("trueup") as connection:
        create = f"create database {name} encoding 'LATIN1' locale 'C' template template0"
        connection.execute(create.encode())
    with _connect(name) as connection, pytest.raises(TrueupError, match="LATIN1"):
        sample.load(connection, **SMALL)
    drop_database(name)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"companies": -1}, "companies of the sample is -1"),
        ({"deals": 2**31}, "deals of the sample is 2147483648"),
        ({"funds": True}, "funds of the sample is True, not a whole number"),
        ({"dirty_share": float("nan")}, "dirty_share of the sample is nan"),
        ({"dirty_share": "half"}, "dirty_share of the sample is 'half'"),
        ({"dirty_share": 1.01}, "dirty_share of the sample is 1.01"),
        ({"funds": 0}, "strategies belong to funds"),
        ({"companies": 0}, "investments belong to companies"),
    ],
)
def test_wrong_numbers(loaded: Connection, numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(TrueupError) as caught:
        sample.load(loaded, **{**SMALL, **numbers})
    assert message in caught.value.message
    assert caught.value.remedy
