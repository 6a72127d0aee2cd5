"""A page stands alone, and nothing that a stranger wrote becomes a part of it."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from quire.train.report.page import Picture, Section, Table, page, picture, shown, write_page
from quire.train.report.printable import printable

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "</style></title><iframe src='https://example.org'>",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "\x1b[2J\u202e\ud800",
]


class Parsed(HTMLParser):
    """A page's elements with their attributes, and its text between tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]


def sections(text: str) -> list[Section]:
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    return [
        Section(text, prose=(text, text)),
        Section(
            "tables",
            tables=(
                Table(((text, 1, 2.5), (text, 3, 4.5)), (text, "n", "x"), caption=text),
                Table(((text, text),), caption=text, folded=True),
            ),
        ),
        Section("pictures", pictures=(picture(image, density=2, description=text),)),
    ]


PLAIN = Parsed(page("plain", sections("plain")))


@given(st.text(min_size=1, max_size=30))
@example("a  b")
@settings(max_examples=20)
@pytest.mark.parametrize("prefix", ["", *HOSTILE])
def test_no_text_becomes_markup(prefix: str, text: str) -> None:
    text = f"{prefix}{text}"
    parsed = Parsed(page(text, sections(text)))
    assert parsed.tags == PLAIN.tags
    for (_, found), (_, plain) in zip(parsed.elements, PLAIN.elements, strict=True):
        assert found.keys() == plain.keys()
    assert parsed.texts.count(printable(text).strip()) >= 9
    [image] = [attributes for tag, attributes in parsed.elements if tag == "img"]
    assert image["alt"] == printable(text)


def test_a_page_needs_nothing_else() -> None:
    text = page("plain", sections("plain"))
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(PLAIN.tags)
    for _, attributes in PLAIN.elements:
        assert not {"href", "srcset", "style"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        source = attributes.get("src") or "data:"
        assert source.startswith("data:")
    [policy] = [a["content"] for _, a in PLAIN.elements if "http-equiv" in a]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "url(" not in text


def test_a_page_fits_phones_and_dark_screens() -> None:
    text = page("plain", [])
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text


def test_a_picture_is_in_the_page_at_its_size() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))
    one = picture(image, density=2, description="it")
    parsed = Parsed(page("t", [Section("s", pictures=(one,))]))
    [attributes] = [attributes for tag, attributes in parsed.elements if tag == "img"]
    assert attributes["width"] == "4"
    source = attributes["src"]
    assert source is not None and source.startswith("data:image/png;base64,")
    data = base64.b64decode(source.partition(",")[2], validate=True)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(image))


def test_sections_come_in_order_with_all_their_parts() -> None:
    parsed = Parsed(page("title", [Section("one", prose=("a", "b")), *sections("two")]))
    texts = [text for text in parsed.texts if text]
    assert texts.index("one") < texts.index("a") < texts.index("b") < texts.index("two")
    assert parsed.tags.count("section") == 4
    assert parsed.tags.count("details") == 1 and parsed.tags.count("caption") == 1


def test_numbers_stand_to_the_right_with_their_heading() -> None:
    table = Table((("a", 1234, 0.5), ("b", 5, 12.0)), ("name", "count", "seconds"))
    parsed = Parsed(page("t", [Section("s", tables=(table,))]))
    cells = [(tag, a.get("class")) for tag, a in parsed.elements if tag in ("th", "td")]
    line = [None, "number", "number"]
    assert cells == [("th", c) for c in line] + [("td", c) for c in line] * 2
    assert {"1,234", "0.50", "12.00"} <= set(parsed.texts)


@pytest.mark.parametrize("rows", [(), (("a",),)])
def test_small_tables_are_tables(rows: tuple[tuple[str], ...]) -> None:
    for headings in ((), ("h",)):
        text = page("t", [Section("s", tables=(Table(rows, headings),))])
        assert Parsed(text).tags.count("table") == 1


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back(number: float) -> None:
    text = shown(number).replace(",", "")
    assert text == str(number) if isinstance(number, int) else abs(float(text) - number) <= 0.00501


def test_the_same_sections_give_the_same_page_and_an_old_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_page(path, "old", [])
    write_page(path, "t", sections("é ✓"))
    assert path.read_text("utf-8") == page("t", sections("é ✓"))
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]


def test_a_picture_knows_its_bytes() -> None:
    assert isinstance(picture(Image.new("RGB", (2, 2)), density=1, description=""), Picture)
