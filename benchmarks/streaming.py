"""How fast bundles stream, beside webdataset, litdata and an array in memory.

    python -m benchmarks.streaming --out streaming.json

Everything lies in the page cache, and every row delivers the same pixels as uint8 tensors, which is
checked. `cores 1` keeps a whole row to one core: reading ahead, decoding, and making batches. The
first epoch also pays for opening the bundle, for worker processes, and with ours for loading the
compiled gather. Loaders of some thousand images/s get only the first of them to read, in as
many whole shards as `--slow` says.
"""

import gc
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import tyro
import webdataset as wds
from PIL import Image

from benchmarks import bundles, loading
from benchmarks.bundles import Images, Labels
from benchmarks.loading import Loader
from benchmarks.timing import Contender, Run, Table, measure, write_report
from quire.artifacts.bundle import open_bundle
from quire.artifacts.members import class_ids, raw_images
from quire.artifacts.shards import Payloads

SMALL_BATCH = 256
PHOTOGRAPH_BATCH = 16
_SHARDS = 20  # so that worker processes have shards to share


@dataclass(frozen=True, kw_only=True)
class Options:
    """Stream bundles, ours and others' way, and print how many samples a second each delivers."""

    data: Path | None = None
    """Folder that holds cifar10 and voc, for real images."""
    out: Path | None = None
    """Also write all that was measured as JSON."""
    only: tuple[str, ...] = ()
    """Tables to make: raw, pax, jpeg, photographs. Default: all."""
    images: int = 50_000
    """Raw images of 32x32; of JPEG files two fifths."""
    slow: int = 5_000
    """Images that webdataset gets to read; litdata gets twice as many."""
    photographs: int = 384
    """Photographs of 500x375 with their masks."""
    rounds: int = 5
    """Epochs of each row; the first is kept apart."""


