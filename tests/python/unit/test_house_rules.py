"""Rules of the house that hold for the text of the files, whatever they do."""

from __future__ import annotations

import ast
import csv
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from unit.conftest import PROJECT

WIDTH = 100
JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
COMMENT = re.compile(r"--[^\n]*")
# What other engines (Apache Spark, Citus) lack or do differently, and what belongs in a macro.
NOT_PORTABLE = re.compile(
    r"\bdistinct\s+on\b|\s!?~\*?\s|\[\[:|\\[swd]|::|\bctid\b|\bregexp_|\bnormalize\("
    r"|\bjsonb?_|\blevenshtein|\bsha256\(",
    re.IGNORECASE,
)
# Written so that the patterns do not find themselves.
MACHINE_PATH = re.compile(
    r"(?<![\w.~*\]})-])[/](?:work|root|Users|home/[a-z]\w*)(?:/|\b(?![-\w.]))"
)
PACKAGE_HOST = re.compile(
    r"pypi[.](?:org|io)|pythonhosted[.]org|registry[.](?:npmjs|yarnpkg)|hub[.]getdbt|anaconda[.]org"
    r"|proxy[.]golang|crates[.]io|index-[u]rl|find-[l]inks",
    re.IGNORECASE,
)
# Most lines and bytes of scripts/trueup: design.md, section Budgets.
BUDGETS = {
    "everything": (12_600, 513_000),
    "guard": (300, 13_000),
    "app_state": (450, 19_000),
    "membership": (450, 19_000),
}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def files_of_the_project() -> list[Path]:
    """Everything that is, or may be, under version control."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("not a git checkout")
    paths = [PROJECT / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def found_in(pattern: re.Pattern[str], paths: Iterable[Path]) -> list[str]:
    """Every match as file:line: text."""
    return [
        f"{path.relative_to(PROJECT)}:{number}: {match[0]}"
        for path in paths
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        for match in pattern.finditer(line)
    ]


# ---------------------------------------------------------------------------------------- SQL first


def canonical_values() -> tuple[list[str], list[str]]:
    """Canonical values and labels that no other word is, and those that are plain words (seed)."""
    with (PROJECT / "seeds/stages.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = [value for row in rows for value in (row["canonical_value"], row["label"])]
    return [v for v in values if not v.isalpha()], [v.lower() for v in values if v.isalpha()]


def literals(source: str) -> Iterator[str]:
    """Canonical values that a Python source decides by.

    A value of several parts ('series-a', 'Series A') may stand in no string at all; a plain word
    may (the seed of a random generator), but nothing may be compared with it. Docstrings and the
    examples of the command line may name both.
    """
    telling, plain = canonical_values()
    pattern = re.compile(
        "|".join(rf"(?<![\w-]){re.escape(value)}(?![\w+-])" for value in telling), re.IGNORECASE
    )
    tree = ast.parse(source)
    shown = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    shown |= {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "examples"
        for argument in node.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in shown:
            yield from pattern.findall(node.value)
        if isinstance(node, ast.Compare | ast.MatchValue):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Constant) and str(inner.value).lower() in plain:
                    yield str(inner.value)


def test_python_holds_no_stage() -> None:
    files = sorted((PROJECT / "scripts").rglob("*.py"))
    assert files
    assert {str(path): found for path in files if (found := list(literals(path.read_text())))} == {}


def test_a_stage_in_python_is_found_and_other_words_are_not() -> None:
    for source in (
        "x = 'series-a'",
        "x = {'Series D': 'SERIES-C+'}",
        "x = f'where stage = \\'pre-seed\\' and {y}'",
        "if x == 'seed': pass",
        "if x in ('Seed', 'other'): pass",
        "match x:\n    case 'seed': pass",
    ):
        assert list(literals(source)), source
    for source in (
        "'''Series A and series-b.'''",
        "@examples('add X series-a')\ndef f(): pass",
        "x = {'seed': 1}",
        "x = 'series-ab'",
        "x = 'see'",
    ):
        assert not list(literals(source)), source


def test_models_are_portable() -> None:
    for path in (PROJECT / "models").rglob("*.sql"):
        text = COMMENT.sub("", JINJA.sub("", path.read_text()))
        if "create or replace function" in text:
            continue  # of the ledger, which is PostgreSQL's
        assert not NOT_PORTABLE.search(text), f"{path.name}: {NOT_PORTABLE.search(text)}"


def test_what_is_not_portable_is_found() -> None:
    for text in ("select distinct on (a) b", "where a ~ 'b'", "where a !~* 'b'", "a::text",
                 "'[[:space:]]'", "'\\s+'", "select ctid", "regexp_replace(a, b, c)",
                 "normalize(a)", "jsonb_each(a)"):  # fmt: skip
        assert NOT_PORTABLE.search(text), text


def test_sql_sources_are_narrow_and_tidy() -> None:
    """sqlfluff sees neither comments of Jinja nor macros, so their width is looked at here."""
    folders = ("models", "macros", "analyses", "tests/generic")
    paths = [path for folder in folders for path in (PROJECT / folder).rglob("*.sql")]
    assert paths
    wrong = re.compile(rf".{{{WIDTH + 1},}}|[ \t\r]+$|\t")
    assert found_in(wrong, paths) == []
    assert wrong.search("a" * 101) and wrong.search("a ") and not wrong.search("a" * 100)


# ---------------------------------------------------------------------------------- a thin wrapper


def sizes() -> dict[str, tuple[int, int]]:
    """Lines and bytes of the Python in scripts/trueup, comments and empty lines too, by folder."""
    found: dict[str, tuple[int, int]] = {}
    for path in (PROJECT / "scripts/trueup").rglob("*.py"):
        system = path.relative_to(PROJECT / "scripts/trueup").parts[0]
        lines, size = found.get(system, (0, 0))
        content = path.read_bytes()
        found[system] = (lines + content.count(b"\n"), size + len(content))
    return found


def over_budget(found: dict[str, tuple[int, int]]) -> list[str]:
    """The budgets that are not kept; a part named `everything` is the sum."""
    total = (sum(lines for lines, _ in found.values()), sum(size for _, size in found.values()))
    known = {**found, "everything": total}
    return [f"{part}: {known[part]}, budget {most}" for part, most in BUDGETS.items()
            if (size := known.get(part, (0, 0)))[0] > most[0] or size[1] > most[1]]  # fmt: skip


def test_the_wrapper_keeps_its_budget() -> None:
    found = sizes()
    table = "\n".join(f"{system:15} {lines:6,} lines {size:8,} bytes"
                      for system, (lines, size) in sorted(found.items()))  # fmt: skip
    print(f"\n{table}")
    assert len(found) > 5
    assert over_budget(found) == [], f"\n{table}"
    assert over_budget({"core": (12_801, 1)}) and over_budget({"core": (1, 513_001)})


def test_sql_stands_in_the_dbt_project() -> None:
    """There it is linted and compiled; only the sample's own tables are made by other SQL."""
    paths = {path.relative_to(PROJECT).parent.as_posix()
             for path in (PROJECT / "scripts").rglob("*.sql")}  # fmt: skip
    assert paths == {"scripts/trueup/local/sample"}


