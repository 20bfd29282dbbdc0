"""A club of 590 members whose files are imported, with the bundles of that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from integration.conftest import App, cloned, template
from support import migration
from trueup.core.connection import snapshot
from trueup.core.settings import Settings
from trueup.local.sample import membership
from trueup.membership import bundle, importing

MEMBERS, EVENTS, REGISTRATIONS = 590, 143, 2364
TABLES = ("Member", "Event", "EventRegistration", "WaIdMapping", "MembershipTier")


@dataclass(frozen=True)
class Club:
    """The application, and the folder of its files and bundles."""

    app: App
    files: Path

    def query(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.app.query(query, *values)

    @property
    def settings(self) -> Settings:
        """Those of a command that is to connect by itself."""
        return replace(self.app.settings, conninfo=self.app.url)

    def source(self, pack: str = "csv", **options: Any) -> importing.Source:
        return importing.Source(self.files / pack, self.files / "migration-config.json", **options)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the old system, the same for all workers."""
    return tmp_path_factory.mktemp("club")


@pytest.fixture(scope="session")
def club_template(tmp_path_factory: pytest.TempPathFactory) -> App:
    """Tables with a few rows of their own; nothing was imported."""

    def make(app: App) -> None:
        with migration.connect(app) as connected:
            membership.make_tables(connected, "public", MEMBERS)

    return template("club_template", "built_template", make, tmp_path_factory.mktemp("members"))


@pytest.fixture(scope="session")
def imported_template(
    club_template: App, files: Path, tmp_path_factory: pytest.TempPathFactory
) -> App:
    """The good pack is imported. Each worker makes its own, whose bundle it has."""
    made: list[App] = []

    def make(app: App) -> None:
        made.append(app)

    app = template(f"imported_{files.parent.name.replace('-', '_')}", club_template.database, make,
                   tmp_path_factory.mktemp("imported"))  # fmt: skip
    assert made
    with migration.connect(app) as connected:
        membership.write_files(connected, files, MEMBERS)
        load(Club(app, files), "bundle-clean")
        membership.write_bundles(connected, files)
    return app


@pytest.fixture
def club(club_template: App, imported_template: App, files: Path) -> Iterator[Club]:
    """Nothing was imported."""
    with cloned(club_template) as app:
        yield Club(app, files)


@pytest.fixture
def imported(imported_template: App, files: Path) -> Iterator[Club]:
    """The good pack was imported; bundle-clean is its bundle."""
    with cloned(imported_template) as app:
        yield Club(app, files)


def make_plan(club: Club, source: importing.Source, rehearses: bool = False) -> importing.Plan:
    """A stored plan."""
    found = bundle.named(club.app.settings)
    with migration.connect(club.app) as connected, snapshot(connected):
        made = importing.make(club.app.settings, connected, found, source, rehearses)
        connected.commit()
    return made


def load(club: Club, out: str, source: importing.Source | None = None) -> importing.Plan:
    """Plan and import."""
    source = source or club.source()
    made = make_plan(club, source)
    importing.apply(club.settings, made, source, club.files / out)
    return made


def judged(club: Club, folder: Path) -> dict[str, dict[str, Any]]:
    """The checks of a bundle by code."""
    found = bundle.named(club.app.settings)
    with migration.connect(club.app) as connected:
        document = bundle.verify(connected, found, bundle.read(folder))
    checks = {check["code"]: check for check in document["checks"]}
    return {**checks, "": document}


def checksum(club: Club) -> list[Any]:
    """Of every table, whole rows."""
    parts = [f"select '{table}', count(*), md5(string_agg(cast(t as text), '|' order by cast(t as"
             f" text))) from \"{table}\" as t" for table in TABLES]  # fmt: skip
    return club.query(" union all ".join(parts) + " order by 1")
