"""The layers: imports point down only and stand at the top of a module, and `import tahr` is silent."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tahr"

# Lowest first. A module or subpackage of tahr may import itself and what stands on the lines above its own.
LAYERS = (
    ("errors",),
    ("core",),
    ("ops",),
    ("variables",),
    ("variable_scope",),
    ("autodiff",),
    ("program",),
    ("plan",),
    ("backends",),
    ("session",),
    ("interop",),
    ("training", "layers"),  # side by side: neither may import the other
    ("api",),
    ("__init__",),
    ("demo",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

HARD_DEPENDENCIES = {"numpy", "ml_dtypes"}
# Imported where they enter, inside a function: `import tahr` works, and is quick, without them.
OPTIONAL_DEPENDENCIES = {"llvmlite", "matplotlib", "mlxtend", "sklearn", "tqdm"}


# The compiler: imported inside a function, so that sessions of the reference backend do not pay for it.
DEFERRED = ("tahr", "backends", "native")


@dataclass(frozen=True)
class Import:
    """One imported name: `from tahr.core import graph` imports `tahr.core.graph`."""

    target: tuple[str, ...]
    line: int
    in_function: bool
    for_types_only: bool


class ImportFinder(ast.NodeVisitor):
    """Collects the imports of one module, relative ones resolved against the package that holds it."""

    def __init__(self, parent: tuple[str, ...]) -> None:
        self.parent = parent
        self.found: list[Import] = []
        self.function_depth = 0
        self.type_checking_depth = 0

    def _visit_function(self, node: ast.AST) -> None:
        self.function_depth += 1
        self.generic_visit(node)
        self.function_depth -= 1

    visit_FunctionDef = _visit_function
    visit_AsyncFunctionDef = _visit_function

    def visit_If(self, node: ast.If) -> None:
        guarded = ast.unparse(node.test) in ("TYPE_CHECKING", "_typing.TYPE_CHECKING")
        self.type_checking_depth += guarded
        for statement in node.body:
            self.visit(statement)
        self.type_checking_depth -= guarded
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(tuple(alias.name.split(".")), node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self.parent[: len(self.parent) - node.level + 1] if node.level else ()
        base += tuple(node.module.split(".")) if node.module else ()
        for alias in node.names:
            self._add((*base, alias.name), node.lineno)

    def _add(self, target: tuple[str, ...], line: int) -> None:
        self.found.append(Import(target, line, self.function_depth > 0, self.type_checking_depth > 0))


def room_of(package: Path, dotted: tuple[str, ...]) -> str:
    """The entry of LAYERS that a dotted name belongs to; names of the package itself live in `__init__`."""
    if len(dotted) > 1 and ((package / dotted[1]).is_dir() or (package / f"{dotted[1]}.py").is_file()):
        return dotted[1]
    return "__init__"


def complaint(package: Path, room: str, found: Import) -> str | None:
    """What is wrong with one import made from `room`, or None."""
    name = ".".join(found.target)
    root = found.target[0]
    if root == package.name:
        target = room_of(package, found.target)
        if found.in_function and found.target[:3] != DEFERRED:
            return f"imports {name} inside a function"
        if target not in RANK:
            return f"imports {name}: tahr/{target} has no place in LAYERS"
        if target != room and RANK[target] >= RANK[room]:
            return f"imports {name}: {target} does not lie below {room}"
    elif root in OPTIONAL_DEPENDENCIES:
        if not (found.in_function or found.for_types_only):
            return f"imports {name}, which is optional, when it is loaded"
    elif root not in sys.stdlib_module_names | HARD_DEPENDENCIES:
        return f"imports {name}, which is not a dependency"
    elif found.in_function:
        return f"imports {name} inside a function"
    return None


def complaints(package: Path) -> Iterator[str]:
    """Everything that is wrong with the imports of a package, as `file:line: what`."""
    for file in sorted(package.rglob("*.py")):
        dotted = (package.name, *file.relative_to(package).with_suffix("").parts)
        room = room_of(package, dotted)
        where = file.relative_to(package.parent).as_posix()
        if room not in RANK:
            yield f"{where}:1: has no place in LAYERS"
            continue
        finder = ImportFinder(parent=dotted[:-1])
        finder.visit(ast.parse(file.read_text(encoding="utf-8"), str(file)))
        for found in finder.found:
            wrong = complaint(package, room, found)
            if wrong:
                yield f"{where}:{found.line}: {wrong}"


def test_imports_point_down() -> None:
    assert not list(complaints(PACKAGE))


def fake_package(directory: Path, files: dict[str, str]) -> Path:
    """Writes a small package called tahr that keeps the rules, with `files` added to it."""
    sound = {
        "__init__.py": "from tahr.api import nn as nn\n",
        "errors.py": "import traceback\n",
        "core/__init__.py": "",
        "core/graph.py": "import numpy as np\nfrom tahr import errors\nfrom tahr.core import shapes\n",
        "core/shapes.py": "from ..errors import OpError\n",
        "ops/__init__.py": "",
        "ops/nn.py": "from . import elementwise\nfrom ..core.graph import Graph\n",
        "ops/elementwise.py": "import tahr.core.graph\n",
        "variables.py": "from tahr.ops import nn\n",
        "training/__init__.py": "from tahr.variables import Variable\n",
        "layers/__init__.py": "from .. import variables\n",
        "api/__init__.py": "",
        "api/nn.py": "from tahr.ops.nn import relu as relu\n",
        "cli.py": "import tahr as tf\ndef plot():\n    import matplotlib.pyplot as plt\n",
    }
    package = directory / "tahr"
    for name, text in {**sound, **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def test_a_sound_package_has_no_complaints(tmp_path: Path) -> None:
    assert not list(complaints(fake_package(tmp_path, {})))


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        pytest.param("core/x.py", "from tahr.ops import nn", "ops does not lie below core", id="upward"),
        pytest.param("core/x.py", "import tahr.ops.nn", "ops does not lie below core", id="upward-plain"),
        pytest.param("core/x.py", "from ..ops.nn import relu", "ops does not lie below core", id="relative"),
        pytest.param("core/x.py", "from .. import ops", "ops does not lie below core", id="relative-bare"),
        pytest.param("core/x.py", "import tahr", "__init__ does not lie below core", id="root"),
        pytest.param("core/x.py", "from tahr import nn", "__init__ does not lie below core", id="root-name"),
        pytest.param("ops/__init__.py", "from .. import variables", "variables does not lie", id="package"),
        pytest.param("ops/a/b/c.py", "from .... import variables", "variables does not lie", id="deep"),
        pytest.param("layers/x.py", "import tahr.training", "training does not lie below", id="sibling"),
        pytest.param("__init__.py", "from tahr import cli", "cli does not lie below __init__", id="cli"),
        pytest.param(
            "core/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tahr.ops import nn",
            "core/x.py:3: imports tahr.ops.nn",
            id="for-types-only",
        ),
        pytest.param(
            "core/x.py",
            "class A:\n    def f(self):\n        from tahr import errors",
            "core/x.py:3: imports tahr.errors inside a function",
            id="in-a-method",
        ),
        pytest.param("core/x.py", "async def f():\n    import re", "re inside a function", id="in-async"),
        pytest.param("core/x.py", "import tensorflow as tf", "not a dependency", id="tensorflow"),
        pytest.param("core/x.py", "def f():\n    import torch", "not a dependency", id="torch"),
        pytest.param("core/x.py", "from jax import numpy", "not a dependency", id="jax"),
        pytest.param("cli.py", "import matplotlib.pyplot", "which is optional, when", id="optional-at-top"),
        pytest.param("helpers.py", "", "tahr/helpers.py:1: has no place in LAYERS", id="unknown-module"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path: Path, file: str, text: str, expected: str) -> None:
    (found,) = complaints(fake_package(tmp_path, {file: text}))
    assert expected in found


def test_only_the_compiler_is_imported_late(tmp_path: Path) -> None:
    inside = "def f():\n    from tahr.backends{} import execute\n"
    files = {"backends/choice.py": inside.format(".native"), "backends/other.py": inside.format("")}
    found = list(complaints(fake_package(tmp_path, files)))
    assert found == ["tahr/backends/other.py:2: imports tahr.backends.execute inside a function"]


def test_importing_an_unknown_room_is_caught(tmp_path: Path) -> None:
    package = fake_package(tmp_path, {"helpers.py": "", "core/x.py": "import tahr.helpers"})
    assert list(complaints(package)) == [
        "tahr/core/x.py:1: imports tahr.helpers: tahr/helpers has no place in LAYERS",
        "tahr/helpers.py:1: has no place in LAYERS",
    ]


def test_import_prints_nothing_and_loads_no_optional_dependency() -> None:
    program = f"import sys, tahr; sys.exit(sorted({OPTIONAL_DEPENDENCIES} & set(sys.modules)) or None)"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
