"""Classifiers as the trials of a study that attacks them by queries.

Papers do not say how near Bandits-TD has to stay. Here that is chosen on the baseline of the first
seed alone, on test images that are not attacked later, so that about as many of them are fooled as
is wanted; then it is the same for all models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from quire.train.attacks.bandits import Bandits
from quire.train.attacks.simba import SimBA
from quire.train.classify.attack import Queried, Queries, attack
from quire.train.classify.run import Classify
from quire.train.studies.bundles import Bundled, Ready
from quire.train.studies.classifiers import fitted
from quire.train.studies.study import Place
from quire.train.studies.trials import Attempt

SIMBA, SURE, BANDITS = "SimBA", "SimBA by log-odds", "Bandits-TD"

WANTED = 88.0  # percent of the baseline's images that Bandits-TD is to fool
_HIGHEST = 0.2  # of all epsilons that are tried


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is asked."""

    images: int
    """Test images, those that are not classified correctly included."""
    directions: int | None
    """That SimBA tries."""
    queries: int
    """After which Bandits-TD gives up."""
    tried_on: int
    """Images on which its epsilon is chosen."""
    halvings: int
    """Epsilons that are tried for that."""
    at_once: int

    def attacks(self, epsilon: float) -> dict[str, Queries]:
        """What is asked of every model."""
        plain = SimBA(directions=self.directions)
        common = Queries(images=self.images, at_once=self.at_once)
        return {
            SIMBA: replace(common, attacks=("simba",), simba=plain),
            SURE: replace(common, attacks=("simba",), simba=replace(plain, score="log_odds")),
            BANDITS: self._bandits(common, epsilon),
        }

    def trial(self, epsilon: float) -> Queries:
        """Bandits-TD on images that no other attack sees."""
        common = Queries(images=self.tried_on, skip=self.images, at_once=self.at_once)
        return self._bandits(common, epsilon)

    def _bandits(self, common: Queries, epsilon: float) -> Queries:
        bandits = Bandits(epsilon=epsilon, queries=self.queries)
        return replace(common, attacks=("bandits",), bandits=bandits)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an attack did to a model."""

    name: str
    found: Queried
    epsilon: float
    """Of Bandits-TD."""
    tried: float
    """Percent of the baseline's images that it fooled when it was chosen."""


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """A classifier that is attacked; see `quire.train.studies.trials.Trial`."""

    row: str
    column: str
    config: Classify  # its seed is replaced
    baseline: Classify
    data: Bundled  # to train on
    test: Bundled
    effort: Effort

    @property
    def bundles(self) -> tuple[Bundled, ...]:
        """What is trained on, and what is attacked."""
        return self.data, self.test

    def attempt(
        self, seed: int, folders: Mapping[Bundled, Ready], place: Place
    ) -> Attempt[Measured]:
        """Train and attack one seed, as far as that was not done before."""
        data, test = folders[self.data], folders[self.test]
        baseline = fitted(replace(self.baseline, seed=0), data, None, place)
        epsilon, tried = self._epsilon(baseline, data, test, place)
        run = fitted(replace(self.config, seed=seed), data, None, place)
        measured = [
            Measured(name=name, found=found, epsilon=epsilon, tried=tried)
            for name, how in self.effort.attacks(epsilon).items()
            for found in self._found(run, data, test, how, place)
        ]
        return Attempt(run=run, measured=measured, lines=[*map(_line, measured)])

    def _epsilon(
        self, baseline: Path, data: Ready, test: Ready, place: Place
    ) -> tuple[float, float]:
        """How near Bandits-TD has to stay, and the success on the baseline that decided it."""
        low, high, tried = 0.0, _HIGHEST, dict[float, float]()
        for _ in range(self.effort.halvings):
            epsilon = (low + high) / 2
            (found,) = self._found(baseline, data, test, self.effort.trial(epsilon), place)
            tried[epsilon] = found.success
            low, high = (epsilon, high) if found.success < WANTED else (low, epsilon)
        return min(tried.items(), key=lambda one: (abs(one[1] - WANTED), one[0]))

    def _found(
        self, run: Path, data: Ready, test: Ready, how: Queries, place: Place
    ) -> list[Queried]:
        return attack(
            run,
            test.place,
            how=how,
            context=data.place,
            device=place.running.device,
            report=place.report,
        )


def _line(one: Measured) -> dict[str, object]:
    return {
        "attack": one.name,
        "images": len(one.found.images),
        "attacked": one.found.attacked,
        "fooled": len(one.found.fooled),
        "success": one.found.success,
        "asked": sum(image.queries for image in one.found.images),
        "mean_queries": one.found.mean("queries"),
        "median_queries": one.found.median_queries,
        "mean_l2": one.found.mean("l2"),
        "mean_linf": one.found.mean("linf"),
        "epsilon": one.epsilon,
        "queries": " ".join(str(image.queries) for image in one.found.fooled),
    }
