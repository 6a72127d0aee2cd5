"""The short way of decoding a JPEG gives what the long way gives, or leaves it to that."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quire.builders.sources.pictures import decode, ordinary_jpeg
from tests.builders.real_data import real_data


def photograph(mode: str, kind: str = "JPEG", **options: Any) -> bytes:
    levels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(levels).resize((61, 43), Image.Resampling.BICUBIC).convert(mode)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"quality": 20}, {"subsampling": 0}, {"progressive": 1}])
def test_an_ordinary_one_is_decoded_alike(mode: str, options: dict[str, Any]) -> None:
    data = photograph(mode, **options)
    found = ordinary_jpeg(data)
    assert found is not None
    np.testing.assert_array_equal(found, decode(data))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8", photograph("RGB")[:-300], photograph("CMYK"), photograph("RGB", "PNG")],
    ids=["empty", "begun", "truncated", "CMYK", "PNG"],
)
def test_anything_else_is_left_to_the_long_way(data: bytes) -> None:
    assert ordinary_jpeg(data) is None


@pytest.mark.slow
def test_real_photographs_are_decoded_alike() -> None:
    files = sorted((real_data("voc") / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))
    for file in files:
        found = ordinary_jpeg(file.read_bytes())
        assert found is not None and np.array_equal(found, decode(file.read_bytes())), file.name
