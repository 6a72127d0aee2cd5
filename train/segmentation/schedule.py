"""How fast a segmentation network learns, step by step."""


def poly(start: float, step: int, steps: int, *, power: float = 0.9) -> float:
    """The learning rate of a step, from 0: it falls from `start` to nothing after `steps`.

    The "poly" policy of DeepLab: start (1 - step / steps)^power.

    >>> [round(poly(2.5e-4, step, 100), 8) for step in (0, 50, 99)]
    [0.00025, 0.00013397, 3.96e-06]
    """
    return float(start * (1 - step / steps) ** power)
