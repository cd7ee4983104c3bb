"""Tests of the HTML report: self-contained, everything escaped."""

import base64
import re
from html.parser import HTMLParser

import pytest
from results_folder import confirmed_study, finished, predictions, unfinished, write_study

from analysis.render.document import Bullets, Figure, Section, Table
from analysis.render.html import to_html
from analysis.report import main

HOSTILE = '<script>alert("x")</script>\'"><img src=http://evil.example/x onerror=a&amp;b>'
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Tags with their attributes and the text, as a browser reads them; tags must be balanced."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_every_kind_of_content_is_escaped():
    section = Section(
        HOSTILE,
        [
            HOSTILE,
            Bullets([HOSTILE]),
            Table((HOSTILE, "n"), [(HOSTILE, HOSTILE)], frozenset({HOSTILE})),
            Figure(HOSTILE, HOSTILE, HOSTILE, b"png"),
        ],
    )
    page = Page(to_html(HOSTILE, [section]))
    assert page.all("script") == []
    assert [image["src"] for image in page.all("img")] == [
        "data:image/png;base64," + base64.b64encode(b"png").decode()
    ]
    assert page.all("img")[0]["alt"] == HOSTILE
    # Title twice, heading and its link, sentence, item, three cells, caption.
    assert "".join(page.text).count(HOSTILE) == 10


def test_the_page_loads_nothing_and_forbids_loading():
    page = to_html("T", [Section("S", ["x"])])
    assert "default-src 'none'" in page
    assert re.search(r"https?:|url\(|@import|<link", page) is None


def test_invalid_characters_are_replaced():
    page = to_html("T", [Section("S", ["a\x00b\ud800c\x1b[0m"])])
    assert "a\ufffdb\ufffdc\ufffd[0m" in page
    page.encode("utf-8")


def test_contents_link_to_the_sections_and_columns_have_headers():
    page = Page(to_html("T", [Section("One", ["x"]), Section("Two", [Table(("a", "b"), [])])]))
    assert [link["href"] for link in page.all("a")] == ["#section-1", "#section-2"]
    assert [heading["id"] for heading in page.all("h2")] == ["section-1", "section-2"]
    assert [header["scope"] for header in page.all("th")] == ["col", "col"]


def test_the_report_is_one_file_with_every_figure_and_its_description(tmp_path):
    folder = confirmed_study(tmp_path / "s")
    assert main([str(folder)]) == 0
    page = Page((folder / "report" / "report.html").read_text())
    pictures = {path.read_bytes() for path in (folder / "report").glob("*.png")}
    images = page.all("img")
    shown = {base64.b64decode(image["src"].partition("base64,")[2]) for image in images}
    assert shown == pictures
    assert len(images) >= 9
    assert all(len(image["alt"]) > 20 for image in images)
    assert len({image["alt"] for image in images}) == len(images)
    assert {tag for tag, _ in page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "nav", "ul", "li",
        "a", "section", "p", "div", "table", "thead", "tbody", "tr", "th", "td", "figure", "img",
        "figcaption",
    }  # fmt: skip


@pytest.mark.parametrize("scene", [HOSTILE, "$\\frac{$", "a" * 200, "*_`|"])
def test_markup_in_a_scene_or_error_is_shown_as_text(tmp_path, scene):
    lines = [(scene, "l-1", "a", scene, "park"), ("park", "l-2", "a", "park", scene)]
    trials = [finished("t", 25), unfinished("u", 25, "failed", scene)]
    folder = write_study(
        tmp_path / "s", trials, predicted={"t": predictions(lines, ("park", scene))}
    )
    assert main([str(folder)]) == 0
    page = Page((folder / "report" / "report.html").read_text())
    assert page.all("script") == []
    assert f"failed: u: {scene}" in "".join(page.text)
    assert len(page.all("img")) == len(list((folder / "report").glob("*.png")))
