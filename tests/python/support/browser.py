"""A page in a real browser, where one is installed."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (360, 1280)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def assert_readable(text: str, folder: Path) -> None:
    """No width makes the page scroll sideways with all of it unfolded, and no text is tiny.

    A browser window is never narrower than 500 pixels, a frame is.
    """
    frames = "".join(
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(text)}">'
        "</iframe>"
        for width in WIDTHS
    )
    path = folder / "frames.html"
    path.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><body>{frames}
<script>
window.onload = () => {{
  const found = [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach((each) => {{ each.open = true; }});
    const sizes = [...page.querySelectorAll("main *")].map(
      (each) => parseFloat(frame.contentWindow.getComputedStyle(each).fontSize));
    const root = page.documentElement;
    return [root.scrollWidth - root.clientWidth, Math.min(...sizes)];
  }});
  document.body.textContent = "measured " + JSON.stringify(found);
}};
</script>""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r"measured (\[.*\])<", done.stdout)
    assert found, done.stderr[-2000:]
    for width, (excess, size) in zip(WIDTHS, json.loads(found[1]), strict=True):
        assert excess == 0, f"{excess} px too wide for {width}"
        assert size >= 10, f"text of {size} px"
