"""Names of a module that are loaded when they are first used, by PEP 562's `__getattr__` and `__dir__` of modules."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tahr.core.boundary import boundary


def add_names(package: str, places: Mapping[str, str]) -> None:
    """Gives a module names that it imports on first use; until then `dir` and `import *` know them.

    Args:
        package: the name of the module, all whose other names are there.
        places: for each place the names that are there: `{"tahr.api": "nn train"}` stands for
            `from tahr.api import nn, train`.
    """
    module = sys.modules[package]
    place_of = {name: place for place, names in places.items() for name in names.split()}

    @boundary
    def __getattr__(name: str) -> Any:
        """What Python calls for a name that the module does not have."""
        if name not in place_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=module)
        # What `from place import name` means. It becomes an ordinary name, so that this happens once.
        value = getattr(__import__(place_of[name], fromlist=[name]), name)
        setattr(module, name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(module), *place_of})

    vars(module).update(
        __getattr__=__getattr__,
        __dir__=__dir__,
        __all__=[name for name in __dir__() if not name.startswith("_")],
    )
