"""What every file of the house keeps to."""

import ast
import importlib.metadata
import sys
from pathlib import Path

import pytest

import quire

ROOT = Path(__file__).parents[1]
ROOMS = ("artifacts", "builders", "loaders", "models", "train")
FILES = [
    *ROOT.glob("quire/*.py"),
    *(path for room in ROOMS for path in (ROOT / room).rglob("*.py")),
]


def test_the_public_names_are_there_in_order() -> None:
    assert quire.__all__ == sorted(quire.__all__)
    for name in quire.__all__:
        assert getattr(quire, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = quire.nothing


def test_no_other_distribution_owns_our_name() -> None:
    owners = importlib.metadata.packages_distributions()
    assert set(owners.get("quire", ["quire-vision"])) == {"quire-vision"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_it_is_and_so_does_everything_public_in_it(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if not tree.body:  # an empty __init__.py: names are not re-exported
        assert path.name == "__init__.py"
        return
    assert ast.get_docstring(tree)
    public: list[ast.AST] = [tree]
    while public:
        for node in ast.iter_child_nodes(public.pop()):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}:{node.lineno} {node.name}"
                if isinstance(node, ast.ClassDef):
                    public.append(node)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_fits_in_the_house(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 330
    assert path.name != "utils.py"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.parent.name != "quire"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nothing_below_imports_the_command_line(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert "quire" not in {name.name for name in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.module != "quire"


def test_the_python_that_runs_is_one_we_support() -> None:
    assert sys.version_info >= (3, 11)
