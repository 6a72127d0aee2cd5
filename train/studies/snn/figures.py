"""Figures 3 to 8: the random graphs, what initialisation does, and robustness against properties.

The paper draws Figures 7 and 8 of the mean over the initialisations of a graph, as here.
"""

from collections.abc import Mapping

from quire.artifacts.bundle import open_bundle
from quire.train.report.graph_figures import distributions
from quire.train.report.plots.boxes import Boxes
from quire.train.report.plots.scatter import Scatter
from quire.train.studies.snn.correlation import correlation, mean_of_rest, without_outliers
from quire.train.studies.snn.priors import (
    AUTHORS,
    DENSITY,
    MEASURES,
    PARAMETERS,
    PATHS,
    SETTINGS,
    Priors,
    Robustness,
    scores,
    settings,
)
from quire.train.studies.study import Figure, Layout, Scale

_BOXES = {  # of each figure
    "figure5": ("fgsm_error_rate", "one_pixel_error_rate", "macro_f1"),
    "figure6": ("average_epsilon", "fgsm_confidence", "one_pixel_confidence"),
}
_POINTS = {
    "figure7": ((DENSITY, "one_pixel_error_rate"), (DENSITY, "one_pixel_confidence")),
    "figure8": (
        (PARAMETERS, "fgsm_error_rate"),
        (PARAMETERS, "average_epsilon"),
        (PARAMETERS, "one_pixel_error_rate"),
        (PATHS, "average_epsilon"),
    ),
}
_TITLES: Mapping[str, str] = {**MEASURES, "macro_f1": "macro-F1"}
_UNITS = {
    "rate": "fraction of images",
    "confidence": "probability",
    "epsilon": "standard deviations",
}
_PAPER = {  # what it calls the initialisations
    "normal": "N",
    "uniform": "U",
    "glorot_normal": "G_N",
    "glorot_uniform": "G_U",
    "he_normal": "He_N",
    "he_uniform": "He_U",
}


def _present(scale: Scale, found: Robustness) -> Layout:
    graphs = Figure(name="figure3-4", panels=distributions(open_bundle(found.bundle)), columns=3)
    boxes = (
        Figure(name=name, panels=tuple(_boxes(found, one) for one in names), columns=3)
        for name, names in _BOXES.items()
    )
    points = (
        Figure(name=name, panels=tuple(_points(found, *pair) for pair in pairs))
        for name, pairs in _POINTS.items()
    )
    wanted = SETTINGS[scale]
    notes = (
        settings(wanted.networks, wanted.attack),
        scores(found, "96.6 to 97.8 %, 97.3 on average"),
        "Boxes are over the networks of an initialisation, points are graphs: means over their"
        " networks without outliers.",
    )
    return Layout(figures=(graphs, *boxes, *points), notes=notes)


def _boxes(found: Robustness, name: str) -> Boxes:
    """A measure by initialisation."""
    values = found.measure(name)
    kinds = [_PAPER[row.initialisation] for row in found.rows[0]]  # in this order for each graph
    groups: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number, kind in enumerate(kinds):
        groups[kind] += values[:, number].tolist()
    unit = _UNITS.get(name.rpartition("_")[2], "")
    return Boxes(title=_TITLES[name], y_label=unit, groups=groups)


def _points(found: Robustness, title: str, name: str) -> Scatter:
    """A measure against a property."""
    x, y = found.properties[title], mean_of_rest(without_outliers(found.measure(name)))
    both = correlation(x, y)
    note = f"rho = {both.spearman.value:.2f}, tau = {both.kendall.value:.2f}, n = {both.n}"
    return Scatter(
        title=_TITLES[name],
        x_label=title,
        y_label=_UNITS[name.rpartition("_")[2]],
        groups={"": (x, y)},
        note=note,
    )


STUDY = Priors(
    title="Distributions of random graphs, and of the robustness of their networks",
    paper=f"{AUTHORS}, Figures 3 to 8",
    present=_present,
)
