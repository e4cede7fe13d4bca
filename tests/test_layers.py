"""The house rules that a reader relies on, read from the sources with `ast`."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "llmkit"
ORDER = (
    *("errors", "progress", "version", "machine", "signals", "formats", "kernels", "text"),
    *("tokens", "model", "estimate", "train"),
    *("quant", "engine", "retrieve", "probe", "server", "workflows", "commands", "cli", "__main__"),
)
"""A file imports from its own folder, or from names before it."""
TORCH_FREE = (*ORDER[: ORDER.index("text")], "estimate")
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    ".".join(("llmkit", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in FILES
}


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A source file; not read where these tests are only collected."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path, *, at_import: bool = False) -> Iterator[tuple[str, int]]:
    """Names of modules that a file imports, and the line; `at_import`: only those that loading it loads."""
    todo: list[ast.AST] = [parsed(path)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module), node.lineno
        elif at_import and _runs_later(node):
            continue
        todo.extend(ast.iter_child_nodes(node))


def layer_of(module: str) -> str:
    """The first name after llmkit: a folder, or a file at the top."""
    return module.split(".")[1]


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(PACKAGE.parent)}:{line}"


def test_every_folder_has_its_place_in_the_order() -> None:
    found = {layer_of(module) for module in MODULES if module != "llmkit"}
    assert found <= set(ORDER)


def test_imports_point_up_the_order_only() -> None:
    wrong = [
        f"{where(path, line)} imports {other}"
        for module, path in MODULES.items()
        if module != "llmkit"
        for other, line in imports_of(path)
        if other.startswith("llmkit.") and ORDER.index(layer_of(other)) > ORDER.index(layer_of(module))
    ]
    assert wrong == []


def test_there_is_no_import_cycle() -> None:
    edges = {
        module: {other for other, _ in imports_of(path) if other in MODULES and other != module}
        for module, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for other in sorted(edges[module]):
                visit(other, (*trail, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def test_the_guide_has_every_folder_in_its_order_and_names_only_files_that_are_there() -> None:
    guide = (PACKAGE / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|", guide, re.M)
    assert rows == [name for name in ORDER if (PACKAGE / name).is_dir()]
    named = re.findall(r"`([\w./]+(?:\.py|/))`", guide)
    assert [one for one in named if not ((PACKAGE / one).exists() or (PACKAGE.parent / one).exists())] == []


def test_init_files_are_empty_and_no_file_is_called_utils() -> None:
    assert [str(path) for path in FILES if path.name == "__init__.py" and path.stat().st_size] == []
    assert [str(path) for path in FILES if path.stem in ("utils", "util", "helpers", "common", "misc")] == []


def test_only_commands_print() -> None:
    prints = [
        where(path, node.lineno)
        for path, tree in zip(FILES, map(parsed, FILES), strict=True)
        if "commands" not in path.parts and path.name != "cli.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert prints == []


def test_pickle_is_neither_read_nor_written() -> None:
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    calls = {("torch", "load"), ("torch", "save"), ("np", "load"), ("np", "save"), ("numpy", "load")}
    wrong = []
    for path, tree in zip(FILES, map(parsed, FILES), strict=True):
        wrong += [where(path, line) for name, line in imports_of(path) if name.split(".")[0] in modules]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                wrong += [where(path, node.lineno)] * ((node.value.id, node.attr) in calls)
    assert wrong == []


def test_configs_and_lower_layers_load_no_torch() -> None:
    def reach(module: str, seen: set[str]) -> set[str]:
        for other, _ in imports_of(MODULES[module], at_import=True):
            if other not in seen:
                seen.add(other)
                if other in MODULES:
                    reach(other, seen)
        return seen

    free = [
        module
        for module in MODULES
        if module != "llmkit" and (layer_of(module) in TORCH_FREE or module.endswith(".config"))
    ]
    heavy = {
        module: {"torch", "transformers"} & {name.split(".")[0] for name in reach(module, set())}
        for module in free
    }
    assert {module: names for module, names in heavy.items() if names} == {}


def test_the_core_reads_no_environment_and_keeps_no_global_state() -> None:
    core = [path for module, path in MODULES.items() if layer_of(f"{module}.") in ORDER[3:17]]
    wrong = []
    for path in core:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Global):
                wrong.append(f"{where(path, node.lineno)}: global")
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                wrong.append(f"{where(path, node.lineno)}: environment")
    assert wrong == []


def _runs_later(node: ast.AST) -> bool:
    """A function's body, or what only a type checker reads."""
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    return is_function or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))


def test_python_is_never_started_with_the_working_folder_to_import_from() -> None:
    starts = [
        (path.name, start)
        for path in FILES
        for start in re.findall(r"sys\.executable[^\n]*\"-[mc]\"[^\n]*", path.read_text(encoding="utf-8"))
    ]
    starts = [one for one in starts if one[0] != "launch.py"]  # not yet: --nproc
    assert len(starts) >= 4
    assert [one for one in starts if '"-P", "-' not in one[1]] == []
