"""What the models found: rows of the named statements of analyses/vocabulary.sql."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import errors

from trueup.core import records, statements
from trueup.core.config import Vocabulary
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.show.words import KINDS, LEFT

Row = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """All that the models found about a vocabulary's columns; each list in its statement's order.

    total, columns, tenants: rows of vocabulary__coverage
    """

    vocabulary: Vocabulary
    values: list[Row]
    total: Row
    columns: list[Row]
    tenants: list[Row]
    unmapped: list[Row]


def everything(
    connected: Connection, settings: Settings, vocabulary: Vocabulary, unit: str | None = None
) -> Found:
    """All of it. unit: a word for rows in place of their table's name."""
    name = vocabulary.name
    coverage = read(connected, settings, "vocabulary__coverage", vocabulary=name)
    (total,), columns, tenants = (
        [row for row in coverage if row["grouped_by"] == group]
        for group in ("all", "column", "tenant")
    )
    values = read(connected, settings, "vocabulary__values", vocabulary=name)
    unmapped = read(connected, settings, "vocabulary__unmapped", vocabulary=name, unit=unit)
    return Found(vocabulary, values, total, columns, tenants, unmapped)


def read(
    connected: Connection, settings: Settings, statement: str, **parameters: object
) -> list[Row]:
    """The rows of a named statement; TrueupError if the models are not built."""
    try:
        return records.rows(connected, statements.statement(settings, statement), **parameters)
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        connected.rollback()
        raise TrueupError(
            f"database {connected.info.dbname} has no trueup models yet",
            "Build them with `dbt build`, or see the sample with `trueup demo`.",
        ) from None


def groups(found: Found) -> list[Row]:
    """The spellings of each canonical value, then those that have none for the same reason."""
    seed, name = found.vocabulary.values.items(), found.vocabulary.name
    words = {(value, ""): (value, row["label"], row["description"], "change")
             for value, row in seed}  # fmt: skip
    for resolution, (title, meaning) in LEFT.items():
        kind = KINDS.get(resolution, "stays")
        words["", resolution] = (title, "", meaning.format(vocabulary=name), kind)
    spellings: dict[tuple[str, str], list[Row]] = {key: [] for key in words}
    for row in found.values:
        value = row["canonical_value"] or ""
        spellings.setdefault((value, "" if value else row["resolution"]), []).append(row)
    return [group(*words[key], spellings[key]) for key in words if spellings[key]]


def group(title: str, label: str, meaning: str, kind: str, spellings: list[Row]) -> Row:
    """Spellings with the same meaning; kind: of a figure's part."""
    return {
        "title": title,
        "label": label,
        "meaning": meaning,
        "kind": kind,
        "spellings": spellings,
        "rows": _rows(spellings),
        "canonical": _rows(row for row in spellings if row["resolution"] == "canonical"),
        "examples": [row["value"] for row in spellings if row["resolution"] != "canonical"],
    }


def _rows(spellings: Iterable[Row]) -> int:
    return sum(row["rows"] for row in spellings)
