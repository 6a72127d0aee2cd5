"""Mean and 95 % interval of a few runs of one experiment, and how both are written.

Papers say "95 % confidence interval over 5 runs" and mostly not which of two they mean. With n runs
of mean m and sample deviation s, both intervals are m ± h:

* Student's: h = t s / sqrt(n), where t is the 97.5 % quantile of the t distribution with n - 1
  degrees of freedom. It holds 95 % of the time for normal values, since it allows for s being an
  estimate. It is what we print.
* the normal one: h = 1.96 s / sqrt(n), as if s were known. With 5 runs it is 2.776 / 1.96 = 1.42
  times too narrow, and holds 88 % of the time.

Both are kept, so that a paper's figure can be held against either.
"""

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan, sqrt

from scipy.special import stdtrit

STATISTICS = ("n", "mean", "deviation", "t_95", "z_95")  # the columns that `statistics_of` fills

_LEVEL = 0.975  # both tails together leave 5 %
_NORMAL = 1.96  # as papers round it


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the mean of an experiment lies; `t` and `z` are half-widths in the unit of the mean.

    A single run says nothing of how much runs differ: its deviation and half-widths are NaN.
    """

    n: int
    mean: float
    deviation: float  # of the sample: divided by n - 1
    t: float  # Student's
    z: float  # normal

    def __format__(self, spec: str) -> str:
        """The mean and Student's half-width, each in the form of a float; two decimals if none.

        >>> f"{interval([94, 95, 96]):.1f}", f"{interval([94.5])}"
        ('95.0 ± 2.5', '94.50')
        """
        spec = spec or ".2f"
        alone = format(self.mean, spec)
        return alone if isnan(self.t) else f"{alone} ± {self.t:{spec}}"

    def __str__(self) -> str:
        """As `format` has it with two decimals."""
        return format(self, "")


def interval(values: Sequence[float]) -> Interval:
    """The interval of one value for each run.

    The sums are exact, so neither the order of the runs nor a large common offset costs a digit.
    A run that diverged is not left out: with a NaN or infinite value the mean is NaN or infinite,
    and the rest is NaN.

    Raises:
        ValueError: there are no values.
    """
    numbers = [float(value) for value in values]
    n = len(numbers)
    if n == 0:
        raise ValueError("there are no values to take an interval of")
    mean = statistics.mean(numbers)
    deviation = statistics.stdev(numbers) if n > 1 and isfinite(mean) else nan
    error = deviation / sqrt(n)
    quantile = float(stdtrit(n - 1, _LEVEL)) if n > 1 else nan
    return Interval(n, mean, deviation, quantile * error, _NORMAL * error)


def statistics_of(values: Sequence[float]) -> tuple[str, ...]:
    """What a CSV says of some runs, in the order of `STATISTICS`; without runs only n is filled.

    Floats are written so that reading gives back the same number.

    >>> statistics_of([1, 3])
    ('2', '2.0', '1.41421...', '12.70620...', '1.96')
    >>> statistics_of([])
    ('0', '', '', '', '')
    """
    if not values:
        return "0", "", "", "", ""
    found = interval(values)
    numbers = (found.mean, found.deviation, found.t, found.z)
    return str(found.n), *map(repr, numbers)


def joined(values: Sequence[float]) -> str:
    """The single runs, in one field.

    >>> joined([95, 94.5])
    '95.0 94.5'
    """
    return " ".join(repr(float(value)) for value in values)


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    r"""Rows as RFC 4180 has them, but for lines that end in "\n".

    >>> csv_text([["a", "b"], ["1,5", 'a "b" c']])
    'a,b\n"1,5","a ""b"" c"\n'
    """
    lines = []
    for row in rows:
        line = io.StringIO(newline="")
        csv.writer(line).writerow(row)  # told to end lines in "\n", it leaves a "\r" unquoted
        lines.append(line.getvalue().removesuffix("\r\n"))
    return "".join(f"{line}\n" for line in lines)
