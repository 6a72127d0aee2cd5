"""Every kind of bundle that can be built."""

from typing import Any

from builders.anchors import Anchors
from builders.cooccurrence import Cooccurrence
from builders.corrupted import Corrupted
from builders.pruned import Pruned
from builders.random_graphs import Graphs
from builders.scenes import Scenes
from builders.segmix import SegMix
from builders.subsets import Subsets

RECIPES: dict[str, type[Any]] = {
    recipe.kind: recipe
    for recipe in (Corrupted, Anchors, Graphs, Pruned, Scenes, Cooccurrence, Subsets, SegMix)
}
