"""Every kind of bundle that can be built."""

from typing import Any

from quire.builders.anchors import Anchors
from quire.builders.cooccurrence import Cooccurrence
from quire.builders.corrupted import Corrupted
from quire.builders.pruned import Pruned
from quire.builders.random_graphs import Graphs
from quire.builders.scenes import Scenes
from quire.builders.segmix import SegMix
from quire.builders.subsets import Subsets

RECIPES: dict[str, type[Any]] = {
    recipe.kind: recipe
    for recipe in (Corrupted, Anchors, Graphs, Pruned, Scenes, Cooccurrence, Subsets, SegMix)
}
