"""A pickle is data here: what CIFAR's hold is read, whatever else is refused and never runs."""

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.artifacts.errors import SourceError
from quire.builders.sources.unpickle import read_pickle

PIXELS = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
BATCH = {
    "data": PIXELS,
    "labels": [3, 9],
    "batch_label": "testing batch 1 of 1",
    "filenames": ["a.png", "b.png"],
}

# what Python 2.7 with numpy 1.16 wrote for BATCH in protocol 2, the form of CIFAR's own files
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
    b"K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x18\x00\x00"
    + PIXELS.tobytes()
    + b"tbU\x06labelsq\x08]q\t(K\x03K\teU\x0bbatch_labelq\nU\x14testing batch 1 of 1q\x0b"
    b"U\tfilenamesq\x0c]q\r(U\x05a.pngq\x0eU\x05b.pngq\x0feu."
)


def read(folder: Path, data: bytes) -> dict[str, Any]:
    file = folder / "data_batch_1"
    file.write_bytes(data)
    return read_pickle(file)


def refusal(folder: Path, data: bytes) -> str:
    """What is said about a pickle that is refused: one line that names the file."""
    with pytest.raises(SourceError) as caught:
        read(folder, data)
    message = str(caught.value)
    assert "data_batch_1" in message
    assert "\n" not in message
    assert len(message) < 600
    return message


def assert_is_batch(content: dict[str, Any]) -> None:
    assert content.keys() == BATCH.keys()
    assert content["data"].dtype == np.uint8
    np.testing.assert_array_equal(content["data"], PIXELS)
    assert {key: content[key] for key in content if key != "data"} == {
        key: BATCH[key] for key in BATCH if key != "data"
    }


def test_what_python_2_wrote_is_read(tmp_path: Path) -> None:
    assert_is_batch(read(tmp_path, PYTHON_2))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", "CF")
