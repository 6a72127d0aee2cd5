"""The command line as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import quire

SMALL = ["--corruptions", "contrast", "--severities", "2", "--workers", "0"]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`quire …` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "quire", *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "b"
    done = run("build", "corrupted", "--source", "digits:", "--out", str(folder), *SMALL)
    assert done.returncode == 0, done.stderr
    assert "720 samples, 2 shards" in done.stdout
    assert done.stderr == ""  # quiet when piped
    return folder


def test_help_needs_none_of_the_heavy_imports() -> None:
    code = (
        "import sys, quire\n"
        "try: quire.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'dask', 'distributed', 'numba', 'cv2', 'h5py', 'scipy'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("sources", "build", "verify", "rebuild", "show", "demo"):
        assert command in done.stdout


def test_every_field_of_a_recipe_is_an_option() -> None:
    done = run("build", "corrupted", "--help")
    assert done.returncode == 0
    for option in ("split", "corruptions", "severities", "sigmas", "seed", "samples-per-shard"):
        assert f"--{option}" in done.stdout
    assert "--frost-dir" in done.stdout and "--skip-bad" in done.stdout


def test_sources_names_every_kind() -> None:
    done = run("sources")
    assert done.returncode == 0
    for kind in ("cifar10:", "cifar100:", "mnist:", "folder:", "digits:", "graphs:"):
        assert kind in done.stdout


def test_verify_says_sound_or_names_the_file(bundle: Path, tmp_path: Path) -> None:
    assert quire.main(["verify", str(bundle)]) == 0
    shard = bundle / "test-contrast-2-000000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + b"x")
    done = run("verify", str(bundle))
    shard.write_bytes(whole)
    assert done.returncode == 1
    where = f"bytes 524,288 to {len(whole):,}"
    assert done.stdout == (
        f"{shard.name}: damaged: its digest is not the recorded one; in {where}\n"
    )


def test_rebuild_finds_the_same_or_says_different(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run("rebuild", str(bundle), "--source", "digits:", "--shards", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the same") == 2
    assert quire.main(["rebuild", str(bundle), "--source", "digits:32", "--shards", "2"]) == 1
    error = capsys.readouterr().err
    assert "not what the bundle was built from; source sha256" in error


def test_show_says_what_is_inside(bundle: Path, tmp_path: Path) -> None:
    page, sheet = tmp_path / "page.html", tmp_path / "sheet.png"
    done = run("show", str(bundle), "--html", str(page), "--png", str(sheet))
    assert done.returncode == 0, done.stderr
    assert "contrast" in done.stdout and "720" in done.stdout
    assert "contrast" in page.read_text()
    with Image.open(sheet) as image:
        assert np.asarray(image).std() > 0


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b"
    arguments = ["build", "corrupted", "--source", "digits:", "--out", str(out), *SMALL]
    assert quire.main([*arguments, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "shards: 2, " in said and "already there: 0 shards" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "/no/such/bundle"], None),
        (["show", "/no/such/bundle"], "/no/such/bundle does not exist"),
        (["rebuild", "/no/such/bundle", "--source", "digits:"], "does not exist"),
        (["build", "corrupted", "--source", "digit:", "--out", "x"], "the source 'digit:'"),
        (["build", "corrupted", "--source", "mnist:/nowhere", "--out", "x"], "/nowhere"),
        (["build", "corrupted", "--source", "digits:", "--out", "x", "--split", "val"], "'val'"),
        (
            ["build", "corrupted", "--source", "digits:", "--out", "x", "--severities", "0"],
            "severity is 0",
        ),
        (
            ["build", "corrupted", "--source", "digits:", "--out", "x", "--corruptions", "rain"],
            "no corruption is called 'rain'",
        ),
        (
            ["build", "corrupted", "--source", "digits:", "--out", "x", "--corruptions", "frost"],
            "frost needs the folder",
        ),
        (
            ["build", "corrupted", "--source", "digits:", "--out", "x", "--corruptions", "fog"],
            "fog",
        ),
        (
            ["build", "corrupted", "--source", "digits:", "--out", "x", "--sigmas", "-1"],
            "sigma is -1.0",
        ),
        (["build", "graphs", "--source", "digits:", "--out", "x"], "one of the kinds graphs"),
        (
            ["build", "corrupted", "--source", "graphs:.", "--out", "x"],
            "'graphs:.' is not KIND:PATH",
        ),
        (["build", "graphs", "--out", "x", "--sizes", "9", "--nei", "9"], "nei is 9"),
        (["build", "graphs", "--out", "x", "--least", "100000"], "which is more than most, 91000"),
    ],
)
def test_an_expected_error_is_one_line_and_a_status(
    arguments: list[str], message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quire.main(arguments) == 1
    captured = capsys.readouterr()
    if message is not None:
        assert captured.out == ""
        assert message in captured.err
        assert captured.err.startswith("quire: ") and captured.err.count("\n") == 1
    assert not Path("x").exists()


def test_a_reader_that_has_gone_ends_it_quietly_and_loses_no_file(
    bundle: Path, tmp_path: Path
) -> None:
    """As `quire show … | true`, whose reader has gone before there is anything to read."""
    reader, writer = os.pipe()
    os.close(reader)
    files = {option: tmp_path / f"sheet{option}" for option in ("--png", "--html")}
    options = [str(part) for pair in files.items() for part in pair]
    done = subprocess.run(
        [sys.executable, "-m", "quire", "show", str(bundle), *options],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")  # that of a process that SIGPIPE ended
    assert all(path.stat().st_size > 1000 for path in files.values())


def test_debug_gives_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    done = run("show", "/no/such/bundle", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "BundleError" in done.stderr
    assert quire.main(["show", "/no/such/bundle"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, quire\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "sys.exit(quire.main(sys.argv[1:]))\n"
    )
    arguments = ["build", "corrupted", "--source", "digits:", "--out", str(tmp_path / "b"), *SMALL]
    full = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )
    assert full.returncode == 1
    assert full.stderr.startswith("quire: ") and full.stderr.count("\n") == 1
    assert os.listdir(tmp_path / "b") == [".building"]
    assert not list((tmp_path / "b" / ".building").glob("*.partial"))
    assert quire.main(arguments) == 0
    assert quire.main(["verify", str(tmp_path / "b")]) == 0


GRID = ["--sizes", "12", "16", "--nei", "1", "2", "--p", "0.5", "--least", "2500", "--most", "4500"]


def test_graphs_need_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b"
    build = ["build", "graphs", "--out", str(out), *GRID, "--graphs", "4", "--workers", "0"]
    assert quire.main([*build, "--dry-run"]) == 0
    assert "source: none" in capsys.readouterr().out and not out.exists()
    assert quire.main(build) == 0
    assert f"{out}: 4 samples, 1 shards" in capsys.readouterr().out
    assert quire.main(["verify", str(out)]) == 0
    assert quire.main(["rebuild", str(out)]) == 0
    assert "graphs.h5: the same" in capsys.readouterr().out
    assert quire.main(["show", str(out), "--html", str(tmp_path / "page.html")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["graphs", "kept", "4"] in lines and ["source", "none"] in lines
    kept = [int(line[3]) for line in lines if line[:1] == ["nei"] and line[-1:] == ["%"]]
    assert sum(kept) == 4 and len(kept) == 2
    assert "<title>graphs</title>" in (tmp_path / "page.html").read_text()


def test_a_folder_of_graphs_is_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("0 1\n1 2\n")
    (tmp_path / "mine" / "b.txt").write_text("0 0\n")
    source = ["--source", f"graphs:{tmp_path / 'mine'}"]
    build = ["build", "graphs", *source, "--out", str(tmp_path / "b"), "--workers", "0"]
    assert quire.main(build) == 1
    error = capsys.readouterr().err
    assert error.startswith("quire: b.txt: line 1: '0' is joined to itself (skip-bad")
    assert quire.main([*build, "--skip-bad"]) == 0
    assert "left out: b.txt: line 1" in capsys.readouterr().out
    assert quire.main(["show", str(tmp_path / "b")]) == 0
    assert "graphs kept" not in capsys.readouterr().out
    assert quire.main(["rebuild", str(tmp_path / "b"), *source]) == 0


def test_help_says_which_recipe_needs_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    for recipe, needed in (("graphs", "default: None"), ("corrupted", "required")):
        with pytest.raises(SystemExit):
            quire.main(["build", recipe, "--help"])
        text = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert f"lists the kinds. ({needed})" in text


def test_a_recipe_that_reads_nothing_has_no_option_for_a_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        quire.main(["build", "pruned", "--help"])
    text = capsys.readouterr().out
    assert "--prunings" in text and "--source" not in text and "KIND:PATH" not in text
    with pytest.raises(SystemExit) as end:
        quire.main(["build", "pruned", "--source", "digits:", "--out", "x", "--dry-run"])
    assert end.value.code == 2 and "--source" in capsys.readouterr().err
