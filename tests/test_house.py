"""The house as a reader finds it: everything public typed and documented, and a test beside every module."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "llmkit"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def test_every_module_has_its_namesake_test() -> None:
    lacking = [
        str(inside)
        for inside in (path.relative_to(PACKAGE) for path in FILES)
        if not (TESTS / inside.parent / f"test_{inside.name}").is_file()
    ]
    assert lacking == []


def test_what_is_public_is_typed_and_documented() -> None:
    assert [one for path in FILES for one in _missing(path)] == []


def test_a_file_holds_one_idea() -> None:
    long = [path for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > 300]
    assert [str(path.relative_to(PACKAGE)) for path in long] == []


def test_the_tests_have_no_module_that_the_package_lacks() -> None:
    mirrored = {path.parent for path in FILES if path.parent != PACKAGE}
    strays = [
        str(test.relative_to(TESTS))
        for folder in mirrored
        for test in sorted((TESTS / folder.relative_to(PACKAGE)).glob("test_*.py"))
        if not (folder / test.name.removeprefix("test_")).is_file()
    ]
    assert strays == []


def _missing(path: Path) -> Iterator[str]:
    """What a file's public names have no docstring or no types for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = path.relative_to(PACKAGE)
    if not ast.get_docstring(tree):
        yield f"{inside} has no docstring"
    for node, owner in _public(tree):
        where = f"{inside}:{node.lineno}: {node.name}"
        if ast.get_docstring(node) is None and not (owner is not None and owner.bases):  # a base documents it
            yield f"{where} has no docstring"
        if not isinstance(node, ast.ClassDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [one.arg for one in arguments if one.annotation is None and one.arg not in ("self", "cls")]
            if bare or node.returns is None:
                yield f"{where} is not typed ({', '.join(bare) or 'what it returns'})"


def _public(
    tree: ast.AST, owner: ast.ClassDef | None = None
) -> Iterator[tuple[Definition, ast.ClassDef | None]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node, owner
            if isinstance(node, ast.ClassDef):
                yield from _public(node, node)


def test_every_version_of_the_constraints_is_one_that_the_project_allows() -> None:
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]
    asked = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    pins = _pins()
    wanted = [requirement for requirement in map(Requirement, asked) if requirement.name in pins]
    assert len(wanted) > 30
    assert [str(one) for one in wanted if not one.specifier.contains(pins[one.name])] == []


def test_the_constraints_have_the_triton_that_their_torch_asks_for() -> None:
    # the registry's torch asks for one triton exactly; the one without CUDA asks for none, and fails nowhere
    pins = _pins()
    assert (pins["torch"], pins["triton"]) == ("2.13.0", "3.7.1")


def _pins() -> dict[str, str]:
    """Name and version of each line of constraints.txt."""
    lines = (TESTS.parent / "constraints.txt").read_text().splitlines()
    return {
        name: pin for name, _, pin in (line.partition("==") for line in lines if not line.startswith("#"))
    }
