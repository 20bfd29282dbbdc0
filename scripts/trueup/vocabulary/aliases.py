"""Adding a decision to an alias seed."""

from __future__ import annotations

import csv
import fcntl
import getpass
import io
import subprocess
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from trueup.core import config, connection, files, statements
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

WITH_VALUE = ("exact", "broader")
WITHOUT_VALUE = ("ambiguous", "out_of_scope")


def add(
    settings: Settings,
    vocabulary_name: str | None,
    alias_text: str,
    canonical_value: str | None,
    match_type: str,
    reason: str,
    added_by: str | None = None,
) -> tuple[Path, str]:
    """Write one alias row, keep the file sorted; return the file and the line that was added.

    Only one process at a time; a second one waits and then sees the first one's row. Raises
    TrueupError, and writes nothing, for an unknown value or match type, for a text without a key,
    and for a spelling that is already decided.
    """
    if alias_text.strip().casefold() == "null":
        alias_text = "(null)"  # dbt reads the word as NULL; brackets are folded away in the key
    by = added_by or author(settings.project)
    today = date.today().isoformat()
    values = [alias_text, canonical_value or "", match_type, by, today, reason]
    row = dict(zip(config.ALIAS_COLUMNS, values, strict=True))
    with _one_at_a_time(settings):
        seed = config.vocabulary(settings, vocabulary_name)
        _check(seed, alias_text, canonical_value, match_type, reason, by)
        _check_free(settings, seed, alias_text)
        rows = sorted([*seed.aliases, row], key=lambda each: each["alias_text"])
        text = _lines([dict(zip(config.ALIAS_COLUMNS, config.ALIAS_COLUMNS, strict=True)), *rows])
        if list(csv.DictReader(io.StringIO(text, newline=""))) != rows:
            raise TrueupError(
                f"{seed.alias_path}: would not read back as it is written; nothing was changed"
            )
        files.write(seed.alias_path, text)
    return seed.alias_path, _lines([row]).rstrip("\n")


@contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    """A lock that the kernel releases when its process ends, even by a kill."""
    settings.state.mkdir(exist_ok=True)
    with (settings.state / "aliases.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def author(project: Path) -> str:
    """Who decides: git's user of the checkout, else the operating system's."""
    try:
        done = subprocess.run(
            ["git", "-C", str(project), "config", "user.name"], capture_output=True, text=True
        )
        name = done.stdout.strip()
    except OSError:
        name = ""
    return name or getpass.getuser()


def _check(
    vocabulary: config.Vocabulary,
    alias_text: str,
    canonical_value: str | None,
    match_type: str,
    reason: str,
    added_by: str,
) -> None:
    allowed = ", ".join(vocabulary.values)
    if match_type in WITH_VALUE and canonical_value is None:
        raise TrueupError(
            f"{alias_text!r}: match type {match_type} needs a canonical value; allowed: {allowed}"
        )
    if match_type in WITHOUT_VALUE and canonical_value is not None:
        raise TrueupError(
            f"{alias_text!r}: match type {match_type} says that it is no one value; "
            f"leave {canonical_value!r} out"
        )
    if canonical_value is not None and canonical_value not in vocabulary.values:
        raise TrueupError(
            f"canonical value {canonical_value!r} is not in vocabulary {vocabulary.name}; "
            f"allowed: {allowed}"
        )
    if not reason.strip():
        raise TrueupError(f"{alias_text!r}: the reason is blank", "Say it in --reason.")
    for name, text in (("alias text", alias_text), ("reason", reason), ("author", added_by)):
        if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text):
            raise TrueupError(
                f"the {name} {text!r} has a line break or another control character in it",
                "A row of the seed is one line. Write a space: white space is folded in the key.",
            )


def _check_free(settings: Settings, vocabulary: config.Vocabulary, alias_text: str) -> None:
    """Refuse a text that the vocabulary resolves already, whole or without noise words."""
    decided = [
        *((row["alias_text"], _decision(row)) for row in vocabulary.aliases),
        *((value, f"the canonical value {value}") for value in vocabulary.values),
        *((row["label"], f"the label of {value}") for value, row in vocabulary.values.items()),
    ]
    statement = statements.statement(settings, "vocabulary__text_keys")
    with connection.connect(settings, writes=False) as connected:
        texts = [alias_text, *(text for text, _ in decided)]
        keys = statement.run(connected, texts=texts, vocabulary=vocabulary.name).fetchall()
    (key, bare_key), taken = keys[0], [key for key, _ in keys[1:]]
    if len(key) < 2:
        raise TrueupError(
            f"{alias_text!r} cannot be an alias: its key {key!r} has fewer than two characters",
            "Single letters and punctuation are too ambiguous to be aliases.",
        )
    for wanted in dict.fromkeys([key, bare_key]):
        if len(wanted) >= 2 and wanted in taken:
            text, decision = decided[taken.index(wanted)]
            raise TrueupError(
                f"{alias_text!r} is decided already: its key {wanted!r} is that of {text!r}, "
                f"{decision}",
                f"To decide otherwise, change {vocabulary.alias_path.name} by hand, in review.",
            )


def _decision(row: dict[str, str]) -> str:
    return f"{row['match_type']} {row['canonical_value']}".strip() + f" ({row['reason']})"


def _lines(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, config.ALIAS_COLUMNS, lineterminator="\n").writerows(rows)
    return text.getvalue()
