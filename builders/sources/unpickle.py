"""Pickles read as data: nothing that a pickle says is ever executed.

A pickle is a program for a small stack machine, and Python's own machine calls whatever the
program names. The one below has only the instructions that a dict of lists and arrays needs, and it
holds numpy's constructors as mere records: an array is made here, from a shape and bytes that were
checked. The instructions and their arguments are decoded by the standard library's `pickletools`.
"""

import pickletools
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.sources.layout import reading

Value: TypeAlias = Any  # what a pickle may hold is checked instruction by instruction

_MAX_BYTES = 1 << 30  # CIFAR's largest pickle has 155 MB

_CONSTANTS = frozenset(  # instructions that push their own argument
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING "
    "SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8".split()
)
_MARK = object()


def read_pickle(file: Path) -> dict[str, Value]:
    """The dict that a pickle holds: of any protocol, and of Python 2 from protocol 1 on.

    Its keys as text; its values are ints, strings, bytes, lists, or arrays of bytes: uint8,
    read-only, of any shape. Python 2's strings become text, byte by byte (Latin-1).

    Raises:
        SourceError: the file is damaged, or asks for anything else; it says for what.
    """
    with reading(file):
        if (size := file.stat().st_size) > _MAX_BYTES:
            raise SourceError(f"{file} has {size} bytes; no pickle of this layout is so large")
        data = file.read_bytes()
    try:
        return _dict_of(_run(data))
    except ValueError as error:
        reason = str(error)[:200]  # pickletools may cite the whole file
        raise SourceError(f"{file} is not a pickle that is read here: {reason}") from error


def _run(data: bytes) -> Value:
    machine = _Machine(budget=len(data))
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _CONSTANTS:
            machine.stack.append(argument)
        elif opcode.name in _INSTRUCTIONS:
            _INSTRUCTIONS[opcode.name](machine, argument)
        else:
            what = opcode.name if argument is None else f"{opcode.name} {_said(argument)}"
            raise ValueError(f"it holds the instruction {what}")
    return machine.pop()


def _dict_of(value: Value) -> dict[str, Value]:
    if type(value) is not dict:
        raise ValueError(f"it holds a {_kind(value)} where a dict belongs")
    return {
        key.decode("latin-1") if type(key) is bytes else key: _plain(item)
        for key, item in value.items()
    }


def _plain(value: Value) -> Value:
    if type(value) is _Array and value.pixels is None:
        raise ValueError("it holds an array without content")
    return value.pixels if type(value) is _Array else value


class _Global:
    """A name that the pickle asks for. Only the names of `_CALLS` ever become one."""

    def __init__(self, name: str) -> None:
        if name not in _CALLS:
            raise ValueError(f"it asks for {_said(name)}")
        self.name = name


class _Dtype:
    """Stands for numpy's dtype of one byte, the only one there is here."""


class _Array:
    """Stands for a numpy array: empty when it is called into being, filled by BUILD."""

    pixels: NDArray[np.uint8] | None = None


