"""The rows of named statements as the documents for machines have them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trueup.compiled import Statement
from trueup.connection import Connection


def rows(connected: Connection, statement: Statement, **values: object) -> list[dict[str, Any]]:
    """The rows of a statement by column name, numbers as Python's own."""
    cursor = statement.run(connected, **values)
    names = [column.name for column in cursor.description or ()]
    return [
        {name: _own(value) for name, value in zip(names, row, strict=True)}
        for row in cursor.fetchall()
    ]


def _own(value: Any) -> Any:
    """Sums of bigint and fractions of seconds come as numeric."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)