def test_every_protocol_gives_the_same(tmp_path: Path, protocol: int, order: Any) -> None:
    data = BATCH | {"data": np.array(PIXELS, order=order)}
    assert_is_batch(read(tmp_path, pickle.dumps(data, protocol)))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_numpys_old_names_give_the_same(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps(BATCH, protocol)
    old = data.replace(b"numpy._core", b"numpy.core")
    if protocol >= 4:  # a text has its length before it, and a frame too
        old = old.replace(b"\x8c\x16numpy.core", b"\x8c\x15numpy.core")
        old = old.replace(b"\x8c\x13numpy.core", b"\x8c\x12numpy.core")
    assert old != data
    assert_is_batch(read(tmp_path, old))


def test_bytes_as_keys_become_text(tmp_path: Path) -> None:
    content = read(tmp_path, pickle.dumps({b"labels": [1], b"label_names": [b"cat"]}))
    assert content == {"labels": [1], "label_names": [b"cat"]}


def test_arrays_are_read_only(tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        array = read(tmp_path, pickle.dumps({"data": PIXELS}, protocol))["data"]
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


class Calls:
    """Pickles to a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "name"), [(os.mkdir, "mkdir"), (eval, "eval"), (getattr, "getattr")]
)
def test_a_call_is_refused_by_name_and_not_made(
    tmp_path: Path, protocol: int, function: Any, name: str
) -> None:
    trap = tmp_path / "executed"
    data = pickle.dumps({"data": Calls(function, str(trap))}, protocol)
    assert name in refusal(tmp_path, data)
    assert not trap.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch executed'\ntR.",
        b"(S'touch executed'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch executed'\no.",  # OBJ
        b"cposix\nsystem\n.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"cnumpy\nload\n.",
        b"cnumpy.ndarray\n__reduce__\n.",
        b"c__main__\n_Array\n.",
        b"cbuiltins\nobject\n)\x81.",
        b"\x8c\x02os\x8c\x06system\x93.",
    ],
)
def test_a_name_that_is_not_needed_is_refused(tmp_path: Path, data: bytes) -> None:
    message = refusal(tmp_path, data)
    assert any(name in message for name in ("system", "scalar", "load", "reduce", "_Array", "obj"))


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
EMPTY = RECONSTRUCT + b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
DTYPE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
FROM_BUFFER = b"cnumpy.core.numeric\n_frombuffer\n"


def in_dict(value: bytes) -> bytes:
    return b"}U\x04data" + value + b"s."


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "pickle exhausted"),
        (b".", "more from the stack"),
        (b"(.", "more from the stack"),
        (b"K\x01.", "holds a int where a dict belongs"),
        (b"]q\x00h\x00a.", "holds a list where a dict belongs"),
        (b"h\x07.", "gets value 7 of its memo"),
        (b"t.", "more from the stack"),
        (b"\x85.", "more from the stack"),
        (b"}U\x01aU\x01bU\x01c\x87s.", "fills a dict that is not there"),
        (b"}(U\x01au.", "a key that has no value"),
        (b"}K\x01K\x02s.", "a dict with a int as key"),
        (b"}]K\x02s.", "a dict with a list as key"),
        (b"U\x01aU\x01bU\x01cs.", "fills a dict that is not there"),
        (b"K\x01K\x02a.", "fills a list that is not there"),
        (b"}}b.", "a state that is a dict"),
        (b"})b.", "of a form that numpy does not write"),
        (b"]K\x01\x85R.", "calls a list"),
        (b"cnumpy\ndtype\nK\x01R.", "calls a global"),
        (b"cnumpy\nndarray\n)R.", "calls numpy.ndarray"),
        (b"cnumpy\ndtype\n)R.", "an array of a nonetype where u1"),
        (b"cnumpy\ndtype\nU\x02O8\x85R.", "an array of 'O8' where u1"),
        (b"cnumpy\ndtype\nU\x02f4\x85R.", "an array of 'f4' where u1"),
        (RECONSTRUCT + b"cnumpy\ndtype\nK\x00\x85U\x01b\x87R.", "not numpy's own"),
        (DTYPE + b"(K\x03U\x01|]]NJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.", "array of records"),
        (in_dict(EMPTY), "an array without content"),
        (in_dict(EMPTY + b"(K\x01K\x02\x85" + DTYPE + b"\x89U\x01xtb"), "(2,) in 1 bytes"),
        (in_dict(EMPTY + b"(K\x01K\x01\x85" + DTYPE + b"\x89]tb"), "makes bytes of a list"),
        (in_dict(EMPTY + b"(K\x01U\x01x" + DTYPE + b"\x89U\x01xtb"), "shape is no shape"),
        (in_dict(EMPTY + b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE + b"\x89U\x01xtb"), "no shape"),
        (in_dict(EMPTY + b"(K\x01K\x01\x85N\x89U\x01xtb"), "an array without a type"),
        (in_dict(EMPTY + b"(K\x07K\x01\x85" + DTYPE + b"\x89U\x01xtb"), "numpy does not write"),
        (in_dict(b"c_codecs\nencode\nU\x01xU\x06base64\x86R"), "encodes a str as 'base64'"),
        (in_dict(b"c_codecs\nencode\nX\x02\x00\x00\x00\xc4\x80U\x06latin1\x86R"), "latin-1"),
        (in_dict(b"G\x00\x00\x00\x00\x00\x00\x00\x00"), "the instruction BINFLOAT"),
        (in_dict(b"(K\x01\x90"), "the instruction ADDITEMS"),
        (in_dict(b"\x82\x01"), "the instruction EXT1"),
        (in_dict(b"Psomebody\n"), "the instruction PERSID 'somebody'"),
        (b"\x93.", "more from the stack"),
        (b"K\x01K\x01\x93.", "whose name is not text"),
        (b"\x8e" + struct.pack("<Q", 1 << 40) + b"x.", "1099511627776 bytes"),
        (b"\x8d" + struct.pack("<Q", 1 << 63) + b"x.", "read"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, data)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, []], dtype=object),
        np.zeros(3, np.float32),
        np.zeros(3, np.int64),
        np.zeros(3, "V8"),
        np.zeros(3, [("a", "u1"), ("b", "u1")]),
        np.zeros(3, "U4"),
        np.zeros(3, "M8[s]"),
    ],
    ids=lambda array: str(array.dtype),
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_anything_but_bytes_are_refused(
    tmp_path: Path, array: Any, protocol: int
) -> None:
    refusal(tmp_path, pickle.dumps({"data": array}, protocol))


@pytest.mark.parametrize(
    "value", [OrderedDict(a=1), {1}, 1.5, 1j, Path("a"), np.uint8(3), range(3)]
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_other_types_are_refused(tmp_path: Path, value: Any, protocol: int) -> None:
    refusal(tmp_path, pickle.dumps({"data": value}, protocol))


def test_a_huge_memo_number_costs_nothing(tmp_path: Path) -> None:
    # Python's own machine makes a table of that many places
    assert read(tmp_path, b"}r\xff\xff\xff\xff.") == {}


@pytest.mark.slow
def test_a_tuple_of_any_depth_does_no_harm(tmp_path: Path) -> None:
    deep = b")" + b"\x85" * 100_000
    assert "data" in read(tmp_path, in_dict(deep))
    assert "tuple as key" in refusal(tmp_path, b"}" + deep + b"K\x01s.")
    assert "no shape" in refusal(
        tmp_path, in_dict(EMPTY + b"(K\x01" + deep + DTYPE + b"\x89U\x01xtb")
    )
    assert "array of a tuple" in refusal(tmp_path, b"cnumpy\ndtype\n" + deep + b"\x85R.")


def test_bytes_are_not_multiplied(tmp_path: Path) -> None:
    text = b"X" + struct.pack("<I", 100_000) + b"x" * 100_000 + b"q\x00"
    again = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86Ra"
    assert "more bytes than it has" in refusal(tmp_path, in_dict(b"]" + text + b"a" + again * 3))
    buffer = b"\x96" + struct.pack("<Q", 100_000) + b"x" * 100_000 + b"q\x00"
    view = FROM_BUFFER + b"(h\x00" + DTYPE + b"J" + struct.pack("<I", 100_000) + b"\x85U\x01CtRa"
    assert "more bytes than it has" in refusal(tmp_path, in_dict(b"]" + buffer + b"a" + view * 3))


def test_a_message_is_short_whatever_the_file_says(tmp_path: Path) -> None:
    for start in (b"S", b"I", b"L", b"c", b"P", b"\x80"):
        assert len(refusal(tmp_path, start + b"x" * 100_000)) < 600
        assert len(refusal(tmp_path, start + b"x" * 100_000 + b"\nx\n.")) < 600


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "data_batch_1"
    with file.open("wb") as stream:
        stream.truncate((1 << 30) + 1)  # a hole: it takes no room
    with pytest.raises(SourceError, match="no pickle of this layout is so large"):
        read_pickle(file)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*: No such file or directory"):
        read_pickle(tmp_path / "none")


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # pickletools, on a changed text
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 330), st.binary(max_size=3)), min_size=1, max_size=4),
    protocol=st.integers(0, 5),
)
def test_a_changed_pickle_is_read_or_refused(
    tmp_path: Path, edits: list[tuple[int, bytes]], protocol: int
) -> None:
    content = {"data": PIXELS[:1, :8], "labels": [300, -1], "names": ["a"], "x": {"y": b"\xff"}}
    data = bytearray(pickle.dumps(content, protocol))
    for position, replacement in edits:
        data[position : position + len(replacement)] = replacement
    try:
        assert isinstance(read(tmp_path, bytes(data)), dict)
    except SourceError as error:
        assert "\n" not in str(error)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                *(bytes([code]) for code in b"(]})taesuldRbN\x85\x93\x94"),
                *(b"h\x00", b"h\x01", b"K\x01", b"U\x02u1", b"X\x06\x00\x00\x00latin1"),
                *(EMPTY, DTYPE, FROM_BUFFER, b"c_codecs\nencode\n"),
            ]
        ),
        max_size=25,
    )
)
def test_instructions_in_any_order_are_read_or_refused(
    tmp_path: Path, instructions: list[bytes]
) -> None:
    try:
        assert isinstance(read(tmp_path, b"".join(instructions) + b"."), dict)
    except SourceError as error:
        assert "\n" not in str(error)
