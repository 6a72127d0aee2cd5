"""How a study is carried out, and its results written. What is finished is used again.

bundles/…         every bundle that a study needed; studies share them
runs/…            every run, named after what decides it; studies share them too
NAME-SCALE/       table.csv (mean, intervals, and single seeds) and other tables, a picture and the
                  numbers in it for each figure, other pictures, measured.csv (every number behind
                  all that), report.html
"""

from pathlib import Path

from quire.artifacts.digest import whole_file
from quire.artifacts.errors import RunError
from quire.train.report.grid import as_csv, as_table
from quire.train.report.intervals import csv_text
from quire.train.report.page import Picture, Section, picture, write_page
from quire.train.report.plots.figure import panels_csv, plot
from quire.train.report.plots.style import WIDTH
from quire.train.studies.study import Figure, Findings, Layout, Place, Scale, Study


def conduct(
    name: str, study: Study, scale: Scale, place: Place, *, seeds: int | None = None
) -> Layout:
    """Carry out a study and write what came of it, also what there is on the way.

    Raises:
        RunError: it has no such scale; data is not at hand; or see
            `quire.train.classify.training.train`.
        BundleError, BuildError, SourceError: a bundle or a source is not what it should be.
    """
    if scale not in study.scales:
        known = ", ".join(study.scales)
        raise RunError(f"{name} has no scale {scale}; it has {known}")
    layout = Layout()
    for findings in study.carry_out(scale, place, seeds=seeds):
        write(place.out / f"{name}-{scale}", study, scale, findings)
        layout = findings.layout
    return layout


def write(folder: Path, study: Study, scale: Scale, findings: Findings) -> None:
    """Write everything that a study shows, and every number behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = findings.layout
    files = {"measured.csv": csv_text([findings.heading, *findings.lines]).encode()}
    for number, grid in enumerate(layout.grids):
        files[f"table{number or ''}.csv"] = as_csv(grid).encode()
    for name, table in layout.tables.items():
        lines = [table.headings, *(tuple(map(str, row)) for row in table.rows)]
        files[f"{name}.csv"] = csv_text(lines).encode()
    section = section_of(f"{study.paper}, at scale {scale}", layout)
    for figure in layout.figures:
        files[f"{figure.name}.csv"] = panels_csv(figure.panels).encode()
    names = (*(figure.name for figure in layout.figures), *layout.pictures)
    for name, shown in zip(names, section.pictures, strict=True):
        files[f"{name}.png"] = shown.png
    for name, data in files.items():
        with whole_file(folder / name) as file:
            file.write(data)
    write_page(folder / "report.html", study.title, [section])


def section_of(heading: str, layout: Layout) -> Section:
    """What a study shows, as a part of a report."""
    return Section(
        heading,
        prose=layout.notes,
        tables=(*map(as_table, layout.grids), *layout.tables.values()),
        pictures=(
            *(_plotted(figure, heading) for figure in layout.figures),
            *(
                picture(image, density=2, description=f"{heading}: {name}")
                for name, image in layout.pictures.items()
            ),
        ),
    )


def _plotted(figure: Figure, heading: str) -> Picture:
    return Picture(plot(figure.panels, columns=figure.columns), WIDTH, f"{heading}: {figure.name}")
