"""Text of strangers, made fit to show: a bundle's names may hold anything at all."""

NAME = 200  # characters of a name that are shown


def printable(text: object, *, limit: int | None = None) -> str:
    """What a value says, on one line and without characters that steer a terminal or hide.

    Control characters, line breaks, marks that turn the direction of writing, and halves of
    characters stand as escapes. What is longer than the limit is cut and ends in an ellipsis.

    >>> printable("cat"), printable("a\\x1b[2Jb\\n"), printable(None), printable("abc", limit=2)
    ('cat', 'a\\\\x1b[2Jb\\\\n', 'None', 'ab…')
    """
    text = str(text)
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:limit])
    return shown if limit is None or len(text) <= limit else f"{shown}…"


def decoded(name: bytes) -> str:
    """A name as the index holds it.

    >>> decoded(b"fog"), decoded(b"\\xff")
    ('fog', '\\\\xff')
    """
    return printable(name.decode("utf-8", "backslashreplace"), limit=NAME)
