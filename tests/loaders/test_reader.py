"""The reader's memory: used again, and never while anything of the batch that was in it lives."""

import gc
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from quire.artifacts.bundle import open_bundle
from quire.loaders.reader import Reader
from quire.loaders.reading.folder import Folder
from quire.loaders.reading.memory import Memory
from quire.loaders.stream import stream
from tests.bundles import random_images, write_bundle

N = 40


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG files of one size."""
    images, labels = random_images(N, (16, 24, 3))
    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG")
        files.append(file.getvalue())
    folder = tmp_path_factory.mktemp("reader") / "bundle"
    keys = [f"{i:04d}" for i in range(N)]
    write_bundle(folder, keys, {"jpg": files}, {"label": labels}, samples_per_shard=15)
    return folder


@given(shapes=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3), max_size=20))
def test_no_two_living_arrays_share_memory(shapes: list[list[int]]) -> None:
    memory = Memory()
    alive = []
    for number, shape in enumerate(shapes):
        array = memory.empty(tuple(shape))
        assert array.shape == tuple(shape)
        array[...] = number
        if number % 3:
            alive.append((number, array[..., :1] if number % 2 else torch.from_numpy(array)))
        del array
    for number, part in alive:
        assert (np.asarray(part) == number).all()


def test_memory_is_used_again_when_the_last_view_of_it_is_gone() -> None:
    memory = Memory()
    array = memory.empty((3, 100))
    address = array.ctypes.data
    view = torch.from_numpy(array)[1:, ::2].permute(1, 0)
    del array
    gc.collect()
    assert memory.empty((3, 100)).ctypes.data != address
    del view
    gc.collect()
    assert memory.empty((2, 130)).ctypes.data == address


def test_of_what_is_alike_no_more_is_held_than_is_in_use_and_spare() -> None:
    """Windows differ a little in size: of two sizes on both sides of a power of two one is kept."""
    memory = Memory(spare=1, alike=True)
    for size in (1 << 12, (1 << 12) - 1, 5000, 3000, (1 << 13) + 1, 1 << 12):
        array = memory.empty((size,))
        assert array.shape == (size,)
        del array
        gc.collect()
        assert sum(map(len, memory._spare.values())) == 1


def test_not_all_memory_is_kept() -> None:
    memory = Memory()
    many = [memory.empty((64,)) for _ in range(50)]
    kept = {array.ctypes.data for array in many}
    del many
    gc.collect()
    spare = memory._spare[(64).bit_length()]
    assert 0 < len(spare) < 10
    assert {np.frombuffer(one, np.uint8).ctypes.data for one in spare} < kept


@pytest.mark.parametrize("threads", [1, 2])
def test_batches_that_are_kept_stay_as_they_were(bundle: Path, threads: int) -> None:
    batches = stream(bundle, batch_size=3, shuffle=True, threads=threads)
    kept, copies = [], []
    for _ in range(4):
        for number, batch in enumerate(batches):
            part = batch["image"] if number % 2 else batch["image"][0, 1]
            if number % 3:
                kept.append(part)
                copies.append(part.clone())
    assert all(torch.equal(one, other) for one, other in zip(kept, copies, strict=True))


def test_a_reader_that_has_read_travels_to_another_process(bundle: Path) -> None:
    rows = np.arange(N)
    opened = open_bundle(bundle)
    shards = Folder(bundle, opened.manifest, opened.index, verify=False, in_order=False)
    reader = Reader(shards, rows, columns=("label",), threads=2)
    before = reader[rows[:5]]
    after = pickle.loads(pickle.dumps(reader))[rows[:5]]
    assert torch.equal(before["image"], after["image"])
