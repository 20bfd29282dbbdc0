"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def write(path: Path, text: str, mode: int | None = None) -> None:
    """Write a text as `whole` does."""
    with whole(path, mode) as file:
        file.write(text)


@contextmanager
def whole(path: Path, mode: int | None = None) -> Iterator[TextIO]:
    """A file to write; a reader sees the old one until the new one is there. A link stays a link.

    mode: permissions; None = those of the file that is replaced, else those of any new file.
    Raises OSError, or what the text cannot be encoded with; nothing is left behind then.
    """
    target = path.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", dir=target.parent)  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        Path(name).chmod(_usual_mode(target) if mode is None else mode)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _usual_mode(target: Path) -> int:
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