# ------------------------------------------------------------------------------------ for strangers


def test_no_path_of_a_machine() -> None:
    assert found_in(MACHINE_PATH, files_of_the_project()) == []


def test_no_host_of_a_package_registry() -> None:
    assert found_in(PACKAGE_HOST, files_of_the_project()) == []


def test_a_path_of_a_machine_and_a_host_of_a_registry_are_found() -> None:
    for text in ("cd /" + "work/x", "'/" + "root/.cache'", "/" + "home/anna/x", "/" + "Users/a"):
        assert MACHINE_PATH.search(text), text
    for text in ("docs/work/x", "a homework/x of it", "$HOME/x", "/workers"):
        assert not MACHINE_PATH.search(text), text
    for text in ("pypi" + ".org/simple", "files.pythonhosted" + ".org", "--extra-index-" + "url x",
                 "--find-" + "links x", "hub" + ".getdbt.com"):  # fmt: skip
        assert PACKAGE_HOST.search(text), text


def unpinned(text: str) -> list[str]:
    """Lines of a lock file that are no package with its version and its hashes."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    package = re.compile(
        r"[a-z0-9][\w.-]*(\[[\w,-]+\])?==[\w.!+-]+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*"
    )
    return [line for line in lines if not line.startswith("#") and not package.fullmatch(line)]


def test_locked_packages_have_hashes() -> None:
    locks = sorted(PROJECT.glob("requirements*.lock"))
    assert locks
    for path in locks:
        assert unpinned(path.read_text()) == [], path.name
        assert "--hash" in path.read_text()


def test_a_package_without_hash_is_found() -> None:
    sha = "--hash=sha256:" + "0" * 64
    assert not unpinned(f"a-b[c]==1.2 ; python_version < '3' \\\n    {sha}")
    for line in ("a==1", f"a>=1 {sha}", "a==1 --hash=md5:0", "-e .", "--index x",
                 f"a @ file:a.whl {sha}"):  # fmt: skip
        assert unpinned(line), line


def broken_links(path: Path, text: str) -> list[str]:
    """Relative links to files or headings that are not there."""
    found = []
    for link in LINK.findall(re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:|#!/", link):  # another site, or a page of dbt docs
            continue
        name, _, heading = link.partition("#")
        target = path if not name else path.parent / name
        if not target.exists() or (heading and heading not in anchors(target)):
            found.append(f"{path.name}: {link}")
    return found


def anchors(path: Path) -> set[str]:
    """The headings of a Markdown file as links name them."""
    headings = re.findall(r"^#+ +(.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    paths = [path for path in files_of_the_project() if path.suffix == ".md"]
    assert [link for path in paths for link in broken_links(path, path.read_text())] == []


def test_a_broken_link_is_found() -> None:
    readme = PROJECT / "README.md"
    assert broken_links(readme, "[a](docs/none.md) [b](#none-of-them)") == [
        "README.md: docs/none.md", "README.md: #none-of-them"
    ]  # fmt: skip
    assert not broken_links(readme, "[a](dbt_project.yml) [b](https://example.org) `[c](none)`")
