"""CSV files as people save them, and what the reader says of those it cannot read."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from trueup.core.errors import TrueupError
from trueup.vocabulary.csv_file import open_column

Values = list[tuple[int, str | None]]


def read(
    folder: Path, content: bytes | str, column: str = "stage", encoding: str | None = None
) -> Values:
    path = folder / "file.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with open_column(path, column, encoding) as values:
        return list(values)


def error(folder: Path, content: bytes | str, column: str = "stage") -> TrueupError:
    with pytest.raises(TrueupError) as caught:
        read(folder, content, column)
    assert "file.csv" in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        "id,stage\n1,Seed\n2,Série A\n",
        "id,stage\r\n1,Seed\r\n2,Série A\r\n",
        "id,stage\n1,Seed\n2,Série A",
        "id;stage\n1;Seed\n2;Série A\n",
        "id\tstage\n1\tSeed\n2\tSérie A\n",
        "id|stage\n1|Seed\n2|Série A\n",
        '"id","stage"\n"1","Seed"\n"2","Série A"\n',
        " id , stage \n1,Seed\n2,Série A\n",
        "id,stage\n\n1,Seed\n\n2,Série A\n",
        codecs.BOM_UTF8 + "stage,id\nSeed,1\nSérie A,2\n".encode(),
        "id,stage\n1,Seed\n2,Série A\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "id,stage\n1,Seed\n2,Série A\n".encode("utf-16-be"),
    ],
)
def test_formats(tmp_path: Path, content: bytes | str) -> None:
    assert read(tmp_path, content) == [(1, "Seed"), (2, "Série A")]


def test_values_are_not_touched(tmp_path: Path) -> None:
    content = 'id,stage\n1," Seed "\n2,"Series\nA"\n3,"a ""b"", c"\n4,\n5,"se\r\ned"\n6,NULL\n'
    assert [value for _, value in read(tmp_path, content)] == [
        " Seed ", "Series\nA", 'a "b", c', "", "se\r\ned", "NULL"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("id,stage\n1\n2,Seed,more\n", [None, "Seed"]),  # short and long records
        ("stage\nSeed\n\nA\n", ["Seed", "", "A"]),  # an empty line of a single column is a blank
        ("a,b,c;stage\n1,2,3;Seed\n", ["Seed"]),  # the delimiter is the one that makes the column
        ("id,stage\n", []),
        (b"name,stage\nCaf\xe9,Seed\n", ["Seed"]),  # wrong bytes in another column do not matter
    ],
)
def test_odd_records(tmp_path: Path, content: bytes | str, values: list[str | None]) -> None:
    assert read(tmp_path, content) == list(enumerate(values, 1))


def test_a_value_of_a_megabyte(tmp_path: Path) -> None:
    assert read(tmp_path, f"id,stage\n1,{'a' * 1_000_000}\n")[0][1] == "a" * 1_000_000


def test_wrong_bytes_in_the_column_are_named_by_record(tmp_path: Path) -> None:
    content = b"id,stage\n1,Seed\n2,S\xe9rie A\n3,\xff\n"
    caught = error(tmp_path, content)
    assert "2 of 3 records" in caught.message and caught.message.endswith("records 2, 3")
    assert caught.remedy and "--encoding cp1252" in caught.remedy
    assert read(tmp_path, content, encoding="latin-1")[1] == (2, "Série A")


def test_only_ten_records_are_named(tmp_path: Path) -> None:
    caught = error(tmp_path, b"stage\n" + b"\xff\n" * 12)
    assert caught.message.endswith("records 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more")


def test_nul_is_no_text(tmp_path: Path) -> None:
    """Python before 3.11 refuses the line, later ones read it and the value is refused."""
    message = error(tmp_path, "id,stage\n1,Se\0ed\n").message
    assert "records 1" in message or "cannot be read as CSV" in message


@pytest.mark.parametrize(
    ("column", "remedy"),
    [
        ("Stage", "Did you mean --column 'stage'?"),
        ("stagee", "Did you mean --column 'stage'?"),
        ("zebra", "Name one of them with --column."),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(
    tmp_path: Path, column: str, remedy: str
) -> None:
    caught = error(tmp_path, "id,stage,\n1,Seed,\n", column)
    assert f"has no column {column!r}; its columns are id, stage" in caught.message
    assert caught.remedy == remedy


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    assert "has 2 columns 'stage'" in error(tmp_path, "stage,id,stage\n1,2,3\n").message


@pytest.mark.parametrize("content", [b"", b"\n", codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    assert "is empty" in error(tmp_path, content).message


def test_a_spreadsheet_is_no_csv(tmp_path: Path) -> None:
    caught = error(tmp_path, b"PK\x03\x04rest")
    assert "ZIP archive" in caught.message and caught.remedy


def test_half_a_utf_16_character(tmp_path: Path) -> None:
    caught = error(tmp_path, "id,stage\n1,Seed\n".encode("utf-16") + b"\x41")
    assert "cannot be read as CSV" in caught.message


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(TrueupError, match="directory"), open_column(tmp_path, "stage"):
        pass
