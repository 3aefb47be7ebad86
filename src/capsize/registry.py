"""Words and what they stand for: the systems that are installed, and tables of named things.

A system is found through the entry point group `capsize.systems`, or written as `module:Class`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

from capsize.errors import AdapterError, UsageError, no_such

SYSTEMS_GROUP = "capsize.systems"

T = TypeVar("T")


def lookup(kind: str, word: str, table: Mapping[str, T], *, flag: str = "", listing: str = "") -> T:
    """Return what `word` stands for; raises UsageError with the nearest known word."""
    if word not in table:
        raise no_such(kind, word, table, flag=flag, listing=listing)
    return table[word]


def system_words() -> dict[str, str]:
    """Return every installed system: word -> where its class is ("module:Class")."""
    return {point.name: point.value for point in sorted(entry_points(group=SYSTEMS_GROUP), key=lambda p: p.name)}


def load_system(word: str) -> Callable[..., object]:
    """Return the class of the system called `word`, or written as `module:Class` (also from the working directory).

    Raises UsageError for a word that stands for nothing, AdapterError for an adapter that cannot be imported.
    """
    words = system_words()
    if word not in words and ":" not in word:
        raise no_such("system", word, words, flag="--system", listing="systems")
    return load_class(words.get(word, word), flag="--system", what="adapter", here=word not in words)


def load_class(place: str, *, flag: str, what: str, here: bool = True) -> Callable[..., object]:
    """Return the class at `module:Class`, also from the working directory where `here` says so.

    Raises UsageError for a place that does not exist, AdapterError for a module that cannot be imported.
    """
    module_name, _, class_name = place.partition(":")
    if not module_name or not class_name:
        raise UsageError(f"{flag}: {place!r} names no class; expected module:Class, e.g. my_module:MyClass")
    folder = str(Path.cwd())
    if here and folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name or module_name.startswith(f"{error.name}."):
            raise UsageError(
                f"{flag}: no module is called {module_name!r}; is it installed, or in this folder?"
            ) from error
        raise AdapterError(f"the {what} {place} needs the module {error.name!r}, which is not installed") from error
    except Exception as error:  # anything a module does while it is imported is its own fault
        raise AdapterError(f"the {what} {place} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise UsageError(f"{flag}: {module_name} has no class {class_name!r}")
    return found
