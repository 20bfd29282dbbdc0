"""Rows of named statements as dicts, and JSON for machines."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from trueup.core.connection import Connection
from trueup.core.statements import Rows, Statement

# terminals obey these controls, too; JSON itself escapes only those below U+0020
CONTROLS = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def as_json(document: Any, indent: int | None = 2) -> str:
    """JSON for machines; letters stay readable, control characters are escaped."""
    text = json.dumps(document, ensure_ascii=False, default=str, indent=indent)
    return text.translate(CONTROLS)


def rows(connected: Connection, statement: Statement, **values: object) -> list[dict[str, Any]]:
    """The rows of a statement, if it returns any, by column name; numbers as Python's own."""
    return of(statement.run(connected, **values))


def of(cursor: Rows) -> list[dict[str, Any]]:
    """The same of a statement that has been run."""
    names = [column.name for column in cursor.description or ()]
    return [
        {name: _own(value) for name, value in zip(names, row, strict=True)}
        for row in (cursor.fetchall() if names else ())
    ]


def _own(value: Any) -> Any:
    """Sums of bigint and fractions of seconds come as numeric."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)
