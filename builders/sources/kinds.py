"""Every kind of source: what it is, where its files have to be, and what opens it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from quire.artifacts.address import Address, is_address
from quire.artifacts.errors import SourceError
from quire.builders.sources.celeba import SPLITS as CELEBA_SPLITS
from quire.builders.sources.celeba import open_celeba
from quire.builders.sources.cifar import Cifar, open_cifar
from quire.builders.sources.coco import Coco, open_coco
from quire.builders.sources.coco_choice import path_and_choice
from quire.builders.sources.context import SPLITS, open_context
from quire.builders.sources.folders import SUFFIXES, ClassFolders, open_folders, path_and_size
from quire.builders.sources.graphs import GraphFolder, open_graphs
from quire.builders.sources.mnist import Mnist, open_mnist
from quire.builders.sources.modes import open_modes
from quire.builders.sources.saliency import Saliency, open_saliency, path_and_train
from quire.builders.sources.samples import open_digits
from quire.builders.sources.shapes import open_shapes
from quire.builders.sources.source import (
    GRAPHS,
    IMAGES,
    PERTURBATIONS,
    SCENES,
    UNDIVIDED,
    Source,
)
from quire.builders.sources.stl10 import Stl10, open_stl10
from quire.builders.sources.svhn import Svhn, open_svhn
from quire.builders.sources.uap import PerturbationFolder, open_perturbations
from quire.builders.sources.voc import Voc
from quire.builders.sources.voc_lists import SPLITS as VOC_SPLITS
from quire.builders.sources.voc_lists import open_voc


@dataclass(frozen=True, slots=True)
class SourceKind:
    """What `quire sources` says about a kind, and how one is opened."""

    summary: str
    layout: str  # what has to be where, in a sentence or two
    splits: tuple[str, ...] | None  # None: whatever the folder has
    open: Callable[[str, str], Source]  # what follows the colon, and the split
    downloads: bool = False
    addresses: bool = False  # whether it can lie at one, such as s3://bucket/name
    holds: str = (
        IMAGES  # with these, `open` gives an ImageSource; with SCENES, a SegmentationSource
    )


def _place(kind: str, where: str) -> Path | Address:
    """The folder or address that is meant."""
    return Address(where) if is_address(where) else folder_of(kind, where)


def folder_of(kind: str, where: str) -> Path:
    """The folder that is meant, absolute: a worker may run in another one."""
    if not where:
        raise SourceError(f"{kind} needs a folder: {kind}:PATH")
    if is_address(where):
        able = ", ".join(name for name, one in SOURCES.items() if one.addresses)
        raise SourceError(f"{kind} is read from a folder of this machine; {able} also at addresses")
    try:
        return Path(where).expanduser().absolute()
    except RuntimeError as error:  # a user's name after the ~ that nobody has
        raise SourceError(f"{kind}: there is no home folder for {where}") from error


def _cifar10(where: str, split: str) -> Cifar:
    return open_cifar("cifar10", folder_of("cifar10", where), split)


def _cifar100(where: str, split: str) -> Cifar:
    return open_cifar("cifar100", folder_of("cifar100", where), split)


def _mnist(where: str, split: str) -> Mnist:
    return open_mnist(folder_of("mnist", where), split)


def _svhn(where: str, split: str) -> Svhn:
    return open_svhn(folder_of("svhn", where), split)


def _stl10(where: str, split: str) -> Stl10:
    return open_stl10(folder_of("stl10", where), split)


def _class_folders(where: str, split: str) -> ClassFolders:
    path, size = path_and_size(where)
    return open_folders(_place("folder", path), split, size=size)


def _celeba(where: str, split: str) -> ClassFolders:
    path, size = path_and_size(where, kind="celeba")
    return open_celeba(_place("celeba", path), split, size=size)


def _voc2012(where: str, split: str) -> Voc:
    path, option, sbd = where.rpartition("?sbd=")
    place = _place("voc2012", path if option else where)
    return open_voc(place, split, sbd=_place("voc2012", sbd) if option else None)


def _coco(where: str, split: str) -> Coco:
    path, choice = path_and_choice(where)
    return open_coco(_place("coco", path), split, choice)


def _saliency(where: str, split: str) -> Saliency:
    path, train = path_and_train(where)
    return open_saliency(_place("saliency", path), split, train=train)


def _graphs(where: str, split: str) -> GraphFolder:
    return open_graphs(folder_of("graphs", where), split)


def _uap(where: str, split: str) -> PerturbationFolder:
    return open_perturbations(folder_of("uap", where), split)


SOURCES: Mapping[str, SourceKind] = {
    "cifar10": SourceKind(
        "CIFAR-10: 32x32 photographs of 10 classes",
        "cifar10:PATH, where PATH is or holds cifar-10-batches-bin (data_batch_1.bin to"
        " data_batch_5.bin, test_batch.bin, batches.meta.txt) or cifar-10-batches-py (the same"
        " names without .bin and .txt)",
        ("train", "test"),
        _cifar10,
        downloads=True,
    ),
    "cifar100": SourceKind(
        "CIFAR-100: 32x32 photographs of 100 classes (the fine labels)",
        "cifar100:PATH, where PATH is or holds cifar-100-binary (train.bin, test.bin,"
        " fine_label_names.txt) or cifar-100-python (train, test, meta)",
        ("train", "test"),
        _cifar100,
        downloads=True,
    ),
    "mnist": SourceKind(
        "MNIST: 28x28 gray handwritten digits",
        "mnist:PATH, where PATH, PATH/raw or PATH/MNIST/raw holds train-images-idx3-ubyte,"
        " train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each gzipped"
        " (.gz) or not",
        ("train", "test"),
        _mnist,
        downloads=True,
    ),
    "svhn": SourceKind(
        "SVHN: 32x32 photographs of the digits of house numbers",
        "svhn:PATH, with train_32x32.mat, test_32x32.mat and, if wanted, extra_32x32.mat (format 2,"
        " cropped digits) in PATH",
        ("train", "test", "extra"),
        _svhn,
    ),
    "stl10": SourceKind(
        "STL-10: 96x96 photographs of 10 classes (the labelled ones)",
        "stl10:PATH, where PATH is or holds stl10_binary (train_X.bin, train_y.bin, test_X.bin,"
        " test_y.bin, class_names.txt)",
        ("train", "test"),
        _stl10,
    ),
    "folder": SourceKind(
        "images in class folders",
        f"folder:PATH, with images ({' '.join(SUFFIXES)}) in PATH/<split>/<class>/, or in"
        " PATH/<class>/ for the split all; folder:PATH?size=64 or ?size=64x48 crops and scales"
        " them to one size",
        None,
        _class_folders,
        addresses=True,
    ),
    "celeba": SourceKind(
        "CelebA: 178x218 photographs of faces, all of one class",
        "celeba:PATH, where PATH or PATH/celeba has img_align_celeba and list_eval_partition.txt;"
        " celeba:PATH?size=64 crops and scales them to one size",
        CELEBA_SPLITS,
        _celeba,
        addresses=True,
    ),
    "digits": SourceKind(
        "scikit-learn's 1,797 handwritten digits, nothing to download",
        "digits: as they are, 8x8 and gray; digits:32 enlarges them to 32x32 in three channels"
        " (any number of 8 to 1,024)",
        ("train", "test"),
        open_digits,
    ),
    "modes": SourceKind(
        "drawn spots at 25 places, for GANs: 32x32 and gray; nothing to download",
        "modes: 5,000 images a split; modes:N for N",
        ("train", "test"),
        open_modes,
    ),
    "graphs": SourceKind(
        "undirected graphs, a file each",
        "graphs:PATH, with edge lists (.txt .edges .csv: two nodes a line) and GraphML (.graphml)"
        " in PATH",
        (UNDIVIDED,),
        _graphs,
        holds=GRAPHS,
    ),
    "uap": SourceKind(
        "published universal perturbations, a file each",
        "uap:PATH, with the files of LTS4/universal (.mat) and of GD-UAP (.npy) in PATH",
        (UNDIVIDED,),
        _uap,
        holds=PERTURBATIONS,
    ),
    "voc2012": SourceKind(
        "Pascal VOC 2012: photographs with a class for each pixel, of 20 classes and background",
        "voc2012:PATH, where PATH is or holds VOC2012 or VOCdevkit/VOC2012 (JPEGImages,"
        " SegmentationClass, ImageSets/Segmentation; if wanted SegmentationObject, Annotations);"
        " for train_aug and all SegmentationClassAug, for train_aug also SBD's benchmark_RELEASE in"
        " PATH or voc2012:PATH?sbd=PATH",
        VOC_SPLITS,
        _voc2012,
        addresses=True,
        holds=SCENES,
    ),
    "coco": SourceKind(
        "COCO's instances: photographs with a class for each pixel, of as many as there are",
        "coco:PATH, with annotations/instances_<split>.json and the images in <split>/; for the"
        " split all, annotations.json and the images where it says; coco:PATH?classes=voc has VOC's"
        " 20 classes alone, ?overlap=void makes pixels of two objects VOID (default: of the smaller"
        " one), ?least=1000 leaves out images with no more pixels of objects; joined by &",
        None,
        _coco,
        addresses=True,
        holds=SCENES,
    ),
    "saliency": SourceKind(
        "photographs with masks of what stands out in them: SOD, ECSSD, DUTS and others",
        "saliency:PATH, with a folder of images (Imgs, images, ...) and one of masks (GT, masks,"
        " ...) in PATH, or in PATH/<split>, or DUTS-TR and DUTS-TE in PATH; saliency:PATH?train=80"
        " divides the pair in PATH into 80 scenes for train and the others for test",
        None,
        _saliency,
        addresses=True,
        holds=SCENES,
    ),
    "context": SourceKind(
        "drawn objects that always have a companion, and tests without it; nothing to download",
        "context: 500 scenes of 128x128 a split; context:N for N; context:N?size=64, and ?seed=1;"
        " ?bias=often has some objects in training by themselves or with another companion",
        SPLITS,
        open_context,
        holds=SCENES,
    ),
    "shapes": SourceKind(
        "drawn scenes in VOC's form: 20 classes, instances, occlusion; nothing to download",
        "shapes: 500 scenes of 128x128 a split; shapes:N for N; shapes:N?size=64 or ?size=64x48,"
        " and ?seed=1 or ?size=64&seed=1 for others; ?classes=salient tells shapes from the"
        " background alone",
        ("train", "val"),
        open_shapes,
        holds=SCENES,
    ),
}
