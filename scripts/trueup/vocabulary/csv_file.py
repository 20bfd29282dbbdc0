"""Reading one column of a CSV file as people save them: any delimiter, a BOM, quoted newlines."""

from __future__ import annotations

import codecs
import csv
import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trueup.core.errors import TrueupError

DELIMITERS = (",", ";", "\t", "|")
SHOWN = 10  # rows or columns that a message names before it says how many more there are


@contextmanager
def open_column(path: Path, column: str, encoding: str | None = None) -> Iterator[Column]:
    """Open a file and find its column; the values are then read one record at a time.

    encoding: None = UTF-8 (with or without a BOM) or UTF-16 with a BOM.
    Raises TrueupError for a file that cannot be read, has no header or no such column.
    """
    chosen = encoding or _encoding_by_bom(path)
    try:
        codecs.lookup(chosen)
    except LookupError:
        raise TrueupError(
            f"encoding {encoding!r} is unknown", "Common ones: utf-8, cp1252, latin-1, utf-16."
        ) from None
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding=chosen, errors="surrogateescape", newline="") as file:
        yield Column(path, file, column)


class Column:
    """One column of an open CSV file: iterate for (record number from 1, value).

    A record that is too short to have the column gives None. Raises TrueupError, at the end, for
    values that are not in the file's encoding, with the numbers of their records.
    """

    def __init__(self, path: Path, file: IO[str], name: str) -> None:
        self.path = path
        try:
            header_line = next(csv.reader(file), None)
        except (csv.Error, UnicodeError) as error:
            raise _unreadable(path, error) from None
        if not header_line:
            raise TrueupError(f"{path}: is empty", "A CSV file with a header line is needed.")
        file.seek(0)
        self.delimiter, header = self._dialect(file, name)
        self.columns = len(header)
        self.position = _position(path, header, name)
        file.seek(0)
        # strict: a quotation mark that is never closed would swallow all records behind it
        self.reader = csv.reader(file, delimiter=self.delimiter, strict=True)

    @staticmethod
    def _dialect(file: IO[str], name: str) -> tuple[str, list[str]]:
        """The delimiter under which the column is there, else the one that makes most columns."""
        headers: dict[str, list[str]] = {}
        for delimiter in DELIMITERS:
            file.seek(0)
            headers[delimiter] = next(csv.reader(file, delimiter=delimiter), [])
        found = [d for d in DELIMITERS if name in [cell.strip() for cell in headers[d]]]
        best = found[0] if found else max(DELIMITERS, key=lambda d: len(headers[d]))
        return best, headers[best]

    def __iter__(self) -> Iterator[tuple[int, str | None]]:
        wrong: list[int] = []
        number = line = 0
        try:
            next(self.reader)
            line = self.reader.line_num
            for record in self.reader:
                line = self.reader.line_num
                if not record:
                    if self.columns > 1:
                        continue  # an empty line is no record
                    record = [""]  # but in a file of one column it is a blank value
                number += 1
                value = record[self.position] if len(record) > self.position else None
                if value is not None and not _is_text(value):
                    wrong.append(number)
                    continue
                yield number, value
        except csv.Error as error:
            raise TrueupError(
                f"{self.path}: the record that begins on line {line + 1} is no CSV: {error}",
                "A quotation mark is opened and never closed, or text stands behind a closed one. "
                "Inside a quoted field a quotation mark is written twice.",
            ) from None
        except UnicodeError as error:
            raise _unreadable(self.path, error) from None
        if wrong:
            raise TrueupError(
                f"{self.path}: {len(wrong)} of {number} records have bytes in this column that are "
                f"no text in the file's encoding: records {_some(wrong)}",
                "Say how the file was saved, for example --encoding cp1252 (Windows, western "
                "Europe) or --encoding latin-1.",
            )


def _encoding_by_bom(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise TrueupError(f"{path}: {error.strerror or error}") from None
    if start == b"PK\x03\x04":
        raise TrueupError(
            f"{path}: is a spreadsheet or another ZIP archive, not CSV",
            "Save the sheet as CSV (UTF-8) and try that.",
        )
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def _position(path: Path, header: list[str], name: str) -> int:
    names = [cell.strip() for cell in header]
    if names.count(name) == 1:
        return names.index(name)
    if names.count(name) > 1:
        raise TrueupError(f"{path}: has {names.count(name)} columns {name!r}; rename all but one")
    near = difflib.get_close_matches(name.casefold(), [n.casefold() for n in names], 1, 0.6)
    likely = next((n for n in names if near and n.casefold() == near[0]), None)
    raise TrueupError(
        f"{path}: has no column {name!r}; its columns are {_some([n for n in names if n])}",
        f"Did you mean --column {likely!r}?" if likely else "Name one of them with --column.",
    )


def _is_text(value: str) -> bool:
    """Neither a byte that could not be decoded nor a NUL, which PostgreSQL cannot store."""
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _some(items: list[int] | list[str]) -> str:
    shown = ", ".join(str(item) for item in items[:SHOWN])
    return shown + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")


def _unreadable(path: Path, error: Exception) -> TrueupError:
    return TrueupError(f"{path}: cannot be read as CSV: {error}")
