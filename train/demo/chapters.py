"""What the demo trains, measures and blends: parts of studies, small enough for a few seconds.

A chapter of the demo is a study, and a line that says what came of it. What takes longer to show
what its paper says, attention to anchors and the segmentation of scenes, is left to its studies.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from quire.artifacts.bins_table import read_bins
from quire.artifacts.bundle import open_bundle
from quire.artifacts.cooccurrence_table import read_cooccurrence
from quire.builders.recipes.bins import ImageBins
from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.graphs import Graphs
from quire.builders.recipes.segmix import SegMix
from quire.loaders.stream import stream
from quire.models.similarity_graph import GraphConfig
from quire.train.gan.ndb import FLOOR, spread_of
from quire.train.gan.steps import to_signed
from quire.train.report.bin_centres import centres_sheet
from quire.train.report.contact_sheet import contact_sheet
from quire.train.report.grid import Grid
from quire.train.report.intervals import interval
from quire.train.report.plots.matrix import Matrix
from quire.train.sparse.attack_catalogue import Attack
from quire.train.sparse.run import Sparse
from quire.train.studies.bundles import DIGITS, Bundled, built, clean
from quire.train.studies.classifiers import Accuracies, Classifier, Classifiers
from quire.train.studies.mbsg import severity
from quire.train.studies.snn import figures
from quire.train.studies.snn.priors import Robustness, Setting
from quire.train.studies.study import Figure, Findings, Layout, Place, Scale, Study


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
_EPOCHS = 7
_GRAPH = GraphConfig(combine="sum", k=6)  # a tenth of a batch of 64: as many as a class has there


def _trials(scale: Scale) -> list[Classifier]:
    """Two models of the study of severity, trained until they know the digits."""
    return [
        replace(
            one,
            config=replace(one.config, epochs=_EPOCHS, graph=_GRAPH),
            tests=tuple((bundle, replace(how, images=None)) for bundle, how in one.tests),
        )
        for one in severity.STUDY.trials(scale)
        if one.row in _MODELS
    ]


def _present(results: Accuracies) -> Layout:
    note = (
        "Classifiers of the 8 x 8 digits, without a similarity graph and with one, trained for"
        f" {_EPOCHS} epochs. Each corrupted digit is classified among 63 clean digits of the"
        " training split. Bands are 95 % intervals over three seeds: where they overlap, nothing is"
        " said of which model is better. The study `mbsg-severity` asks it of CIFAR-10."
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


# With so few neighbours graphs have many sources and sinks; networks with few of them learn little.
NETWORKS = Setting(
    dataset=DIGITS,
    graphs=Graphs(
        sizes=(60, 100), nei=(1,), p=(0.5, 0.9), inputs=64, least=800, most=20_000, graphs=4
    ),
    networks=Sparse(epochs=25, batch_size=32, lr=5e-3),
    attack=Attack(
        epsilon=0.03, images=120, pixel_images=10, population=20, generations=3, step=0.02
    ),
)


def _present_priors(scale: Scale, found: Robustness) -> Layout:
    note = (
        "Small-world graphs, made acyclic, are the hidden structure of networks that classify the"
        f" digits: {len(found.rows)} graphs, each in six initialisations. All were trained side by"
        " side, then attacked by the fast gradient sign method and by changing one pixel."
    )
    whole = figures.STUDY.present(scale, found)
    shown = tuple(one for one in whole.figures if one.name in ("figure3-4", "figure5"))
    scores, fooled = found.measure("macro_f1"), found.measure("fgsm_error_rate")
    said = (
        f"{found.count} networks: macro-F1 {100 * scores.min():.1f} to {100 * scores.max():.1f} %;"
        f" a change of {NETWORKS.attack.epsilon:g} in every pixel fools"
        f" {100 * fooled.min():.0f} to {100 * fooled.max():.0f} % of what they know"
    )
    return replace(whole, figures=shown, notes=(note, f"{said}."))


NETWORK_STUDY = replace(figures.STUDY, present=_present_priors, setting=NETWORKS)


@dataclass(frozen=True, kw_only=True)
class Blending:
    """Which classes of drawn scenes meet, and the blends of scenes with classes that they lack."""

    scales: ClassVar[tuple[Scale, ...]] = ("smoke",)

    counted: Bundled
    blended: Bundled
    title: str = "Scenes blended by category"
    paper: str = "Islam et al. 2021, Section 3.1"

    def carry_out(
        self, scale: Scale, place: Place, *, seeds: int | None = None
    ) -> Iterator[Findings]:
        """See `quire.train.studies.study.Study`; nothing is trained, so there are no seeds."""
        counts = read_cooccurrence(open_bundle(built(self.counted, place).place))
        bundle = open_bundle(built(self.blended, place).place)
        names = counts.class_names[1:]  # without the background
        panels = tuple(
            Matrix(
                title=title,
                values=values[1:, 1:],
                row_labels=names,
                column_labels=names,
                bar_label=unit,
            )
            for title, unit, values in (
                ("scenes with both classes", "scenes", counts.images),
                ("pixels of a class in scenes with another", "pixels", counts.pixels),
            )
        )
        sheet = contact_sheet(bundle, density=2)
        assert sheet is not None
        note = (
            f"{counts.masks} drawn scenes were counted for which classes meet. For SegMix each is"
            " blended with one of every class that it lacks: 70 to 100 % of one scene and the rest"
            " of the other, its phantom. Beside each blend are the masks of both."
        )
        said = f"{len(bundle.index)} blends of scenes of {len(names)} classes, with both masks"
        layout = Layout(
            figures=(Figure(name="cooccurrence", panels=panels),),
            pictures={"blends": sheet},
            notes=(note, f"{said}."),
        )
        yield Findings(layout=layout, heading=("blends",), lines=((str(len(bundle.index)),),))


BLENDING = Blending(
    counted=Bundled(dataset="shapes:400?size=96", recipe=Cooccurrence(split="train")),
    blended=Bundled(
        dataset="shapes:400?size=96",
        recipe=SegMix(split="train", crop=96, scale=(0.9, 1.2), limit=600),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Spreading:
    """How digits spread over bins of other digits: what a generator would be measured by."""

    scales: ClassVar[tuple[Scale, ...]] = ("smoke",)

    images: Bundled
    bins: Bundled
    title: str = "How images spread over bins of others"
    paper: str = "Richardson & Weiss 2018, Section 3.1"

    def carry_out(
        self, scale: Scale, place: Place, *, seeds: int | None = None
    ) -> Iterator[Findings]:
        """See `quire.train.studies.study.Study`; nothing is trained, so there are no seeds."""
        bins = read_bins(open_bundle(built(self.bins, place).place))
        digits = built(self.images, place).place
        index = open_bundle(digits).index
        rest = np.flatnonzero(
            ~np.isin(index.rows.columns["source_index"][:], bins.source_index)
        ).tolist()
        batches = [*stream(digits, rows=rest)]
        others = to_signed(torch.cat([batch["image"] for batch in batches]))
        labels = torch.cat([batch["label"] for batch in batches])
        half = others[labels < 5]
        spreads = {  # of as many images each, as NDB hangs on their number
            "other digits": spread_of([others], bins),
            "their 0 to 4 alone": spread_of([half.repeat(3, 1, 1, 1)[: len(others)]], bins),
            "one of them alone": spread_of([others[:1].expand_as(others)], bins),
        }
        values = {
            (name, column): [number]
            for name, one in spreads.items()
            for column, number in {
                "images": one.images,
                "NDB/K": one.score,
                "JS (nats)": one.js,
                "bins reached": one.reached,
            }.items()
        }
        rows, columns = (tuple(dict.fromkeys(cell[axis] for cell in values)) for axis in (0, 1))
        title = f"digits over {len(bins)} bins of {len(bins.bin):,} others"
        grid = Grid(title=title, values=values, rows=rows, columns=columns, corner="digits")
        scores = ", ".join(f"{name} {one.score:.2f}" for name, one in spreads.items())
        said = f"statistically different bins (NDB/K): {scores}"
        note = (
            f"{len(bins.bin):,} digits in {len(bins)} bins by k-means, whose centres are shown, and"
            " how many bins hold significantly more or fewer of other digits (NDB). A generator is"
            f" measured so. Where nothing differs NDB/K is {FLOOR} on average, here one bin, give"
            " or take one or two; of one that makes but a few kinds of images it is near 1."
        )
        layout = Layout(
            grids=(grid,),
            pictures={"centres": centres_sheet(bins, density=2)},
            notes=(note, f"{said}."),
        )
        yield Findings(layout=layout, heading=("ndb",), lines=((scores,),))


SPREADING = Spreading(
    images=clean(DIGITS, "train"),
    bins=Bundled(dataset=DIGITS, recipe=ImageBins(bins=20, images=900)),
)

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
        study=NETWORK_STUDY,
        outcome=_last_note,
    ),
    Chapter(
        name="spread",
        heading="How images spread over bins",
        study=SPREADING,
        outcome=_last_note,
    ),
    Chapter(
        name="blend",
        heading="Scenes blended by category",
        study=BLENDING,
        outcome=_last_note,
    ),
)
