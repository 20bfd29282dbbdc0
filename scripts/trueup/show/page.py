"""The one place that renders pages: HTML files that need nothing but themselves."""

from __future__ import annotations

import os
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from trueup.core import files
from trueup.core.errors import TrueupError
from trueup.show import terminal

SHOWN = 48  # letters of a value


def render(template: str, **data: Any) -> str:
    """A page from trueup/show/templates. Every value is escaped; one the template misses raises."""
    return _environment().get_template(template).render(**data)


def write(path: Path, text: str) -> None:
    """Write a report with files.write; TrueupError where the file cannot be written."""
    try:
        files.write(path, text)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None


def check_writable(path: Path) -> None:
    """Raise TrueupError where `write` would, before the work whose result is to be written."""
    if path.is_dir():
        raise _unwritable(path, "is a folder")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise _unwritable(path, f"there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, f"the folder {folder} is read-only")


def short(value: str | None, columns: int) -> str:
    """A value as terminal.visible shows it, no wider than so many columns of fixed width."""
    text = terminal.visible(value, columns)
    if sum(map(_columns, text)) <= columns:
        return text
    kept, room = "", columns - 1
    for letter in text:
        room -= _columns(letter)
        if room < 0:
            break
        kept += letter
    # half a code point (‹U+20…) would name another one
    opened = kept.rfind("‹U+")
    return (kept[:opened] if opened > kept.rfind("›") else kept) + "…"


def number(value: int) -> str:
    """1415 → 1,415, as on the terminal."""
    return f"{value:,}"


def percent(part: int, whole: int) -> str:
    """terminal.percent with a narrow space that does not break."""
    return terminal.percent(part, whole).replace(" %", "\u202f%")


def plural(count: int, noun: str) -> str:
    """plural(1, 'row') → 1 row; plural(1415, 'row') → 1,415 rows."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trueup.show", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        number=number,
        visible=lambda value: short(value, SHOWN),
        plural=plural,
        # coordinates of figures: a tenth of a pixel is enough
        px=lambda value: f"{value:.1f}".removesuffix(".0"),
    )
    environment.globals.update(percent=percent, SHOWN=SHOWN)
    return environment


def _columns(letter: str) -> int:
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _unwritable(path: Path, reason: str) -> TrueupError:
    return TrueupError(
        f"{path} cannot be written: {reason}", "Name a file in a folder that you may write to."
    )
