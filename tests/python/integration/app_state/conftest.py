"""The sample's documents with empty tables beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.conftest import App, cloned, template
from support import migration
from trueup.app_state import documents
from trueup.core.connection import snapshot
from trueup.migration import engine

TABLES = ("orgs", "personas", "accounts", "contents", "leads", '"references"', "inbox_items",
          "documents_rest")  # fmt: skip
NEWEST = (
    "select distinct on (user_id) user_id, state from user_app_state"
    " order by user_id, updated_at desc nulls last, id"
)


@pytest.fixture(scope="session")
def documents_template(tmp_path_factory: pytest.TempPathFactory) -> App:
    """One per test run, made by the first worker that asks for it."""

    def make(app: App) -> None:
        with migration.connect(app) as connected:
            assert documents.init(app.settings, connected)[0] == "function app_state_touch"
            assert documents.init(app.settings, connected) == []

    folder: Path = tmp_path_factory.mktemp("documents")
    return template("documents_template", "built_template", make, folder)


@pytest.fixture
def store(documents_template: App) -> Iterator[App]:
    """205 rows of user_app_state; nothing was moved yet."""
    with cloned(documents_template) as app:
        yield app


def make_plan(app: App, **scope: Any) -> documents.Plan:
    """A stored plan; it is rehearsed."""
    with migration.connect(app) as connected, snapshot(connected):
        made = documents.make(app.settings, connected, documents.Scope(**scope), 20, rehearse=True)
        connected.commit()
    return made


def move(app: App, **scope: Any) -> tuple[documents.Plan, engine.Outcome]:
    """Plan, rehearse and apply."""
    made = make_plan(app, **scope)
    return made, migration.apply(app, made)  # type: ignore[arg-type]


def put(app: App, user: str, state: str) -> None:
    """Write one more row of a user."""
    app.query(
        "insert into user_app_state (id, user_id, state, version, updated_at)"
        " values (gen_random_uuid(), %s, %s, '1.0', clock_timestamp())",
        user,
        state,
    )


def differing(app: App) -> set[str]:
    """Users whose document is not what the tables give back."""
    query = (
        f"with newest as ({NEWEST}) select user_id from newest"
        " left join app_state_documents as again using (user_id)"
        " where newest.state is distinct from again.state"
    )
    return {user or "" for (user,) in app.query(query)}


def checksum(app: App) -> list[Any]:
    """Of every table, whole rows."""
    parts = [f"select '{table}', count(*), md5(string_agg(cast(t as text), '|' order by cast(t as"
             f" text))) from {table} as t" for table in TABLES]  # fmt: skip
    return app.query(" union all ".join(parts) + " order by 1")
