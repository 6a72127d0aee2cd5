"""Every kind of bundle that can be built."""

from typing import Any

from quire.builders.recipes.anchors import Anchors
from quire.builders.recipes.bins import ImageBins
from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.recipes.graphs import Graphs
from quire.builders.recipes.perturbations import Perturbations
from quire.builders.recipes.pruned import Pruned
from quire.builders.recipes.scenes import Scenes
from quire.builders.recipes.segmix import SegMix
from quire.builders.recipes.subsets import Subsets

RECIPES: dict[str, type[Any]] = {
    recipe.kind: recipe
    for recipe in (
        *(Corrupted, Anchors, ImageBins, Graphs, Pruned),
        *(Scenes, Cooccurrence, Subsets, SegMix, Perturbations),
    )
}
