"""What is the same for the fields of every record that a user fills in: recipes, runs, measures."""

from collections.abc import Collection

from quire.artifacts.errors import QuireError


def check_at_least(least: int, record: object, *names: str, error: type[QuireError]) -> None:
    """Refuse a record in which one of these fields is given and too small.

    Raises:
        QuireError: of the kind `error`; it names the field, and what it must be.
    """
    for name in names:
        if (value := getattr(record, name)) is not None and value < least:
            raise error(f"{name} is {value}; it must be at least {least}")


def check_some_of(
    known: Collection[str], record: object, name: str, *, error: type[QuireError]
) -> None:
    """Refuse a record whose field of this name is not some of what is known, each once.

    Raises:
        QuireError: of the kind `error`; it names the field, and what it must be.
    """
    chosen = getattr(record, name)
    if not chosen or len({*chosen}) != len(chosen):
        raise error(f"{name} must be some of {', '.join(known)}, each of them once")
    if unknown := {*chosen} - {*known}:
        raise error(f"{name}: there is no {min(unknown)!r}; there are {', '.join(known)}")
