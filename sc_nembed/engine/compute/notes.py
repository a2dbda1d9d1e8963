"""What a user should know, said as a warning that points at the user's own line."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

PACKAGE = str(Path(__file__).parents[2])
BETWEEN = ("sklearn", "legacy_api_wrap")  # packages that wrap our functions and methods


def note(message: str) -> None:
    """Warn, wherever in the package this is called from, with the line outside of it that called the package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level + 1)


def _is_inside(file: str) -> bool:
    return file.startswith(PACKAGE) or any(f"/{name}/" in file.replace("\\", "/") for name in BETWEEN)
