"""SQL that sqlfluff found clean, by hash: a test run lints what is new, all of it takes minutes.

tests/python/data/clean_sql.txt lists the texts that are known to be clean, under this configuration
and this sqlfluff. `make lint` looks at everything again and writes the list (TRUEUP_LINT=record);
`make proofs` looks at everything and writes nothing (TRUEUP_LINT=all).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sqlfluff.core import FluffConfig, Linter
from sqlfluff.core.templaters import JinjaTemplater

PROJECT = Path(__file__).resolve().parents[3]
LIST = PROJECT / "tests" / "python" / "data" / "clean_sql.txt"
MODE = os.environ.get("TRUEUP_LINT", "new")
if MODE not in ("new", "all", "record"):
    raise ValueError(f"TRUEUP_LINT is {MODE!r}; allowed: new, all, record")
# Rules that hold for what people write and cannot be told from what was compiled.
SOURCE_ONLY = {
    "AL09": "a column of the configuration may have the name the models give it",
    "CV13": "statements and tests are no models",
    "RF03": "what is linted as a column includes the collation C and the form nfkd",
    "RF06": "dbt quotes the names of the application's tables",
    "ST06": "a column that a macro writes is an expression",
}


def compiled_faults(text: str, exclude: Sequence[str] = ()) -> list[str]:
    """What sqlfluff finds in compiled SQL, a line each; empty for a text known to be clean."""
    rules = [*SOURCE_ONLY, *exclude]
    key = _key("compiled", ",".join(exclude), text)
    if _is_known(key):
        return []
    config = FluffConfig.from_path(
        str(PROJECT), overrides={"templater": "raw", "exclude_rules": ",".join(rules)}
    )
    found = Linter(config=config).lint_string(text.rstrip("\n") + "\n").get_violations()
    return _noted(key, [f"{e.line_no}: {e.rule_code()} {e.desc()}" for e in found])


def source_faults(path: Path) -> list[str]:
    """The same for a file as it is written, Jinja included."""
    key = _key("source", path.relative_to(PROJECT).as_posix(), path.read_text("utf-8"))
    if _is_known(key):
        return []
    config = FluffConfig.from_path(str(path))
    found = Linter(config=config).lint_paths((str(path),)).get_violations()
    faults = [f"{e.line_no}: {e.rule_code()} {e.desc()}" for e in found]
    if path.relative_to(PROJECT).parts[0] in ("models", "analyses"):
        faults += _unseen(path, config)
    return _noted(key, faults)


def _unseen(path: Path, config: FluffConfig) -> list[str]:
    """If sqlfluff cannot tell which line became which SQL, it lints only what it understood."""
    rendered, faults = JinjaTemplater().process(
        in_str=path.read_text("utf-8"), fname=str(path), config=config
    )
    is_whole = rendered.sliced_file[-1].templated_slice.stop == len(str(rendered))
    seen = not faults and is_whole and "select" in str(rendered)
    return [] if seen else ["sqlfluff does not see the whole of it"]


@cache
def _known() -> frozenset[str]:
    return frozenset(LIST.read_text().split()) if LIST.exists() else frozenset()


@cache
def _rules() -> str:
    """What decides a verdict beside the text: the configuration and the version of sqlfluff."""
    files = sorted(PROJECT.glob(".sqlfluff*")) + sorted(PROJECT.glob("*/.sqlfluff"))
    texts = [path.read_text("utf-8") for path in files]
    return "\0".join([version("sqlfluff"), str(SOURCE_ONLY), *texts])


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join([_rules(), *parts]).encode()).hexdigest()[:16]


def _is_known(key: str) -> bool:
    if MODE == "record":
        return False
    return MODE == "new" and key in _known()


def _noted(key: str, faults: list[str]) -> list[str]:
    """A clean text is noted beside the list; `make lint` makes the list of the notes."""
    if MODE == "record" and not faults:
        with LIST.with_suffix(f".{os.getpid()}.new").open("a") as file:
            file.write(f"{key}\n")
    return faults
