"""Accuracy against the severity of noise and blur: Figure 2, and 7 and 9 of the earlier version.

`figure` has all models in a panel for each; `noise` and `blur` have a panel for each model beside
the baseline, without attention above and with it below, as the earlier version draws them.

The paper prints curves and no numbers: at high noise models with a graph are "50 % or better in
relative terms" over the baseline, and about 2 % better over the range of blur. Its severities are
not published; ours are standard deviations, on [0, 1] pixels for noise and in pixels for blur.
Evaluation is transductive: one corrupted test image among clean training images.
"""

from collections.abc import Mapping
from dataclasses import replace

from quire.builders.recipes.corrupted import Corrupted
from quire.train.classify.evaluate import Evaluate
from quire.train.report.grid import Grid
from quire.train.report.plots.curves import Curve, Curves
from quire.train.studies.bundles import Bundled
from quire.train.studies.classifiers import Accuracies, Classifier, accuracy, severities
from quire.train.studies.mbsg.setting import BASELINE, VARIANTS, clean, dataset, notes, setting
from quire.train.studies.study import Figure, Layout, Scale
from quire.train.studies.trials import Trials

_NOISE = (0.04, 0.08, 0.12, 0.16, 0.2, 0.24)
_BLUR = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
_SIGMAS: Mapping[Scale, Mapping[str, tuple[float, ...]]] = {
    "smoke": {"noise": (0.1, 0.2, 0.3, 0.4), "blur": (0.5, 0.75, 1.0)},
    "small": {"noise": _NOISE, "blur": _BLUR[1::2]},
    "full": {"noise": _NOISE, "blur": _BLUR},
}
_IMAGES: Mapping[Scale, int | None] = {
    "smoke": 60,
    "small": 1000,
    "full": None,
}  # of the test split
_NAMES = {"noise": "gaussian_noise_sigma", "blur": "gaussian_blur_sigma"}
_COLUMN = "accuracy"


def _trials(scale: Scale) -> list[Classifier]:
    tests = []
    for kind, sigmas in _SIGMAS[scale].items():
        recipe = Corrupted(corruptions=(_NAMES[kind],), sigmas=sigmas)
        wanted = (_NAMES[kind], "clean") if kind == "noise" else (_NAMES[kind],)
        how = Evaluate(settings=("transductive",), corruptions=wanted, images=_IMAGES[scale])
        tests.append((Bundled(dataset=dataset(scale), recipe=recipe), how))
    return [
        Classifier(
            row=name,
            column=_COLUMN,
            config=setting(scale, graph),
            data=clean(scale, "train"),
            tests=tuple(tests),
        )
        for name, graph in VARIANTS.items()
    ]


def _present(results: Accuracies) -> Layout:
    names = tuple(name for name in VARIANTS if (name, _COLUMN) in results.attempts)
    grids, panels, figures = [], [], []
    for kind, corruption in _NAMES.items():
        sigmas = (0.0, *severities(results, corruption))
        cells = {sigma: (corruption if sigma else "clean", sigma) for sigma in sigmas}
        values = {
            (name, sigma): accuracy(results, (name, _COLUMN), "transductive", *cell)
            for name in names
            for sigma, cell in cells.items()
        }
        grids.append(
            Grid(
                title=f"accuracy (%) under Gaussian {kind}, by sigma",
                values={(name, f"{sigma:g}"): found for (name, sigma), found in values.items()},
                rows=names,
                columns=tuple(f"{sigma:g}" for sigma in sigmas),
            )
        )
        curves = tuple(
            Curve(
                label=name,
                x=sigmas,
                values=tuple(values[name, sigma] for sigma in sigmas),
                reference=name == BASELINE,
            )
            for name in names
        )
        unit = {"noise": "sigma of [0, 1] pixels", "blur": "sigma in pixels"}[kind]
        whole = Curves(
            title=f"Gaussian {kind}", x_label=unit, y_label="accuracy (%)", curves=curves
        )
        panels.append(whole)
        figures.append(Figure(name=kind, panels=_beside_baseline(whole), columns=3))
    images = f"Every accuracy is over {_IMAGES[results.scale] or 'all'} images of the test split."
    figure = Figure(name="figure", panels=tuple(panels))
    return Layout(
        grids=tuple(grids),
        figures=(figure, *figures),
        notes=(_PAPER, *notes(results.scale), images),
    )


def _beside_baseline(whole: Curves) -> tuple[Curves, ...]:
    """A panel for each model, beside the baseline."""
    baseline = [curve for curve in whole.curves if curve.reference]
    return tuple(
        replace(whole, title=curve.label, curves=(curve, *baseline))
        for curve in whole.curves
        if not curve.reference
    )


_PAPER = (
    "The paper's Figure 2 has curves without numbers. Its text: at the highest noise, models with a"
    " graph reach 1.5 times the baseline's accuracy or more; under blur, about 2 % more throughout."
)

STUDY = Trials(
    title="Accuracy against the severity of noise and blur",
    paper="Mondal, Jain & Siddiqi 2021, Figure 2",
    seeds={"smoke": 1, "small": 1, "full": 5},  # a seed of small takes half an hour and more
    trials=_trials,
    present=_present,
)
