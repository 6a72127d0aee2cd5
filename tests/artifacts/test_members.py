"""Members: the same values give the same bytes."""

import io

import numpy as np
import pytest

from quire.artifacts.members import array_file, raw_images, record_file


def test_an_array_has_one_form_whatever_its_order_in_memory() -> None:
    array = np.arange(12, dtype=np.int32).reshape(4, 3)
    assert array_file(np.asfortranarray(array)) == array_file(array)
    assert array_file(np.repeat(array, 2, axis=0)[::2]) == array_file(array)
    assert np.array_equal(np.load(io.BytesIO(array_file(array)), allow_pickle=False), array)
    with pytest.raises(ValueError, match="allow_pickle"):
        array_file(np.array([object()]))


def test_a_record_has_one_form_whatever_its_order() -> None:
    assert record_file({"a": 1, "b": [0.1]}) == record_file({"b": [0.1], "a": 1})
    with pytest.raises(ValueError, match="JSON"):
        record_file({"a": float("nan")})


def test_no_images_are_no_files() -> None:
    assert raw_images(np.empty((0, 5, 4, 3), np.uint8)).shape == (0, len(b"P6 4 5 255\n") + 60)
