"""A Python function as a program: `python -m llmkit.retrieve.tools.function FILE.py NAME [--schema]`.

It runs in a process of its own, as every tool does: it can crash, hang or use up memory there. Its schema is
made of its signature, the first paragraph of its docstring and what that says of arguments under `Args:`.
"""

import contextlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_NAMES: dict[Any, str] = {
    **{str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"},
    **{dict: "object", list: "array"},
}
_ARGUMENT = re.compile(r"(\w+)(?: *\(.*?\))?: *(.*)")
"""A line under `Args:` that begins an argument: its name, its type in brackets, what it is."""


def load_function(path: Path, name: str) -> Callable[..., Any]:
    """A function of a file, which is run for it.

    Raises:
        SystemExit: there is none; what the file itself raises goes through.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))  # what stands beside it can be imported
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise SystemExit(f"{path}: no function {name}")
    return function


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """What a model is told of a function.

    Raises:
        SystemExit: it has arguments that cannot be given by name, or of a type that JSON does not have.
    """
    hints, doc = get_type_hints(function), inspect.getdoc(function) or ""
    properties, required = {}, []
    told = _told_arguments(doc)
    for name, one in inspect.signature(function).parameters.items():
        if one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            raise SystemExit(f"{function.__name__}: argument {name} cannot be given by name")
        about = {"description": told[name]} if name in told else {}
        properties[name] = {**(_schema(hints[name], name) if name in hints else {}), **about}
        if one.default is one.empty:
            required.append(name)
    parameters = {"type": "object", "properties": properties, "required": required}
    return {
        "name": function.__name__,
        "description": " ".join(re.split(r"\n\n|\nArgs:\n", doc)[0].split()),
        "parameters": {**parameters, "additionalProperties": False},
    }


def _told_arguments(doc: str) -> dict[str, str]:
    """What a docstring in Google's style says of arguments, by their names."""
    told: dict[str, str] = {}
    name = margin = None
    for line in doc.partition("\nArgs:\n")[2].splitlines():
        words = line.strip()
        indent = len(line) - len(line.lstrip())
        if words and not indent:
            break  # the next section
        margin = margin or indent or None
        begins = _ARGUMENT.fullmatch(words) if indent == margin else None
        if begins is not None:
            name = begins[1]
            told[name] = begins[2]
        elif words and name is not None:
            told[name] = f"{told[name]} {words}".strip()
    return told


def _schema(kind: Any, name: str) -> dict[str, Any]:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in _NAMES:
        return {"type": _NAMES[kind]}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(one, name) for one in parts]}
    if origin is list:
        return {"type": "array", "items": _schema(parts[0], name)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(parts[1], name)}
    raise SystemExit(f"argument {name}: {kind} is no type that JSON has")


def main(arguments: list[str]) -> None:
    """Print the schema, or call the function with the arguments on stdin and print its result."""
    path, name, *more = arguments
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what the function prints is not its result
        function = load_function(Path(path), name)
        result = schema_of(function) if more == ["--schema"] else function(**json.load(sys.stdin))
    out.write(json.dumps(result, ensure_ascii=False) + "\n")
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
