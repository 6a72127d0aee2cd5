"""What the studies of GANs share: the models, the data and the settings.

Mondal, Jain & Siddiqi, the earlier version of *Mini-batch Similarity Graphs* (2021), section 4.5
and supplement 6.3.

`full` is the paper's setting. `small` is for two cores: 32x32 spots at 25 places, networks an
eighth as wide, batches of 64, and five times the learning rates for 600 steps; a vanilla GAN is
collapsed for the first half of them. `smoke` is the embedded digits, and shows that everything fits
together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from quire.builders.recipes.bins import ImageBins
from quire.train.engine.metrics import read_metrics
from quire.train.engine.runs import to_record
from quire.train.gan.run import Gan
from quire.train.gan.training import train
from quire.train.studies.bundles import Bundled, Ready, clean
from quire.train.studies.study import Place, Scale
from quire.train.studies.trials import Attempt

VANILLA, MINIBATCH, MC_MBGNN = "vanilla GAN", "minibatch discrimination", "MC-MBGNN"
MODELS: Mapping[str, Mapping[str, str]] = {
    VANILLA: {"discriminator": "vanilla"},
    MINIBATCH: {"discriminator": "minibatch"},
    MC_MBGNN: {"discriminator": "mc-mbgnn"},
}
SETTINGS: Mapping[Scale, Mapping[str, tuple[str, Gan, ImageBins]]] = {  # by the dataset's name
    "smoke": {
        "digits": (
            "digits:32",
            Gan(
                discriminator="vanilla",
                width=2,
                latent=8,
                iterations=4,
                batch_size=16,
                measure_every=2,
                samples=64,
            ),
            ImageBins(bins=10, restarts=2),
        )
    },
    "small": {
        "25 modes": (
            "modes:",
            Gan(
                discriminator="vanilla",
                width=8,
                iterations=600,
                batch_size=64,
                lr_discriminator=5e-4,
                lr_generator=1e-3,
                measure_every=50,
                samples=2_560,
            ),
            ImageBins(bins=25),
        )
    },
    "full": {
        "CIFAR-10": ("cifar10", Gan(discriminator="vanilla"), ImageBins()),
        "CelebA": ("celeba", Gan(discriminator="vanilla", iterations=7_500), ImageBins()),
    },
}


@dataclass(frozen=True, slots=True)
class Point:
    """How generated images spread over the bins after so many steps."""

    step: int
    score: float  # NDB/K
    js: float  # nats
    reached: int  # bins


@dataclass(frozen=True, kw_only=True)
class GanTrial:
    """A GAN that is measured on its way; see `quire.train.studies.trials.Trial`."""

    row: str
    column: str
    config: Gan  # its seed is replaced
    bins: Bundled
    data: Bundled

    @property
    def bundles(self) -> tuple[Bundled, ...]:
        """What it is measured by, and what it learns from."""
        return self.bins, self.data

    def attempt(self, seed: int, folders: Mapping[Bundled, Ready], place: Place) -> Attempt[Point]:
        """Train one seed, as far as that was not done before."""
        config, data, bins = replace(self.config, seed=seed), folders[self.data], folders[self.bins]
        words = "gan", config.discriminator, f"seed{seed}"
        run = place.run("-".join(words), to_record(config), data.name, bins.name)
        train(config, data.place, run, bins=bins.place, running=place.running, report=place.report)
        points = points_of(run)
        return Attempt(run=run, measured=points, lines=[asdict(point) for point in points])


def points_of(run: Path) -> list[Point]:
    """What a run's metrics say of its images, from the first measurement on."""
    return [
        Point(int(line["step"]), line["ndb_score"], line["js"], int(line["reached"]))
        for line in read_metrics(run)
        if "ndb_score" in line
    ]


def trials(scale: Scale) -> Sequence[GanTrial]:
    """Every model on every dataset of a scale."""
    found = []
    for column, (source, config, recipe) in SETTINGS[scale].items():
        for row, fields in MODELS.items():
            found.append(
                GanTrial(
                    row=row,
                    column=column,
                    config=replace(config, **fields),  # type: ignore[arg-type]
                    bins=Bundled(dataset=source, recipe=recipe),
                    data=clean(source, "train"),
                )
            )
    return found


def notes(scale: Scale) -> tuple[str, ...]:
    """What has to be known of the numbers of a scale before they are held against the paper's."""
    if scale == "full":
        return ()
    _, config, recipe = next(iter(SETTINGS[scale].values()))
    saturated = (
        "A generator that misses most bins differs in nearly all of them, for it overfills the"
        " others: near 1, NDB/K does not say how many are missed; the divergence and the bins that"
        " are reached do."
    )
    return (
        *((saturated,) if scale == "small" else ()),
        f"{config.samples:,} images of {config.iterations:,} iterations of {config.batch_size} and"
        f" {recipe.bins} bins; the paper has 5,120 images of 10,000 (CIFAR-10) and 7,500 (CelebA)"
        f" iterations of 128, 100 bins, and networks {64 // config.width} times as wide.",
    )
