"""Migrated databases, made once for all workers: tests clone one, or roll back what they change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.conftest import App, cloned, template
from support import migration
from support.verification import Run, reading
from trueup.migration import plan

SCOPE = plan.Scope(("deal_opportunities", "investments"))
EQUAL_NAMES = '{"Series A": 0.3, "series_a": 0.2, "seed": 0.5}'


def migrate(app: App, scope: plan.Scope = SCOPE) -> None:
    """600 deals in 6 batches, 300 investments in 3; a deal may lose its stage."""
    app.query("alter table deal_opportunities alter column stage drop not null")
    made = migration.make_plan(app, scope, plan.Pace(100, 0, 1000))
    assert migration.apply(app, made).status == "completed"


@pytest.fixture(scope="session")
def migrated_template(tmp_path_factory: pytest.TempPathFactory) -> App:
    """The deals and the investments, migrated; the marts were built before."""
    return template("migrated", "built_template", migrate, tmp_path_factory.mktemp("migrated"))


@pytest.fixture
def migrated(migrated_template: App) -> Iterator[App]:
    """A database of the test's own."""
    with cloned(migrated_template) as app:
        yield app


@pytest.fixture(scope="session")
def shared(migrated_template: App) -> Iterator[App]:
    """The same for tests that change nothing, or take back what they change."""
    with cloned(migrated_template) as app:
        yield app


@pytest.fixture
def deals(shared: App) -> Iterator[Run]:
    """The run of the deals in a transaction that is rolled back."""
    with reading(shared) as run:
        yield run


@pytest.fixture(scope="session")
def modelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """All columns migrated, and the marts built afterwards; one document has equal names."""

    def make(app: App) -> None:
        migrate(app, migration.EVERYTHING)
        app.query(
            "update fund_strategy_models set stage_allocation = cast(%s as jsonb) where id ="
            " (select id from fund_strategy_models order by id limit 1)", EQUAL_NAMES,
        )  # fmt: skip
        assert app.dbt("run", "--select", "int_value_counts+").failures == []

    made = template("modelled", "built_template", make, tmp_path_factory.mktemp("modelled"))
    with cloned(made) as app:
        yield app


@pytest.fixture
def everything(modelled: App) -> Iterator[Run]:
    """The run of all columns in a transaction that is rolled back."""
    with reading(modelled) as run:
        yield run
