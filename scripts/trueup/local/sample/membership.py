"""A club's database and the files of its old system; membership.sql makes both."""

from __future__ import annotations

import shutil
from pathlib import Path

from trueup.core import files
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.local.sample import MARK, named_steps

TABLES = ("EventRegistration", "WaIdMapping", "Event", "Member", "MembershipTier",
          "MembershipStatus", "Policy")  # fmt: skip
PACKS = ("members.csv", "events.csv", "registrations.csv")


def make_tables(connected: Connection, schema: str, members: int) -> None:
    """Drop the sample that is there, and make a new one; TrueupError if a table is not a sample."""
    connected.execute("select set_config('search_path', quote_ident(%s), true)", [schema])
    for table in TABLES:
        ((is_there, comment),) = connected.execute(
            "select to_regclass(%(name)s) is not null,"
            " obj_description(to_regclass(%(name)s), 'pg_class')",
            {"name": f'"{table}"'},
        ).fetchall()
        if is_there and not (comment or "").endswith(MARK):
            raise TrueupError(
                f"table {table} exists already and was not made by the sample",
                "Try it in another folder, which has a database of its own.",
            )
        connected.execute(f'drop table if exists "{table}"'.encode())
    named = _steps(members)
    for name in ("tables", "rows"):
        connected.execute(named[name].encode())


def write_files(connected: Connection, folder: Path, members: int) -> None:
    """Write the good pack, the broken one, and the configuration."""
    named = _steps(members)
    for part in ("csv", "csv-broken"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for pack in PACKS:
        with (
            files.whole(folder / "csv" / pack) as file,
            connected.cursor().copy(
                f"copy ({named[pack]}) to stdout (format csv, header)".encode()
            ) as copy,
        ):
            for data in copy:
                file.write(bytes(data).decode())
        lines = connected.execute(named[f"broken {pack}"].encode()).fetchall()
        files.write(folder / "csv-broken" / pack, "".join(f"{line}\n" for (line,) in lines))
    _write(connected, named, "migration-config.json", folder / "migration-config.json")


def write_bundles(connected: Connection, folder: Path) -> None:
    """Give the clean bundle its policies, and make the broken one of it."""
    named, clean, broken = _steps(0), folder / "bundle-clean", folder / "bundle-broken"
    broken.mkdir(exist_ok=True)
    _write(connected, named, "policy-bundle.json", clean / "policy-bundle.json")
    _write(connected, named, "broken policy-bundle.json", broken / "policy-bundle.json")
    shutil.copy(clean / "migration-config.json", broken)
    report = (clean / "migration-report.json").read_text("utf-8")
    ((text,),) = connected.execute(
        named["broken migration-report.json"].encode(), [report]
    ).fetchall()
    files.write(broken / "migration-report.json", f"{text}\n")


def _write(connected: Connection, named: dict[str, str], name: str, path: Path) -> None:
    ((text,),) = connected.execute(named[name].encode()).fetchall()
    files.write(path, f"{text}\n")


def _steps(members: int) -> dict[str, str]:
    found = {
        name: sql.replace("{members}", str(members)) for name, sql in named_steps("membership.sql")
    }
    return {name: sql.strip().removesuffix(";") for name, sql in found.items()}
