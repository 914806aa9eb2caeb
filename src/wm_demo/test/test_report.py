"""The report: one file that needs nothing besides itself, and shows what the run came to."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from wm_demo.report import write_report
from wm_demo.strip import Foreseen, Still, Strip
from wm_demo.summary import summarise

from .test_summary import good_run


class Page(HTMLParser):
    """What a page refers to and says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe")
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def still(remembered: bool = True) -> Still:
    image_SSC = np.zeros((4, 4, 3), np.uint8)
    seen = Foreseen(image_SSC, 12.5)
    return Still(
        1.5, seen, Foreseen(image_SSC, 20.25), Foreseen(image_SSC, float("inf")) if remembered else None, image_SSC
    )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "trajectory.png"
    cv2.imwrite(str(path), np.zeros((3, 3, 3), np.uint8))
    return path


def page_of(tmp_path: Path, pictures: list[Path], strip: Strip, **changes: object) -> Page:
    summary = summarise(*good_run()) | changes
    page = Page(write_report(tmp_path / "report.html", summary, pictures, strip).read_text())
    assert page.open == []
    assert all(each.startswith("data:image/png;base64,") for each in page.references)
    return page


def test_the_report_holds_all_its_pictures(tmp_path: Path, picture: Path):
    page = page_of(tmp_path, [picture], Strip((still(), still(remembered=False))))
    assert len(page.references) == 1 + 4 + 3
    for said in ("12.5 dB", "20.2 dB", "same", "nothing", "1.5 s", "did its job", "first visit", "1.500"):
        assert said in page.text, said


def test_failures_are_said_and_names_are_escaped(tmp_path: Path, picture: Path):
    failures = ["<b>lost & gone</b>"]
    page = page_of(tmp_path, [picture], Strip(()), failures=failures, source="<script>1</script>")
    assert "did NOT do its job" in page.text
    assert failures[0] in page.text
    assert "nothing to compare" in page.text


def test_why_nothing_is_decoded_is_said(tmp_path: Path, picture: Path):
    page = page_of(tmp_path, [picture], Strip((still(),), "the artifact has no decoder"))
    assert "Nothing is decoded: the artifact has no decoder." in page.text
    assert "foreseen: decoded" not in page.text
