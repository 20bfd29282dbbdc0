"""A database with a guard, and what a write through it becomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest

from integration.conftest import App, new_app, server_conninfo
from support import migration
from trueup.guard import guard

SCOPE = "public.deal_opportunities.stage"
TABLE = "deal_opportunities"


class Said(NamedTuple):
    """What the client was told; a driver's own record is gone with the connection."""

    sqlstate: str | None
    message: str
    hint: str
    column: str | None

    @classmethod
    def of(cls, diagnostic: psycopg.errors.Diagnostic) -> Said:
        return cls(diagnostic.sqlstate, diagnostic.message_primary or "",
                   diagnostic.message_hint or "", diagnostic.column_name)  # fmt: skip


class Written(NamedTuple):
    """What became of a write: refused, warned or written; the value; what the client was told."""

    outcome: str
    value: str | None
    said: Said | None


class Guarded:
    """The guard of deal_opportunities.stage, whose mode is changed at will."""

    def __init__(self, app: App) -> None:
        self.app = app

    def set(self, mode: str, percent: float | None = None, shadow: bool = False) -> None:
        """The mode, with the triggers that it needs."""
        with migration.connect(self.app) as connected:
            found = guard.set_mode(self.app.settings, connected, SCOPE, mode, percent, shadow,
                                   reason="a test", is_override=True)  # fmt: skip
            assert found.status == "ok", found
            connected.commit()
            guard.fit(self.app.settings, connected, SCOPE, print)

    def write(self, *statements: str, key: int = 1, as_replica: bool = False) -> Written:
        """Execute them in a transaction that is rolled back; the value of that row after it.

        as_replica: as logical replication writes; only a superuser may say that
        """
        said: list[Said] = []
        url = server_conninfo(self.app.database) if as_replica else self.app.url
        with psycopg.connect(url) as connected:
            if as_replica:
                connected.execute("set local session_replication_role = replica")
            connected.add_notice_handler(lambda each: said.append(Said.of(each)))
            try:
                for statement in statements:
                    if statement.startswith("copy"):
                        command, _, row = statement.partition("\n")
                        with connected.cursor().copy(command.encode()) as copy:
                            copy.write(row + "\n")
                    else:
                        connected.execute(statement.encode())
                query = f"select stage from {TABLE} where id = %s"
                ((value,),) = connected.execute(query.encode(), [key]).fetchall()
            except psycopg.errors.CheckViolation as error:
                return Written("refused", None, Said.of(error.diag))
            finally:
                connected.rollback()
        return Written("warned" if said else "written", value, said[0] if said else None)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A built sample with a guard on one column, installed as staging."""
    with new_app(tmp_path_factory.mktemp("guarded"), "built_template") as app:
        with migration.connect(app) as connected:
            guard.install(app.settings, connected, SCOPE, print, "staging")
        yield Guarded(app)
