"""What the studies of CNN2Graph share: the models, the data, the settings.

Trivedy & Latecki, *CNN2Graph: Building Graphs for Image Classification* (WACV 2023).

`full` is the paper's setting: ImageNet's encoders, fine-tuned (name their weights with --weights;
without, they begin at random). `small` is a part of CIFAR-10 for a CPU: ResNet-20 from scratch,
which wants another learning rate. `smoke` is the embedded digits, and shows that everything fits
together. Anchors are drawn anew for each seed, as the paper does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from quire.builders.recipes.anchors import Anchors
from quire.models.cnn2graph import CNN2GraphConfig, Kind
from quire.train.classify.evaluate import Evaluate
from quire.train.classify.run import Classify, Encoder
from quire.train.report.grid import Grid
from quire.train.studies.bundles import DIGITS, Bundled, clean
from quire.train.studies.classifiers import SMOKE, Accuracies, Classifier, accuracy
from quire.train.studies.study import Layout, Scale

AUTHORS = "Trivedy & Latecki 2023"
BASELINE, GNN, TRANSFORMER = "baseline", "CNN2GNN", "CNN2Transformer"
KINDS: Mapping[str, Kind] = {GNN: "gnn", TRANSFORMER: "transformer"}
BACKBONES: Mapping[str, Encoder] = {
    "ResNet18": "imagenet-resnet18",
    "ResNet34": "imagenet-resnet34",
}

_AUGMENTED = Classify(head="linear", crop=(1.0, 1.0), shift=4, jitter=(0.4, 0.4, 0.4))
_SETTINGS: Mapping[Scale, Classify] = {
    "smoke": replace(SMOKE, shift=1),
    "small": replace(
        _AUGMENTED,
        encoder="resnet20",
        epochs=10,
        batch_size=128,
        lr=0.05,
        warmup=0.05,
        images=5_000,
    ),
    "full": replace(
        _AUGMENTED,
        epochs=100,
        batch_size=256,
        lr=3e-4,
        weight_decay=0.0,
        milestones=(),
        flip=False,
        resize=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
}
_ATTENTIVE_LR = 0.015  # where all goes through attention: from scratch, a higher one diverges
_SMALLER_BATCHES = ("cifar100", "imagenet")  # 100 images


def trial(
    scale: Scale,
    row: str,
    column: str,
    head: CNN2GraphConfig | None,
    *,
    data: str = "cifar10",
    backbone: str = "ResNet18",
    per_class: int = 1,
) -> Classifier:
    """A model of a table; without a head, the baseline."""
    config = setting(scale, head, data=data, backbone=backbone)
    name = DIGITS if scale == "smoke" else data
    anchors = Bundled(dataset=name, recipe=Anchors(per_class=per_class))
    return Classifier(
        row=row,
        column=column,
        config=config,
        data=clean(name, "train"),
        tests=((clean(name, "test"), Evaluate(settings=("inductive",))),),
        anchors=None if head is None else anchors,
    )


def setting(
    scale: Scale,
    head: CNN2GraphConfig | None,
    *,
    data: str = "cifar10",
    backbone: str = "ResNet18",
) -> Classify:
    """How a model is trained at a scale."""
    config = _SETTINGS[scale]
    if scale == "full":
        size = 100 if data in _SMALLER_BATCHES else config.batch_size
        config = replace(config, encoder=BACKBONES[backbone], batch_size=size)
    if head is None:
        return config
    rate = config.lr if head.own or scale == "full" else _ATTENTIVE_LR
    return replace(config, head="cnn2graph", cnn2graph=head, lr=rate)


def backbones(scale: Scale) -> tuple[str, ...]:
    """The paper's backbones; below the full scale there is one model in their place."""
    return tuple(BACKBONES) if scale == "full" else ("ResNet18",)


def accuracies(
    results: Accuracies, paper: Mapping[str, Sequence[float | str]], *columns: str
) -> Layout:
    """A table of accuracies: its rows of numbers, beside ours."""
    cells = [(row, column) for row in paper for column in columns]
    numbers = [number for row in paper.values() for number in row]
    grid = Grid(
        title="accuracy (%)",
        values={cell: accuracy(results, cell, "inductive") for cell in cells},
        rows=tuple(paper),
        columns=columns,
        paper=dict(zip(cells, numbers, strict=True)),
    )
    return Layout(grids=(grid,), notes=notes(results.scale))


def notes(scale: Scale, config: Classify | None = None) -> tuple[str, ...]:
    """What has to be known of the numbers of a scale before they are held against the paper's.

    `config` is that of the models, where it is another one than the scale's.
    """
    if scale == "full":
        return ()
    config = config or _SETTINGS[scale]
    images = "8 x 8 digits" if config.images is None else f"{config.images:,} images of CIFAR-10"
    began = "as it was learned on ImageNet" if config.frozen else "from scratch"
    return (
        f"Measured with {config.encoder} {began} after {config.epochs} epochs of {images} in"
        f" batches of {config.batch_size}; the paper's models begin with ImageNet's weights and see"
        " all images 100 times, in batches of 256.",
    )
