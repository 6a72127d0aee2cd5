"""What the studies of mini-batch similarity graphs share: the models, the data, the settings.

Mondal, Jain & Siddiqi, *Mini-batch Similarity Graphs for Robust Image Classification* (2021).

`full` is the paper's setting. `small` is CIFAR-10 for two cores of any CPU: 10,000 training images,
ResNet-20 (He et al. 2016, section 4.2) in float32, a few epochs of batches of 128 (a row of the
paper's Table 3) with milder crops, as the paper's want hundreds of epochs. `smoke` is the embedded
digits, and shows that everything fits together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from quire.models.similarity_graph import GraphConfig
from quire.train.classify.baselines import SupConConfig
from quire.train.classify.evaluate import Evaluate
from quire.train.classify.run import Classify
from quire.train.report.grid import Grid
from quire.train.studies import bundles
from quire.train.studies.bundles import Bundled
from quire.train.studies.classifiers import SMOKE, Accuracies, Classifier, accuracy
from quire.train.studies.study import Layout, Scale

BASELINE = "baseline"
VARIANTS: Mapping[str, GraphConfig | None] = {
    BASELINE: None,
    "MBSG (concat)": GraphConfig(combine="concat"),
    "MBSG (sum)": GraphConfig(combine="sum"),
    "MBSG (dropfeat)": GraphConfig(combine="dropfeat"),
    "Attn-MBSG (concat)": GraphConfig(combine="concat", attention=True),
    "Attn-MBSG (sum)": GraphConfig(combine="sum", attention=True),
    "Attn-MBSG (dropfeat)": GraphConfig(combine="dropfeat", attention=True),
}

RIVALS = ("supervised contrastive", "affinity supervision", "self-distillation")
_EPOCHS: Mapping[Scale, tuple[int, int]] = {  # of contrast, and of the linear layer after it
    "smoke": (2, 2),
    "small": (6, 6),
    "full": (1000, 100),
}

DROPFEAT = ("MBSG (dropfeat)", "Attn-MBSG (dropfeat)")  # the models of Tables 2 and 3
_SETTINGS: Mapping[Scale, Classify] = {
    "smoke": replace(SMOKE, head="graph", crop=(0.7, 1.0)),
    "small": Classify(
        encoder="resnet20",
        epochs=6,
        batch_size=128,
        lr=0.1,
        warmup=0.1,  # without it the first tenth of so short a run is lost
        crop=(0.5, 1.0),
        images=10_000,
        precision="float32",  # bfloat16 takes 12 times as long where a CPU has none of its own
    ),
    "full": Classify(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
}
_COLOURS: Mapping[str, Any] = {"jitter": (0.4,) * 3, "hue": 0.1, "jittered": 0.8, "grey": 0.2}


def setting(scale: Scale, graph: GraphConfig | None) -> Classify:
    """How a model is trained at a scale; without a graph, the baseline."""
    config = _SETTINGS[scale]
    return replace(config, head="linear") if graph is None else replace(config, graph=graph)


def rival(scale: Scale, name: str) -> Classify:
    """How one of RIVALS is trained at a scale; each sees other numbers of images."""
    config = setting(scale, None)
    if name == "affinity supervision":
        return replace(config, objective="affinity")
    if name == "self-distillation":
        return replace(config, objective="ddgsd")
    epochs, probe = _EPOCHS[scale]
    colours = {} if scale == "smoke" else _COLOURS
    return replace(
        config,
        objective="supcon",
        supcon=SupConConfig(epochs=probe),
        epochs=epochs,
        lr=0.05,
        **colours,
    )


def dataset(scale: Scale, name: str = "cifar10") -> str:
    """The dataset that is read at a scale."""
    return bundles.DIGITS if scale == "smoke" else name


def clean(scale: Scale, split: str, name: str = "cifar10") -> Bundled:
    """The images of a split as they are."""
    return bundles.clean(dataset(scale, name), split)


def notes(scale: Scale) -> tuple[str, ...]:
    """What has to be known of the numbers of a scale before they are held against the paper's."""
    config = _SETTINGS[scale]
    images = "8 x 8 digits" if config.images is None else f"{config.images:,} images"
    measured = f"Measured with {config.encoder} after {config.epochs} epochs of {images}"
    paper = "the paper's models are ResNet-50 after 500 epochs of 50,000 images in batches of 256"
    return () if scale == "full" else (f"{measured} in batches of {config.batch_size}; {paper}.",)


def ablation_trial(scale: Scale, row: str, column: str, config: Classify) -> Classifier:
    """A model of Table 2 or 3: trained on CIFAR-10, measured on mini-batches of test images."""
    return Classifier(
        row=row,
        column=column,
        config=config,
        data=clean(scale, "train"),
        tests=((clean(scale, "test"), Evaluate(settings=("inductive",))),),
    )


def ablation(
    results: Accuracies, title: str, paper: Mapping[str, Sequence[float]], *columns: str
) -> Layout:
    """Table 2 or 3: its rows of numbers, beside ours."""
    cells = [(row, column) for row in paper for column in columns]
    numbers = [number for row in paper.values() for number in row]
    grid = Grid(
        title=title,
        values={cell: accuracy(results, cell, "inductive") for cell in cells},
        rows=tuple(paper),
        columns=columns,
        paper=dict(zip(cells, numbers, strict=True)),
    )
    return Layout(grids=(grid,), notes=notes(results.scale))
