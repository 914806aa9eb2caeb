"""The page without a browser: it stands alone, is small, and can be read."""

from __future__ import annotations

import gzip
import re
from itertools import product

import pytest

from wm_api.pages import STATIC

FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
CSS = (STATIC / "page.css").read_text()
TEXT = {"text", "quiet", "accent", "good", "warn", "bad"}
DRAWN = {"line-1", "line-2", "line-3", "hit", "expected", "path", "ramp-0", "ramp-1", "ramp-2", "ramp-3", "focus"}


def themes() -> dict[str, dict[str, str]]:
    blocks = re.findall(r':root(\[data-theme="dark"\])? \{(.*?)\}', CSS, re.DOTALL)
    return {"dark" if dark else "light": dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", body)) for dark, body in blocks}


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_what_the_guidelines_work_out():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_lines_stand_out_as_the_guidelines_ask(theme):
    colours = themes()[theme]
    grounds = {name: colours[name] for name in ("panel", "ground", "sunken")}
    poor = [
        (name, ground, round(contrast(colours[name], value), 2))
        for names, least in ((TEXT, 4.5), (DRAWN, 3.0))
        for name, (ground, value) in product(sorted(names), grounds.items())
        if contrast(colours[name], value) < least
    ]
    assert poor == []
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5


def test_nothing_comes_from_elsewhere():
    addresses = {
        address for path in FILES for address in re.findall(r"\w+://[^\s\"')]+", path.read_text(errors="replace"))
    }
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_all_that_is_named_is_there_and_all_that_is_there_is_named():
    named = {"index.html"}
    for path in FILES:
        text = path.read_text()
        named |= {name.removeprefix("/static/") for name in re.findall(r"/static/[\w./-]+", text)}
        named |= {f"js/{name}" for name in re.findall(r'from "\./([\w./-]+)"', text)}
    assert named == {path.relative_to(STATIC).as_posix() for path in FILES}


def test_every_id_that_is_looked_up_is_in_the_page():
    ids = set(re.findall(r'\bid="([\w-]+)"', (STATIC / "index.html").read_text()))
    scripts = "\n".join(path.read_text() for path in FILES if path.suffix == ".js")
    assert set(re.findall(r'element\("([\w-]+)"\)', scripts)) <= ids
    assert set(re.findall(r'\b(?:for|aria-labelledby)="([\w-]+)"', (STATIC / "index.html").read_text())) <= ids


def test_it_is_small_over_the_wire():
    assert sum(len(gzip.compress(path.read_bytes())) for path in FILES) < 40_000
