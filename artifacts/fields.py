"""What is the same for the fields of every record that a user fills in: recipes, runs, measures."""

from quire.artifacts.errors import QuireError


def check_at_least(least: int, record: object, *names: str, error: type[QuireError]) -> None:
    """Refuse a record in which one of these fields is given and too small.

    Raises:
        QuireError: of the kind `error`; it names the field, and what it must be.
    """
    for name in names:
        if (value := getattr(record, name)) is not None and value < least:
            raise error(f"{name} is {value}; it must be at least {least}")
