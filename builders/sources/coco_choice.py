"""What is taken of COCO's annotations: `coco:PATH?classes=voc&overlap=void&least=1000`.

The treatment of torchvision, whose networks for segmentation learn from COCO what VOC measures
(references/segmentation/coco_utils.py), is all three of these for training, and the first two for
validation.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, get_args

from quire.artifacts.errors import SourceError
from quire.builders.sources import layout
from quire.builders.sources.voc import CLASS_NAMES as VOC

Classes: TypeAlias = Literal["own", "voc"]
Overlap: TypeAlias = Literal["smaller", "void"]

# COCO's names of VOC's classes where they differ by more than what stands between the letters
_CALLED = {
    "airplane": "aeroplane",
    "motorcycle": "motorbike",
    "couch": "sofa",
    "tv": "tvmonitor",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What is taken of an annotation file; by default everything."""

    classes: Classes = "own"
    """own: the categories of the file. voc: VOC's twenty, found by their names; whatever belongs to
    another category is background, crowds too."""
    overlap: Overlap = "smaller"
    """What a pixel is where objects overlap: of the smaller one, or VOID, as torchvision has it."""
    least: int = 0
    """Leave out images whose objects, of the classes that are taken, have an `area` of no more than
    this many pixels in all; 0: none."""

    def numbered(self, names: Mapping[int, str]) -> tuple[tuple[str, ...], dict[int, int]]:
        """The names of the classes 1, 2, ..., and the class of each category that is taken.

        Raises:
            ValueError: no category is one of the classes that are wanted.
        """
        if self.classes == "own":
            ids = sorted(names)
            return tuple(names[one] for one in ids), {one: n for n, one in enumerate(ids, 1)}
        found = {one: VOC.index(name) for one in names if (name := _as_voc(names[one])) in VOC[1:]}
        if not found:
            raise ValueError("no category has the name of one of VOC's classes")
        return VOC[1:], found

    def record(self) -> dict[str, str]:
        """What differs from the default, for a fingerprint."""
        default = asdict(Choice())
        return {name: str(v) for name, v in asdict(self).items() if v != default[name]}


def path_and_choice(where: str) -> tuple[str, Choice]:
    """Take the options off the end of a path.

    >>> path_and_choice("data/coco?classes=voc&least=1000")
    ('data/coco', Choice(classes='voc', overlap='smaller', least=1000))
    >>> path_and_choice("data/coco")[1] == Choice()
    True

    Raises:
        SourceError: an option that there is not, is given twice, or of a value that it has not.
    """
    path, _, rest = where.rpartition("?")
    if "=" not in rest or "/" in rest or not path:
        return where, Choice()
    options = [option.partition("=")[::2] for option in rest.split("&")]
    values = dict(options)
    if len(values) < len(options):
        raise SourceError(f"coco: an option is given twice in {layout.shown(rest)}")
    words = {"classes": get_args(Classes), "overlap": get_args(Overlap)}
    for name, value in options:
        if name not in (*words, "least"):
            raise SourceError(
                f"coco: there is no option {name!r}; there are classes, overlap and least"
            )
        if name in words and value not in words[name]:
            raise SourceError(f"coco: {name} is {value!r}; it must be one of {words[name]}")
    least = values.pop("least", "0")
    if not re.fullmatch("[0-9]{1,9}", least):
        raise SourceError(f"coco: least is {least!r}, no number of pixels of up to nine digits")
    return path, Choice(**values, least=int(least))  # type: ignore[arg-type]


def _as_voc(name: str) -> str:
    """A category's name as VOC would write it.

    >>> [_as_voc(name) for name in ("potted plant", "tv/monitor", "couch", "zebra")]
    ['pottedplant', 'tvmonitor', 'sofa', 'zebra']
    """
    letters = re.sub("[^a-z]", "", name.lower())
    return _CALLED.get(letters, letters)
