"""What is shown of a stranger's text cannot steer a terminal."""

from hypothesis import example, given
from hypothesis import strategies as st

from quire.train.report.printable import decoded, printable


@given(st.text(st.characters(categories=None)))
@example("\x1b]0;title\x07")
@example("a\u202eb")
@example("\ud800")
def test_any_text_becomes_one_printable_line_that_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text


@given(st.text(min_size=1), st.integers(1, 20))
def test_a_limit_cuts_and_says_so(text: str, limit: int) -> None:
    shown = printable(text, limit=limit)
    assert shown.endswith("…") == (len(text) > limit or text[-1] == "…")
    assert shown.rstrip("…") == printable(text[:limit]).rstrip("…")


@given(st.binary())
def test_any_bytes_are_a_name(name: bytes) -> None:
    assert decoded(name).isprintable()