class _Machine:
    """The stack, the memo, and how many bytes may still be made out of text."""

    def __init__(self, budget: int) -> None:
        self.stack: list[Value] = []
        self.memo: dict[int, Value] = {}
        self.budget = budget

    def pop(self) -> Value:
        """Take the topmost value."""
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("it takes more from the stack than there is")
        return self.stack.pop()

    def pop_mark(self) -> list[Value]:
        """Take all values down to the last mark, and the mark."""
        values = []
        while self.stack and self.stack[-1] is not _MARK:
            values.append(self.stack.pop())
        if not self.stack:
            raise ValueError("it takes more from the stack than there is")
        self.stack.pop()
        return values[::-1]

    def top(self, kind: type) -> Value:
        """The topmost value, which must be of exactly this type."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise ValueError(f"it fills a {kind.__name__.strip('_').lower()} that is not there")
        return self.stack[-1]

    def as_bytes(self, value: Value) -> bytes:
        """Bytes, or what other versions and protocols write for them: text, or a bytearray.

        What the memo repeats could become more bytes than memory holds: all that are copied
        must not be more than the file has.
        """
        if type(value) is bytes:
            return value
        if type(value) not in (str, bytearray):
            raise ValueError(f"it makes bytes of a {_kind(value)}")
        self.budget -= len(value)
        if self.budget < 0:
            raise ValueError("it makes more bytes than it has")
        return value.encode("latin-1") if type(value) is str else bytes(value)


def _put(machine: _Machine, number: int | None) -> None:
    value = machine.pop()
    machine.stack.append(value)
    machine.memo[len(machine.memo) if number is None else number] = value


def _get(machine: _Machine, number: int) -> None:
    if number not in machine.memo:
        raise ValueError(f"it gets value {number} of its memo, which it never put there")
    machine.stack.append(machine.memo[number])


def _extend(machine: _Machine, values: list[Value]) -> None:
    machine.top(list).extend(values)


def _set_items(machine: _Machine, flat: list[Value]) -> None:
    target = machine.top(dict)
    if len(flat) % 2:
        raise ValueError("it holds a dict with a key that has no value")
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        # numbers and tuples as keys have no place here, and hashing a deep tuple ends the process
        if type(key) not in (str, bytes):
            raise ValueError(f"it holds a dict with a {_kind(key)} as key")
        target[key] = value


def _push_dict(machine: _Machine, flat: list[Value]) -> None:
    machine.stack.append({})
    _set_items(machine, flat)


def _push_tuple(size: int) -> Callable[[_Machine, None], None]:
    def push(machine: _Machine, _: None) -> None:
        values = [machine.pop() for _ in range(size)]
        machine.stack.append(tuple(reversed(values)))

    return push


def _set_item(machine: _Machine, _: None) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


def _stack_global(machine: _Machine, _: None) -> None:
    name, module = machine.pop(), machine.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("it asks for something whose name is not text")
    machine.stack.append(_Global(f"{module}.{name}"))


def _reduce(machine: _Machine, _: None) -> None:
    arguments, called = machine.pop(), machine.pop()
    if type(called) is not _Global or type(arguments) is not tuple:
        raise ValueError(f"it calls a {_kind(called)}")
    machine.stack.append(_CALLS[called.name](machine, *_padded(arguments, 4)))


def _build(machine: _Machine, _: None) -> None:
    state = machine.pop()
    if type(state) is not tuple:
        raise ValueError(f"it sets a state that is a {_kind(state)}")
    if machine.stack and type(machine.stack[-1]) is _Dtype:
        # (version, byte order, base and shape, names, fields, ...): a plain byte has none of them
        if any(part is not None for part in state[2:5]):
            raise ValueError("it holds an array of records")
        return
    version_or_not = state[-5:-4]
    if len(state) not in (4, 5) or version_or_not not in ((), (1,)):
        raise ValueError("it holds an array of a form that numpy does not write")
    shape, dtype, by_column, content = state[-4:]
    filled = _array(machine, content, dtype, shape, "F" if by_column else "C")
    machine.top(_Array).pixels = filled.pixels


def _empty_array(machine: _Machine, kind: Value, *_: Value) -> _Array:
    if type(kind) is not _Global or kind.name != "numpy.ndarray":
        raise ValueError("it makes an array that is not numpy's own")
    return _Array()


def _dtype(machine: _Machine, code: Value, *_: Value) -> _Dtype:
    if code not in ("u1", b"u1", "|u1"):
        raise ValueError(f"it holds an array of {_said(code)} where u1 (uint8) belongs")
    return _Dtype()


def _encode(machine: _Machine, text: Value, encoding: Value, *_: Value) -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it encodes a {_kind(text)} as {_said(encoding)}")
    return machine.as_bytes(text)


def _array(machine: _Machine, content: Value, dtype: Value, shape: Value, order: Value) -> _Array:
    if type(dtype) is not _Dtype:
        raise ValueError("it holds an array without a type")
    if type(shape) is not tuple or len(shape) > 4 or not all(_is_size(n) for n in shape):
        raise ValueError("it holds an array whose shape is no shape")
    content = machine.as_bytes(content)
    if len(content) != prod(shape):
        raise ValueError(f"it holds an array of the shape {shape} in {len(content)} bytes")
    array = _Array()
    flat = np.frombuffer(content, np.uint8)
    array.pixels = flat.reshape(shape, order="F" if order == "F" else "C")
    return array


def _not_called(machine: _Machine, *_: Value) -> None:
    raise ValueError("it calls numpy.ndarray")


def _is_size(number: Value) -> bool:
    return type(number) is int and 0 <= number <= _MAX_BYTES


def _padded(arguments: tuple[Value, ...], size: int) -> tuple[Value, ...]:
    return (*arguments, *[None] * (size - len(arguments)))[:size]


def _kind(value: Value) -> str:
    return type(value).__name__.strip("_").lower()


def _said(value: Value) -> str:
    """A value for a message: one short line, even of a text of a gigabyte or a list in itself."""
    return ascii(value[:80]) if type(value) in (str, bytes) else f"a {_kind(value)}"


# numpy renamed its own modules in version 2; `_frombuffer` is how protocol 5 writes an array
_CALLS: Mapping[str, Callable[..., Value]] = {
    "numpy.dtype": _dtype,
    "numpy.ndarray": _not_called,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy.core.numeric._frombuffer": _array,
    "numpy._core.numeric._frombuffer": _array,
    "_codecs.encode": _encode,
}

_INSTRUCTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "DICT": lambda machine, _: _push_dict(machine, machine.pop_mark()),
    "LIST": lambda machine, _: machine.stack.append(machine.pop_mark()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_mark())),
    "TUPLE1": _push_tuple(1),
    "TUPLE2": _push_tuple(2),
    "TUPLE3": _push_tuple(3),
    "APPEND": lambda machine, _: _extend(machine, [machine.pop()]),
    "APPENDS": lambda machine, _: _extend(machine, machine.pop_mark()),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: _set_items(machine, machine.pop_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    "GLOBAL": lambda machine, name: machine.stack.append(_Global(name.replace(" ", ".", 1))),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
}
