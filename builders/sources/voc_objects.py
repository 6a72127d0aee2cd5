"""The objects that a Pascal VOC annotation tells of, and the flags that it gives them."""

from xml.parsers import expat

from quire.builders.sources import layout
from quire.builders.sources.scene import SceneObject
from quire.builders.sources.tree import UnfitError

MAX_BYTES = 1 << 20  # VOC's own have some thousand
_FLAGS = ("occluded", "truncated", "difficult")
_VALUES = {"0": False, "1": True}
_OBJECT = ("annotation", "object")


def read_objects(data: bytes, class_names: tuple[str, ...]) -> tuple[SceneObject, ...]:
    """The objects in the bytes of an annotation, in its order.

    A flag that is not given is None: VOC2012's annotations of 2007 do not say what is occluded.

    Raises:
        UnfitError: no XML, an object without a class or with an unknown one, a flag
            that is neither 0 nor 1, or a DOCTYPE, whose entities could unpack to any length.
    """
    found = _Found()
    try:
        found.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise UnfitError(f"no XML: {expat.ErrorString(error.code)}, line {error.lineno}") from error
    except (LookupError, ValueError) as error:  # an encoding that expat or Python does not know
        raise UnfitError(f"cannot be decoded: {error}") from error
    return tuple(_object(fields, class_names) for fields in found.objects)


class _Found:
    """The texts of each object's own elements; those of its parts are not its own."""

    def __init__(self) -> None:
        self.objects: list[dict[str, str]] = []
        self._path: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._path.append(name)
        if tuple(self._path) == _OBJECT:
            self.objects.append({})

    def _end(self, _: str) -> None:
        self._path.pop()

    def _text(self, text: str) -> None:
        if len(self._path) == len(_OBJECT) + 1 and tuple(self._path[:-1]) == _OBJECT:
            fields = self.objects[-1]
            fields[self._path[-1]] = fields.get(self._path[-1], "") + text

    def _doctype(self, *_: object) -> None:
        raise UnfitError("it has a DOCTYPE, which is refused")


def _object(fields: dict[str, str], class_names: tuple[str, ...]) -> SceneObject:
    name = fields.get("name", "").strip()
    if name not in class_names:
        raise UnfitError(f"an object of the class {layout.shown(name[:40])!r}, which there is not")
    flags: list[bool | None] = []
    for flag in _FLAGS:
        text = fields.get(flag, "").strip()
        if text and text not in _VALUES:
            raise UnfitError(f"{flag} is {layout.shown(text[:40])!r}, neither 0 nor 1")
        flags.append(_VALUES.get(text))
    return SceneObject(class_names.index(name), *flags)
