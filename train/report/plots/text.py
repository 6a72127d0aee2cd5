"""Texts and ticks that fit in: cut, turned upright, or left out rather than drawn over another."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import accumulate, pairwise, product
from math import ceil
from pathlib import Path
from textwrap import fill

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, ScalarFormatter

from quire.train.report.plots.style import SMALL
from quire.train.report.printable import NAME, printable

LETTER = 0.075  # inches that a letter takes, on average
MINUS = "\N{MINUS SIGN}"  # as matplotlib writes it

_AIR = 0.08  # inches between texts side by side
_LINE = 1.35  # heights of a letter from one name to the next
_LEAST = 6.5  # points of a name
_PLAIN = 1e-4, 1e7  # numbers that are short without an exponent
_TICKS = 9  # at round numbers, at most
_ROUND = (1, 2, 5, 10)  # steps between them, and their decimal multiples
_OTHERS = (1, 2, 3, 4, 5, 10)  # where of round ones but one tick would fit


def fitted(text: str, width: int) -> str:
    """A text in lines of `width` letters; what would take more than two lines is cut."""
    return fill(drawable(text, limit=2 * width), width, max_lines=2, placeholder="…")


def drawable(text: str, *, limit: int) -> str:
    """A text on one line, with `?` for the letters that the font has not."""
    return "".join(c if ord(c) in _letters() else "?" for c in printable(text, limit=limit))


@cache
def _letters() -> frozenset[int]:
    return frozenset(_font().get_charmap())


@cache
def _font() -> FT2Font:
    return FT2Font(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")))


def inches(text: str, points: float) -> float:
    """How long a text of one line is.

    >>> inches("", 9), inches("0", 72), inches("00", 72)
    (0.0, 0.636..., 1.272...)
    """
    return points / 72 * sum(map(_advance, text))


@cache
def _advance(letter: str) -> float:
    """How wide a letter is, by the size of the type."""
    font = _font()
    font.set_size(100, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 65536 / 100


def ticks_at(axes: Axes, values: Iterable[float], width: float) -> None:
    """Ticks at these x if their numbers fit in `width` inches, else at round numbers."""
    places = sorted(set(values))
    longest = max((len(f"{x:g}") for x in places), default=0)
    needed = (longest + 1.5) * LETTER / width * (places[-1] - places[0] if places else 0)
    if all(right - left >= needed for left, right in pairwise(places)):
        axes.set_xticks(places)
    else:
        whole = all(float(x).is_integer() for x in places)
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=_ROUND, integer=whole))


def ticks_among(axes: Axes, values: Sequence[float], width: float) -> None:
    """Ticks at rising x of an axis of `width` inches: at all, every second, third, ... as fits."""
    for step in range(1, len(values) + 1):
        chosen = values[::step]
        texts = [f"{x:.10g}".replace("-", MINUS) for x in chosen]
        if _side_by_side(axes, chosen, texts, width):
            break
    axes.set_xticks(chosen, texts)


def round_ticks(axes: Axes, width: float) -> None:
    """Ticks at as many round x as fit on an axis of `width` inches."""
    low, high = axes.get_xlim()
    write_plainly(axes.xaxis)
    formatter = axes.xaxis.get_major_formatter()
    for steps, count in product((_ROUND, _OTHERS), range(_TICKS, 0, -1)):
        axes.xaxis.set_major_locator(MaxNLocator(count, steps=steps, min_n_ticks=1))
        ticks = [float(x) for x in axes.xaxis.get_majorticklocs() if low <= x <= high]
        if len(ticks) > 1 and _side_by_side(axes, ticks, formatter.format_ticks(ticks), width):
            break


def _side_by_side(axes: Axes, values: Sequence[float], texts: Sequence[str], width: float) -> bool:
    """Whether texts at x do not touch."""
    low, high = axes.get_xlim()
    middles = [width * (x - low) / (high - low) for x in values]
    halves = [(inches(text, SMALL) + _AIR) / 2 for text in texts]
    ends = [(middle - half, middle + half) for middle, half in zip(middles, halves, strict=True)]
    return all(left[1] <= right[0] for left, right in pairwise(ends))


def write_plainly(axis: Axis) -> None:
    """Write numbers in full, so that no factor or summand for all of them stands at the end."""
    most = max(map(abs, axis.get_view_interval()))
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    plain = _PLAIN[0] <= most <= _PLAIN[1]
    axis.set_major_formatter(formatter if plain else FormatStrFormatter("%g"))


def name_ticks(axis: Axis, names: Sequence[str], *, length: float, longest: float) -> None:
    """Names at 0, 1, 2, ... of an axis of `length` inches, cut to so many inches at the longest.

    Names of an x axis that are too long to stand side by side, on two lines at most, stand upright.
    Where there are too many, type becomes smaller, then only every second, third, ... is named.
    """
    shown = [cut(name, longest) for name in names]
    each = length / max(1, len(names))
    if isinstance(axis, XAxis):
        for size in (SMALL, SMALL - 1):
            level = [_two_lines(name, size) for name in shown]
            if all(length + _AIR <= each for _, length in level):
                lines = [text for text, _ in level]
                axis.set_ticks(range(len(names)), lines, parse_math=False, fontsize=size)
                return
        axis.set_tick_params(rotation=90)
    small = min(SMALL, max(_LEAST, 72 * each / _LINE))
    step = max(1, ceil(small * _LINE / 72 / each - 1e-6))  # but for rounding, 1 if it fits
    axis.set_ticks(range(0, len(names), step), shown[::step], parse_math=False, fontsize=small)


def cut(name: str, longest: float) -> str:
    """As much of a name as takes so many inches of small type, on one line.

    >>> cut("aeroplane", 1), cut("aeroplane", 0.5), cut("aeroplane", 0)
    ('aeroplane', 'aerop…', '…')
    """
    text = drawable(name, limit=NAME)
    if inches(text, SMALL) <= longest:
        return text
    lengths = accumulate(inches(letter, SMALL) for letter in f"…{text}")
    return text[: max(0, sum(length <= longest for length in lengths) - 1)] + "…"


def _two_lines(name: str, points: float) -> tuple[str, float]:
    """A name cut in two at the space that makes its longer line shortest, and how long that is."""
    words = name.split(" ")
    both = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    lengths = [(max(inches(one, points) for one in lines), lines) for lines in both]
    if not lengths:
        return name, inches(name, points)
    length, lines = min(lengths)
    return "\n".join(lines), length
