"""In which order the images of a class become anchors: of an order the first ones are taken.

So three anchors are the one that would be alone, and two more. Every function orders the n images
of one class, numbered 0 to n - 1; of images that are equally good the lower number comes first.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def uniform(count: int, *, rng: np.random.Generator) -> Iterator[int]:
    """A permutation, each as likely as any other: drawing without replacement."""
    yield from rng.permutation(count).tolist()


def nearest(features: NDArray[np.float32]) -> Iterator[int]:
    """By the distance to the class's mean. (n, F) -> n numbers."""
    points = features.astype(np.float64)
    yield from np.argsort(_distances(points, points.mean(axis=0)), kind="stable").tolist()


def farthest(features: NDArray[np.float32]) -> Iterator[int]:
    """The one nearest to the mean, then always the one farthest from those before it.

    Farthest from them is whose nearest of them is farthest away: the greedy k-center of Gonzalez
    (Theoretical Computer Science 38, 1985). (n, F) -> n numbers.
    """
    points = features.astype(np.float64)
    chosen = next(nearest(features))
    gaps = np.full(len(points), np.inf)  # to the nearest of those before; -1 once it is among them
    for _ in points:
        yield chosen
        gaps = np.minimum(gaps, _distances(points, points[chosen]))
        gaps[chosen] = -1
        chosen = int(gaps.argmax())


def _distances(points: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared, row by row, so that equal rows have equal ones. (n, F), (F,) -> (n,)."""
    differences = points - centre
    squares: NDArray[np.float64] = np.square(differences, out=differences).sum(axis=1)
    return squares
