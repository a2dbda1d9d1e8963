"""Names that are imported when they are first asked for (PEP 562), so that `import sc_nembed` stays light."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def attach(
    package: str, names: dict[str, str | None], extra: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names live in submodules.

    `names` maps each public name to the submodule that holds it, or to None where the name is itself a submodule.
    """
    public = sorted([*names, *extra])

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; available: {public}")
        module = importlib.import_module(f"{package}.{names[name] or name}")
        value = module if names[name] is None else vars(module)[name]
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__, lambda: public, public
