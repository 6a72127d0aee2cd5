"""The command that writes what a network of segmentation says of images: `quire predict`."""

from collections.abc import Callable
from pathlib import Path

from tyro.conf import Positional

from quire.artifacts.bundle import open_bundle
from quire.train.commands.bundle_option import BundleOption
from quire.train.engine.options import Bar
from quire.train.engine.runs import read_run
from quire.train.segmentation.predict import (
    VOC_RESULTS,
    check_voc,
    predict,
    write_voc_results,
)
from quire.train.segmentation.run import Answer


def predict_command(bar: Bar) -> Callable[..., int]:
    """The command that predicts."""

    def command(
        run: Positional[Path],
        out: BundleOption,
        data: BundleOption | None = None,
        pictures: BundleOption | None = None,
        listed: Path | None = None,
        answer: Answer = "target",
        voc_results: Path | None = None,
        skip_bad: bool = False,
        device: str | None = None,
    ) -> int:
        """Write the masks that a run of segmentation makes of whole images, as a bundle.

        Images are those of a bundle (--data) or of a folder (--pictures), which nobody need have
        labelled. A command that was stopped goes on.

        Args:
            run: The folder of a finished run of segmentation.
            out: Where the bundle goes: a folder, or an address.
            data: The bundle whose images are looked at: a folder, or an address.
            pictures: A folder of JPEG and PNG files, or an address of one.
            listed: A text file with the name of a picture a line, without its ending: these alone,
                in this order. VOC's ImageSets/Segmentation/test.txt is one.
            answer: Which of feature binding's answers; other networks have a target alone.
            voc_results: Also write the masks below this folder as VOC's test server wants them:
                results/VOC2012/Segmentation/comp6_test_cls/NAME.png.
            skip_bad: Leave out pictures that cannot be read, with the reasons in the manifest.
            device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
        """
        if voc_results is not None:
            check_voc(read_run(run).classes)
        with bar("shards") as report:
            manifest = predict(
                run,
                out,
                data=data,
                pictures=pictures,
                listed=listed,
                answer=answer,
                device=device,
                skip_bad=skip_bad,
                report=report,
            )
        print(f"{out}: {manifest.samples:,} masks of {data or pictures}")
        if voc_results is not None:
            count = write_voc_results(open_bundle(out), voc_results)
            print(f"{voc_results / VOC_RESULTS}: {count:,} files")
        return 0

    return command
