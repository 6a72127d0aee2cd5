"""What the demo trains and measures: parts of studies, at their smallest scale.

A chapter of the demo is a study, and a line that says what came of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from models.cnn2graph import CNN2GraphConfig
from models.similarity_graph import GraphConfig
from train.report.intervals import interval
from train.segmentation.evaluate import ALL
from train.studies.classifiers import Accuracies, Classifier, Classifiers, accuracy
from train.studies.cnn2graph import attention
from train.studies.cnn2graph.setting import trial
from train.studies.mbsg import severity
from train.studies.segmix import table1
from train.studies.segmix.network import Ious, Network, Networks
from train.studies.segmix.setting import BASELINE, CC, METHODS, SETTINGS, SMALL, networks
from train.studies.segmix.table1 import panels
from train.studies.segmix.tables import Column, table
from train.studies.snn import figures
from train.studies.snn.priors import Robustness
from train.studies.study import Layout, Scale, Study


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A study that the demo carries out."""

    name: str  # of the step, and of the study's folder
    heading: str  # in the report
    study: Study
    outcome: Callable[[Layout], str]


def _last_note(layout: Layout) -> str:
    note = layout.notes[-1]
    return note[0].lower() + note[1:].removesuffix(".")


_MODELS = ("baseline", "MBSG (sum)")
_GRAPH = GraphConfig(combine="sum", k=6)  # a tenth of a batch of 64: as many as a class has there


def _trials(scale: Scale) -> list[Classifier]:
    """Two models of the study of severity, trained until they know the digits."""
    return [
        replace(one, config=replace(one.config, epochs=12, graph=_GRAPH))
        for one in severity.STUDY.trials(scale)
        if one.row in _MODELS
    ]


def _present(results: Accuracies) -> Layout:
    note = (
        "Classifiers of the 8 x 8 digits, without a similarity graph and with one, trained for 12"
        " epochs. Each corrupted digit is classified among 63 clean digits of the training split."
    )
    return replace(severity.STUDY.present(results), notes=(note,))


def _accuracy(layout: Layout) -> str:
    noise = layout.grids[0]
    clean = [
        f"{row} {interval(noise.values[row, noise.columns[0]]).mean:.1f} %" for row in noise.rows
    ]
    return f"accuracy on clean digits: {', '.join(clean)}"


SEVERITY: Classifiers = replace(
    severity.STUDY, seeds={"smoke": 3}, trials=_trials, present=_present
)


def _present_priors(scale: Scale, found: Robustness) -> Layout:
    note = (
        "Small-world graphs, made acyclic, are the hidden structure of networks that classify the"
        f" digits: {len(found.rows)} graphs, each in six initialisations. All were trained side by"
        " side, then attacked by the fast gradient sign method and by changing one pixel."
    )
    whole = figures.STUDY.present(scale, found)
    shown = tuple(one for one in whole.figures if one.name in ("figure3-4", "figure5"))
    score = f"macro-F1 {100 * found.measure('macro_f1').mean():.1f} % in the mean"
    return replace(whole, figures=shown, notes=(note, f"{found.count} networks: {score}."))


_BESIDE, _ALONE = "image and attention", "attention alone"


def _attending(scale: Scale) -> list[Classifier]:
    """A model that may use attention, and one that has nothing else; trained for long enough."""
    models = {_BESIDE: (12, CNN2GraphConfig()), _ALONE: (20, CNN2GraphConfig(own=False))}
    trials = [
        (trial(scale, name, "digits", head), epochs) for name, (epochs, head) in models.items()
    ]
    return [replace(one, config=replace(one.config, epochs=epochs)) for one, epochs in trials]


def _present_attention(results: Accuracies) -> Layout:
    note = (
        "One digit of each class is its anchor, one learned vector its proxy. A CNN2Transformer was"
        " trained that classifies a digit by its own features and by what it attends to, and one"
        " that classifies it by the latter alone. The matrices show to whose proxies the test"
        " digits of each class attend, in the mean."
    )
    reached = {cell: accuracy(results, cell, "inductive") for cell in results.attempts}
    said = [f"{row} {interval(found).mean:.1f} %" for (row, _), found in reached.items() if found]
    whole = attention.PROXIES.present(results)
    return replace(whole, notes=(note, f"Accuracy on the test digits: {', '.join(said)}."))


ATTENTION: Classifiers = replace(attention.PROXIES, trials=_attending, present=_present_attention)

_SMOKE = SETTINGS["smoke"]
SHAPES = replace(
    _SMOKE,
    dataset="shapes:400?size=48",
    network=replace(
        _SMOKE.network, crop=48, scale=(0.75, 1.33), epochs=16, lr=0.1, denoising_epochs=2
    ),
    blends=1_600,
    blend_epochs=4,
)
SEGMENTED = {name: METHODS[name] for name in (BASELINE, CC)}


def _segmenting(scale: Scale) -> list[Network]:
    return networks(SHAPES, SEGMENTED, (SMALL,))


def _present_scenes(results: Ious) -> Layout:
    note = (
        "Drawn scenes were counted for which classes meet, divided into subsets, and blended with"
        " one of every class that they lack. DeepLabv3 was trained on the scenes as they are, and"
        " feature binding on the blends: S_t tells the dominant scene of a blend from the phantom,"
        " S_fb binds both. Below are scenes as they were drawn, and what each makes of them."
    )
    subsets = {"all": ALL, "with an occluded object": "1-occ", "of two classes": "2-unique"}
    columns = {name: Column(trunk=SMALL, subset=subset) for name, subset in subsets.items()}
    grid = table(results, "mean IoU (%) on drawn scenes", SEGMENTED, columns)
    reached = [f"{row} {interval(grid.values[row, 'all']).mean:.1f} %" for row in grid.rows]
    return Layout(
        grids=(grid,),
        pictures={"panels": panels(results)},
        notes=(note, f"Mean IoU: {', '.join(reached)}."),
    )


SEGMENTATION: Networks = replace(table1.STUDY, trials=_segmenting, present=_present_scenes)

CHAPTERS = (
    Chapter(
        name="train",
        heading="Accuracy under noise and blur",
        study=SEVERITY,
        outcome=_accuracy,
    ),
    Chapter(
        name="attack",
        heading="Sparse networks from random graphs",
        study=replace(figures.STUDY, present=_present_priors),
        outcome=_last_note,
    ),
    Chapter(
        name="attend",
        heading="Attention to anchors and proxies",
        study=ATTENTION,
        outcome=_last_note,
    ),
    Chapter(
        name="segment",
        heading="Scenes, and scenes blended by category",
        study=SEGMENTATION,
        outcome=_last_note,
    ),
)
