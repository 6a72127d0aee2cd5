"""Mask files: every reader gets the ids back, and the bytes are pinned."""

import hashlib
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.masks import VOID, mask_file, voc_palette

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=40)
@given(ids=arrays(np.uint8, SIZES, elements=st.sampled_from([0, 1, 15, 20, VOID])))
def test_pillow_reads_the_ids_in_vocs_colours(ids: NDArray[np.uint8]) -> None:
    with Image.open(io.BytesIO(mask_file(ids))) as picture:
        picture.load()
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.array(picture), ids)
        np.testing.assert_array_equal(np.array(picture.convert("RGB")), voc_palette()[ids])


def test_any_layout_in_memory_gives_the_same_file() -> None:
    ids = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
    assert mask_file(np.asfortranarray(ids)) == mask_file(ids)
    assert mask_file(np.repeat(ids, 2, axis=1)[:, ::2]) == mask_file(ids)


def test_the_bytes_of_a_mask() -> None:
    # digests of bundles hang on them; zlib has no choice here that a version could make otherwise
    ids = np.zeros((300, 400), np.uint8)
    ids[50:200, 100:300] = 15
    ids[50:200, 100:105] = VOID
    found = mask_file(ids)
    assert len(found) < 3_000
    assert hashlib.sha256(found).hexdigest()[:16] == "7b31e40054a6e7ab"


def test_the_palette_is_vocs() -> None:
    # the first colours as VOC's development kit lists them
    expected = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]
    assert [*map(tuple, voc_palette()[:6].tolist())] == expected
    assert len(np.unique(voc_palette(), axis=0)) == 256
