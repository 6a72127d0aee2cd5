"""A repository of the Hugging Face Hub: shards, and a card with configurations and features.

Every bundle's own card has these since format 2, so a bundle can be pushed there as it is; an
older one gets such a card here.
"""

from pathlib import Path

from quire.artifacts.bundle import Bundle
from quire.artifacts.card import card
from quire.artifacts.export.samples import extensions, folder_of, link, link_shards
from quire.artifacts.manifest import CARD, INDEX


def write(bundle: Bundle, out: Path) -> None:
    """`datasets.load_dataset(FOLDER, name="fog")` reads it: one configuration a corruption."""
    extensions(bundle)  # there are some
    link_shards(bundle, out)
    for file in bundle.manifest.tables:
        link(folder_of(bundle) / file.name, out / file.name)
    tables = [file.name for file in bundle.manifest.tables if file.name != INDEX]
    text = card(bundle.manifest.identity, bundle.manifest.shards, bundle.index.rows, tables)
    (out / CARD).write_text(text, "utf-8")
