"""Reads a page as strictly as an HTML parser can: what is not well formed raises AssertionError."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}
SVG = {"path"}  # may close itself


class Page(HTMLParser):
    """The page's tags, ids, attributes, and its text with the tables as lists of rows."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.style = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.stack, f"never closed: {self.stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SVG, f"<{tag}/> does not close itself"
        self._seen(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack[-1] == tag, f"</{tag}> closes {self.stack[-3:]}"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "style":
            self.style += data
            return
        self.texts.append(data)
        if "td" in self.stack or "th" in self.stack:
            self._rows[-1][-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data[:40]}")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def _seen(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name == "aria-label" and tag == "div":
                self._rows = self.tables.setdefault(value or "", [])


def check(text: str) -> Page:
    """A page that keeps the rules of all pages: alone, unscripted, ids unique."""
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert len(page.ids) == len(set(page.ids))
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), f"<{tag} {name}>"
        assert name not in ("src", "srcset", "srcdoc", "action", "background", "data"), name
        if name in ("href", "xlink:href"):
            assert value.startswith("#") and value[1:] in page.ids, value
    assert "@import" not in page.style and "url(" not in page.style
    policies = [value for _, name, value in page.attributes if name == "content"]
    assert any("default-src 'none'" in policy for policy in policies)
    return page