@dataclass(frozen=True, slots=True)
class Small:
    """A bundle of small images, and what is in it."""

    folder: Path
    member: str
    images: Images
    labels: Labels

    def shards(self, samples: int) -> list[Path]:
        """The first shards, up to a number of samples."""
        shards = open_bundle(self.folder).manifest.shards
        count = max(2, samples // shards[0].samples)
        return [self.folder / shard.name for shard in shards[:count]]


def raw(options: Options, scratch: Path) -> list[Table]:
    """Raw images: ours, webdataset and litdata, with and without workers, and memory."""
    small = _raw_bundle(options, scratch)
    gather, plain = "array in memory", "webdataset"
    loaders: dict[str, Loader] = {
        gather: partial(loading.in_memory, small.images, small.labels, SMALL_BATCH),
        "ours": partial(_ours, small, workers=0, threads=1),
        "ours, 2 workers": partial(_ours, small, workers=2, threads=1),
        plain: partial(_webdataset, small, options.slow, workers=0),
        "webdataset, 2 workers": partial(_webdataset, small, options.slow, workers=2),
        **_litdata(small, scratch / "litdata", 2 * options.slow),
    }
    timings = measure(_contenders(loaders), rounds=options.rounds)
    _check(loaders, small)
    return [Table(f"raw {_said(small)}, batches of {SMALL_BATCH}", timings, (gather, plain))]


def pax(options: Options, scratch: Path) -> list[Table]:
    """What the PAX headers of wds.ShardWriter cost plain webdataset."""
    small = _raw_bundle(options, scratch)
    own = small.shards(options.slow)
    theirs = _rewritten(own, scratch / "pax")
    decoded = partial(loading.webdataset, decode="rgb8", members=("ppm", "cls"), workers=0)
    loaders: dict[str, Loader] = {
        "ShardWriter's, decoded": partial(decoded, theirs, SMALL_BATCH),
        "our shards, decoded": partial(decoded, own, SMALL_BATCH),
    }
    contenders = [
        Contender("ShardWriter's", partial(_counting, theirs)),
        Contender("our shards", partial(_counting, own)),
        *_contenders(loaders),
    ]
    timings = measure(contenders, rounds=options.rounds)
    _check(loaders, small)
    count = len(own) * len(small.labels) // _SHARDS
    title = f"plain webdataset over the same {count:,} raw images of 32x32"
    return [
        Table(f"{title}: reading alone", timings[:2], ("ShardWriter's",)),
        Table(f"{title}: decoded, in batches", timings[2:], ("ShardWriter's, decoded",)),
    ]


def jpeg(options: Options, scratch: Path) -> list[Table]:
    """JPEG files of 32x32 on one core and two."""
    images, labels = bundles.small_images(options.images * 2 // 5, options.data)
    files = bundles.jpegs(images)
    pixels = np.stack([np.asarray(Image.open(BytesIO(file))) for file in files])
    members: dict[str, Payloads] = {"jpg": files, "cls": class_ids(labels)}
    small = _written(scratch / "jpeg", "jpg", members, pixels, labels)
    gather, plain = "array in memory", "webdataset"
    loaders: dict[str, Loader] = {
        gather: partial(loading.in_memory, pixels, labels, SMALL_BATCH),
        "ours, 1 thread": partial(_ours, small, workers=0, threads=1),
        "ours, 2 threads": partial(_ours, small, workers=0, threads=2),
        plain: partial(_webdataset, small, options.slow, workers=0),
    }
    contenders = _contenders(loaders, cores={"ours, 2 threads": 2}, otherwise=1)
    timings = measure(contenders, rounds=options.rounds)
    _check(loaders, small)
    return [Table(f"jpg {_said(small)}, batches of {SMALL_BATCH}", timings, (gather, plain))]


def photographs(options: Options, scratch: Path) -> list[Table]:
    """Photographs and palette masks on one core and two."""
    files, masks = bundles.photographs(options.photographs, options.data)
    folder = scratch / "photographs"
    labels = np.zeros(len(files), np.int64)
    size = -(-len(files) // _SHARDS)
    manifest = bundles.write_bundle(
        folder, {"jpg": files, "mask.png": masks}, labels, samples_per_shard=size
    )
    tars = [folder / shard.name for shard in manifest.shards]
    own = partial(loading.ours, folder, PHOTOGRAPH_BATCH, labels=False, workers=0)
    other = partial(
        loading.webdataset,
        tars,
        PHOTOGRAPH_BATCH,
        decode=loading.by_pillow,
        members=("jpg", "mask.png"),
    )
    plain = "webdataset"
    loaders: dict[str, Loader] = {
        "ours, 1 thread": partial(own, threads=1),
        "ours, 2 threads": partial(own, threads=2),
        plain: partial(other, workers=0),
        "webdataset, 2 workers": partial(other, workers=2),
    }
    contenders = _contenders(loaders, cores={"ours, 1 thread": 1, plain: 1}, otherwise=2)
    timings = measure(contenders, rounds=options.rounds)
    found = {name: loading.sums(load()(), ("image", "mask")) for name, load in loaders.items()}
    if any(one != found[plain] or len(one) != len(files) for one in found.values()):
        raise RuntimeError("the loaders deliver different photographs")
    title = f"{len(files):,} photographs of 500x375 with masks, batches of {PHOTOGRAPH_BATCH}"
    return [Table(title, timings, (plain,))]


def _contenders(
    loaders: Mapping[str, Loader],
    *,
    cores: Mapping[str, int] | None = None,
    otherwise: int | None = None,
) -> list[Contender]:
    given = cores or {}
    return [
        Contender(name, partial(loading.drained, load), cores=given.get(name, otherwise))
        for name, load in loaders.items()
    ]


def _said(small: Small) -> str:
    return f"{len(small.labels):,} images of 32x32"


def _raw_bundle(options: Options, scratch: Path) -> Small:
    images, labels = bundles.small_images(options.images, options.data)
    members: dict[str, Payloads] = {"ppm": raw_images(images), "cls": class_ids(labels)}
    return _written(scratch / "raw", "ppm", members, images, labels)


def _written(
    folder: Path,
    member: str,
    members: Mapping[str, Payloads],
    images: Images,
    labels: Labels,
) -> Small:
    if not folder.exists():
        size = -(-len(labels) // _SHARDS)
        bundles.write_bundle(folder, members, labels, samples_per_shard=size)
    return Small(folder, member, images, labels)


def _ours(small: Small, *, workers: int, threads: int) -> loading.Epochs:
    return loading.ours(small.folder, SMALL_BATCH, labels=True, workers=workers, threads=threads)


def _webdataset(small: Small, samples: int, *, workers: int) -> loading.Epochs:
    return loading.webdataset(
        small.shards(samples),
        SMALL_BATCH,
        decode="rgb8",
        members=(small.member, "cls"),
        workers=workers,
    )


def _litdata(small: Small, folder: Path, samples: int) -> dict[str, Loader]:
    """litdata's rows, where litdata is here."""
    try:
        loading.write_litdata(folder, small.images[:samples], small.labels[:samples])
    except ImportError:
        print("litdata is not installed: its rows are left out\n")
        return {}
    return {
        "litdata": partial(loading.litdata, folder, SMALL_BATCH, workers=0),
        "litdata, 2 workers": partial(loading.litdata, folder, SMALL_BATCH, workers=2),
    }


def _check(loaders: Mapping[str, Loader], small: Small) -> None:
    """Whether each loader delivers the images that the bundle was made of, or the first of them."""
    pixels = small.images.reshape(len(small.labels), -1).sum(1).tolist()
    expected = list(zip(pixels, small.labels.tolist(), strict=True))
    for name, load in loaders.items():
        found = loading.sums(load()(), ("image", "label"))
        if not found or found != sorted(expected[: len(found)]):
            raise RuntimeError(f"{name} delivers other images")
    gc.collect()  # the loaders' worker processes end now and not while others are timed


def _counting(tars: Sequence[Path]) -> Run:
    """Webdataset's own reading of tars: nothing decoded, shuffled or batched."""
    samples = loading.tars(tars, shuffle=False)
    return lambda: sum(1 for _ in samples)


def _rewritten(tars: Sequence[Path], folder: Path) -> list[Path]:
    """The same samples as wds.ShardWriter writes them, in as many shards."""
    folder.mkdir()
    for tar in tars:
        with wds.ShardWriter(str(folder / f"{tar.stem}-%d.tar"), verbose=0) as writer:
            for sample in loading.tars([tar], shuffle=False):
                writer.write({k: v for k, v in sample.items() if k in ("__key__", "ppm", "cls")})
    return sorted(folder.iterdir())


TABLES: Mapping[str, Callable[[Options, Path], list[Table]]] = {
    table.__name__: table for table in (raw, pax, jpeg, photographs)
}


def main(argv: Sequence[str] | None = None) -> None:
    """Make the tables, and print each as soon as it is there."""
    options = tyro.cli(Options, args=argv)
    torch.set_num_threads(1)  # what torch computes here is copying, and a core means a core
    tables: list[Table] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only or TABLES:
            made = TABLES[name](options, Path(scratch))
            print(*made, sep="\n")
            tables += made
    if options.out:
        write_report(options.out, tables)


if __name__ == "__main__":
    main()
