"""The columns that Hugging Face `datasets` and Parquet have for a bundle's samples."""

from collections.abc import Mapping, Sequence
from typing import Any

from quire.artifacts.export.samples import class_names
from quire.artifacts.bundle import Bundle
from quire.artifacts.members import IMAGES

_INTEGERS = "iu"
