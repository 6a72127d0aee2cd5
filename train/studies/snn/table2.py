"""Table 2: the point of reference, a fully connected network that is pruned at random.

Its steps are what random graphs are in Table 1, and its prunings what initialisations are there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quire.builders.recipes.pruned import Pruned
from quire.loaders.graphs import Prunings, load_prunings
from quire.train.engine.runs import to_record
from quire.train.sparse.attack import attack
from quire.train.sparse.pruning_run import Prune
from quire.train.sparse.training import train_networks
from quire.train.studies.bundles import Bundled, built
from quire.train.studies.snn.priors import (
    AUTHORS,
    DENSITY,
    ECCENTRICITY,
    PARAMETERS,
    PATHS,
    SETTINGS,
    Floats,
    Paper,
    Robustness,
    by_measure,
    correlated,
    images,
    properties_of,
    scores,
    settings,
)
from quire.train.studies.study import USUAL, Findings, Layout, Place, Scale

_RECIPES: Mapping[Scale, Pruned] = {
    "smoke": Pruned(layers=(10, 20, 10), inputs=64, steps=4, prunings=2),
    "small": Pruned(prunings=3),
    "full": Pruned(),
}
_CONFIGS: Mapping[Scale, Prune] = {
    "smoke": Prune(epochs=15, retrain=2, batch_size=32),
    "small": Prune(epochs=5, retrain=1),
    "full": Prune(),
}
_PAPER: Paper = by_measure(
    {
        PARAMETERS: ((-0.51, -0.35), (-0.64, -0.45), (0.66, 0.46), (-0.62, -0.44), (0.36, -0.39)),
        DENSITY: ((-0.51, -0.35), (-0.64, -0.45), (0.66, -0.46), (-0.62, -0.44), (-0.56, -0.39)),
        PATHS: ((0.51, 0.35), (0.64, 0.45), (-0.66, -0.46), (0.62, 0.44), (0.56, 0.39)),
        ECCENTRICITY: (None, None, None, (-0.34, -0.22), (0.26, 0.17)),
    }
)
_DISAGREES = (
    "Parameters and density fall together at every step, so they have one rank correlation with"
    " anything; where the paper prints two for them, or rho and tau of opposite signs, one is a"
    " slip."
)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The study of a network that is pruned: attacked after every step."""

    scales: ClassVar[tuple[Scale, ...]] = USUAL

    title: str
    paper: str

    def carry_out(
        self, scale: Scale, place: Place, *, seeds: int | None = None
    ) -> Iterator[Findings]:
        """See `quire.train.studies.study.Study`; seeds are prunings."""
        train, test = images(SETTINGS[scale].dataset, scale, place, self.paper)
        recipe, config, how = _RECIPES[scale], _CONFIGS[scale], SETTINGS[scale].attack
        bundle = built(Bundled(recipe=replace(recipe, prunings=seeds or recipe.prunings)), place)
        run = place.run(config.method, to_record(config), train.name, bundle.name)
        running, report = place.running, place.report
        if train_networks(config, train.place, bundle.place, run, running=running, report=report):
            place.say(f"trained: {run.name}")
        rows = attack(run, test.place, how=how, device=running.device, report=report)
        place.say(f"attacked: {len(rows):,} networks")
        prunings = load_prunings(bundle.place)
        count = len(prunings.graphs)
        found = Robustness(
            bundle=bundle.place,
            properties=_properties(prunings),
            rows=[rows[first : first + count] for first in range(0, len(rows), count)],
        )
        yield found.findings(self._present(found, config, settings(config, how)))

    def _present(self, found: Robustness, config: Prune, attacked: str) -> Layout:
        again = f"After each step they were trained for {config.retrain} epochs again."
        score = scores(found, "97.5 to 97.9 %, 97.7 on average")
        return correlated(found, _PAPER, attacked, again, score, _DISAGREES)


def _properties(prunings: Prunings) -> dict[str, Floats]:
    """The mean over prunings of what their graphs are after each step. -> (steps + 1,) each."""
    each = [properties_of(graphs) for graphs in prunings.graphs]
    return {name: np.mean([one[name] for one in each], axis=0) for name in each[0]}


STUDY = Reference(
    title="Robustness of a network that is pruned at random, and properties of what is left",
    paper=f"{AUTHORS}, Table 2",
)
