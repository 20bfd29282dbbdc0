"""Lists of keys: the rows that the batches of a range change, and the values that occur among them.

Keys go from the database to this process and back as PostgreSQL's own binary arrays. Only SQL
looks into them, so no type of key is known here: a piece of a batch is a slice of its list, from
one place to another.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import psycopg
from psycopg.adapt import Buffer, Dumper, PyFormat, Transformer
from psycopg.pq import Format

from trueup.core.statements import Rows


class Array(bytes):
    """An array as PostgreSQL sent it, in its binary format."""


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer | None:
        return bytes(obj)


psycopg.adapters.register_dumper(Array, _ArrayDumper)


class Keys(NamedTuple):
    """The list of a batch.

    total:   number of keys
    map_ids: numbers of the mappings that occur; empty if the kind of run maps no values
    arrays:  one array per column of the key, by parameter name, and other arrays of this length
    """

    total: int
    map_ids: Collection[int]
    arrays: Mapping[str, Array]


class Piece(NamedTuple):
    """The part of a batch that one transaction changes: from a place of its list to another."""

    keys: Keys
    first_place: int
    last_place: int

    @property
    def is_single(self) -> bool:
        """Whether it is one row, or one unit."""
        return self.first_place == self.last_place

    def cut(self, parts: int) -> list[Piece]:
        """Up to so many pieces, of about the same size."""
        rows = self.last_place - self.first_place + 1
        ends = [self.first_place + rows * part // parts for part in range(parts + 1)]
        return [
            self._replace(first_place=first, last_place=end - 1)
            for first, end in pairwise(ends)
            if end > first
        ]


def text(piece: Piece) -> str:
    """The key of a piece of one row, for people."""
    columns = [array for name, array in sorted(piece.keys.arrays.items()) if name.startswith("key_")
               and name != "key_map_ids"]  # fmt: skip
    return ",".join(str(_loaded(array)[piece.first_place - 1]) for array in columns)


def _loaded(array: bytes) -> list[Any]:
    """The elements of an array, whose header names their type."""
    info = psycopg.adapters.types[int.from_bytes(array[8:12], "big")]
    return list(Transformer().get_loader(info.array_oid, Format.BINARY).load(array))


def lists(answer: Rows) -> dict[int, list[Keys]]:
    """The lists by batch_id, of a binary answer; a batch without keys has an empty one or none."""
    result = answer.pgresult
    assert result is not None
    names = [column.name for column in answer.description or ()]
    found: dict[int, list[Keys]] = {}
    for row in range(result.ntuples):
        cells = {name: result.get_value(row, place) for place, name in enumerate(names)}
        batch, total = (int.from_bytes(cells.pop(name) or b"", "big")
                        for name in ("batch_id", "key_total"))  # fmt: skip
        arrays = {name: Array(cell) for name, cell in cells.items() if cell is not None}
        listed = found.setdefault(batch, [])
        if total:
            listed.append(Keys(total, _numbers(arrays.get("key_map_ids")), arrays))
    return found


def _numbers(array: bytes | None) -> Collection[int]:
    """The numbers that occur in an array of smallint: 20 bytes of header, then length and value."""
    if array is None:
        return ()
    return set(struct.unpack(f">{(len(array) - 20) // 2}H", array[20:])[2::3])


class Values(NamedTuple):
    """The planned changes of a column as texts of array elements, made once per run."""

    before: Mapping[int, str]
    after: Mapping[int, str]

    def of(self, map_ids: Iterable[int]) -> dict[str, str]:
        """The parameters of a statement that needs these mappings."""
        chosen = tuple(map_ids)
        if not chosen:
            return dict.fromkeys(("values_before", "values_after", "map_ids"), "{}")
        return {
            "values_before": f"{{{','.join(map(self.before.__getitem__, chosen))}}}",
            "values_after": f"{{{','.join(map(self.after.__getitem__, chosen))}}}",
            "map_ids": f"{{{','.join(map(str, chosen))}}}",
        }


def values(rows: Iterable[tuple[str, str, int]]) -> Values:
    """The rows (value_before, value_after, map_id) of a run's map."""
    made = [(map_id, _element(before), _element(after)) for before, after, map_id in rows]
    return Values({number: before for number, before, _ in made},
                  {number: after for number, _, after in made})  # fmt: skip


def _element(value: str) -> str:
    """A text as PostgreSQL writes it in an array."""
    dumped = Transformer().get_dumper([value], PyFormat.TEXT).dump([value])
    return bytes(dumped or b"").decode()[1:-1]
