"""A split of COCO with two images, written into a folder."""

import json
from pathlib import Path
from typing import Any

from tests.builders.sources.devkit import write_image


def square(left: int, top: int, side: int) -> list[list[int]]:
    """A polygon."""
    right, bottom = left + side, top + side
    return [[left, top, right, top, right, bottom, left, bottom]]


def write_coco(root: Path, objects: list[dict[str, Any]], **changes: Any) -> Path:
    """A split of two images of 8x6, the later one first, and three categories."""
    record = {
        "images": [
            {"id": 9, "file_name": "9.jpg", "width": 8, "height": 6},
            {"id": 4, "file_name": "4.jpg", "width": 8, "height": 6},
        ],
        "categories": [
            {"id": 90, "name": "zebra"},
            {"id": 3, "name": "car"},
            {"id": 7, "name": "x"},
        ],
        "annotations": objects,
    }
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations/instances_val.json").write_text(json.dumps(record | changes))
    for one in (4, 9):
        write_image(root / f"val/{one}.jpg", seed=one)
    return root


def marked(segmentation: Any, category: int = 3, image: int = 4, crowd: int = 0) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": crowd,
    }
