"""Hot loops that run as they are written, or compiled by Numba, from the same source.

A `Kernel` is a plain function over flat arrays. Uncompiled it is called with lists (three times faster to index
than arrays); compiled, with the arrays themselves. Numba is imported only when a kernel is first compiled, and
what it makes is kept on disk beside the source (or in Numba's own cache directory where that cannot be written).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

_lock = threading.RLock()


class Kernel:
    """A function over flat arrays, and the helper functions of the same module that it calls.

    The helpers are looked up in the module at each uncompiled call, so that a test can replace one and see the
    engine go wrong.
    """

    def __init__(self, function: Callable[..., Any], helpers: tuple[str, ...] = ()) -> None:
        self.function = function
        self.helpers = helpers
        self._compiled: Callable[..., Any] | None = None

    @property
    def is_compiled(self) -> bool:
        """True once this process holds the compiled form."""
        return self._compiled is not None

    def compile(self) -> Callable[..., Any]:
        """Return the compiled form, made now if need be."""
        with _lock:
            if self._compiled is None:
                self._compiled = _compile(self.function, self.helpers)
            return self._compiled

    def __call__(self, compiled: bool, *arguments: Any) -> Any:
        """Run; arrays given are written to in place, whichever form runs."""
        if compiled:
            return self.compile()(*arguments)
        lists = [item.tolist() if isinstance(item, np.ndarray) else item for item in arguments]
        answer = self.function(*lists)
        for array, values in zip(arguments, lists, strict=True):
            if isinstance(array, np.ndarray) and array.flags.writeable:
                array[...] = values
        return answer


def worth_compiling(kernel: Kernel, size: int, least: int) -> bool:
    """Whether to run compiled: where the work is worth loading it, or it is loaded anyway."""
    return compilation_allowed() and (size >= least or kernel.is_compiled)


def compilation_allowed() -> bool:
    """False where CAPSIZE_COMPILE=0 asks for plain Python throughout."""
    return os.environ.get("CAPSIZE_COMPILE", "1") != "0"


def sealed(array: np.ndarray) -> np.ndarray:
    """Return a contiguous, read-only view, so that a kernel sees one type whatever the array came from."""
    view = np.ascontiguousarray(array)[:]
    view.flags.writeable = False
    return view


def _compile(function: Callable[..., Any], helpers: tuple[str, ...]) -> Callable[..., Any]:
    import numba

    assert isinstance(function, FunctionType)
    scope = dict(function.__globals__)
    for name in helpers:
        # Bound in order: a helper may call those before it.
        scope[name] = numba.njit(cache=True, nogil=True, forceinline=True)(_with_globals(scope[name], scope))
    compiled: Callable[..., Any] = numba.njit(cache=True, nogil=True)(_with_globals(function, scope))
    return compiled


def _with_globals(function: Any, scope: dict[str, Any]) -> FunctionType:
    copy = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    return copy
