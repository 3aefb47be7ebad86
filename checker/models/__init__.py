"""The models: what a linearizable object of each kind may answer. `MODELS` finds one by its name."""

from __future__ import annotations

from typing import Any

from capsize.checker.models.containers import AppendOnlyList, Counter, Queue, Set
from capsize.checker.models.locks import FencedLock, Mutex
from capsize.checker.models.maps import KeyValue
from capsize.checker.models.model import Inconsistent, Model, Whole
from capsize.checker.models.nondeterministic import NondeterministicModel, PowerSet
from capsize.checker.models.registers import CasRegister, MultiRegister, Register
from capsize.errors import no_such
from capsize.history import History

__all__ = [
    "MODELS",
    "AppendOnlyList",
    "CasRegister",
    "Counter",
    "FencedLock",
    "Inconsistent",
    "KeyValue",
    "Model",
    "MultiRegister",
    "Mutex",
    "NondeterministicModel",
    "PowerSet",
    "Queue",
    "Register",
    "Set",
    "Whole",
    "infer_model",
    "model_named",
]

MODELS: dict[str, type[Model[Any]]] = {
    model.name: model
    for model in (
        Register,
        CasRegister,
        KeyValue,
        MultiRegister,
        Set,
        Counter,
        Queue,
        Mutex,
        FencedLock,
        AppendOnlyList,
    )
}
"""Every model that capsize brings, by name, simpler ones before their extensions."""


def model_named(name: str) -> Model[Any]:
    """Return the model of that name. Raises UsageError with the nearest known name."""
    if name not in MODELS:
        raise no_such("model", name, MODELS, flag="--model", listing="models")
    return MODELS[name]()


def infer_model(history: History) -> str | None:
    """Return the name of the simplest model that knows all f words of `history`, or None if none does.

    Where the words fit two models, the answers decide: a counter reads numbers, a set arrays; a fenced lock grants
    numbers, a mutex nothing.
    """
    words = {history.words[code] for code in set(history.columns.f.tolist())}
    if not words:
        return None
    name = next((name for name, model in MODELS.items() if words <= model.words), None)
    if name == "set" and words <= Counter.words and _answers_numbers(history, "read"):
        return Counter.name
    if name == "mutex" and _answers_numbers(history, "acquire"):
        return FencedLock.name
    return name


def _answers_numbers(history: History, word: str) -> bool:
    answers = history.with_f(word).columns
    codes = set(answers.result[answers.outcome == 0].tolist())
    return any(type(history.table[code]) is int for code in codes)
