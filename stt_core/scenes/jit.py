"""One decorator for all compiled functions of the scene generator."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba  # type: ignore[import-untyped, unused-ignore]  # numba ships no type information

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with numba: cached on disk, without the GIL, dividing by zero as numpy does.

    A trap: numba renews a function's cache when its own file changes, not when a function it calls
    in another file does. After editing a module here, remove ``stt_core/scenes/__pycache__``.
    """
    compile_it = numba.njit(cache=True, nogil=True, error_model="numpy")
    return cast(Callable[P, R], compile_it(function))
