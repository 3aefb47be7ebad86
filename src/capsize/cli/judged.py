"""One history, found, read and judged for `capsize check`; an error in it stays its own."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsize.errors import CapsizeError, UsageError

if TYPE_CHECKING:
    from capsize.checker.budget import Budget
    from capsize.checker.models import Model
    from capsize.history import History
    from capsize.verdict import Verdict

SUFFIXES = frozenset({".jsonl", ".edn", ".log", ".txt"})
"""What is looked at in a folder; a file that is named is always looked at."""

ANOMALIES_SHOWN = 5
REASONS_SHOWN = 6
GRAVITY = (1, 255, 254, 2, 0)
"""Exit codes, the gravest first."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one path: a verdict, or an error; `seconds` are those of reading and of judging.

    `history` and `named`, the model's name on the command line, are kept for the report of a file; `report` is where
    that is.
    """

    path: Path
    verdict: Verdict | None = None
    error: str = ""
    exit_code: int = 255
    model: str = ""
    operations: int = 0
    keys: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)
    history: History | None = None
    named: str = ""
    report: Path | None = None

    @property
    def word(self) -> str:
        """VALID, INVALID, UNKNOWN or ERROR."""
        if self.verdict is None:
            return "ERROR"
        return {0: "VALID", 1: "INVALID"}.get(self.exit_code, "UNKNOWN")

    def lines(self) -> list[str]:
        """Return the summary line, and the reasons below it."""
        if self.verdict is None:
            return [f"{self.word:<8} {self.path}"]
        engines = self.verdict.figures.get("engines", {})
        keys = f"{self.keys:,} key{'' if self.keys == 1 else 's'}"
        parts = [
            str(self.path), self.model, f"{self.operations:,} operations on {keys}", "+".join(engines),
            f"read {self.seconds[0]:.2f} s, judged {self.seconds[1]:.2f} s",
        ]  # fmt: skip
        lines = [f"{self.word:<8} {' · '.join(part for part in parts if part)}"]
        for anomaly in self.verdict.anomalies[:ANOMALIES_SHOWN]:
            key = "" if anomaly.key is None else f"  key {_plain(anomaly.key)}"
            first, *more = anomaly.because or ("",)
            lines.append(f"  {anomaly.name}{key}: {first}")
            lines += [f"      {reason}" for reason in more]
        if len(self.verdict.anomalies) > ANOMALIES_SHOWN:
            lines.append(f"  … and {len(self.verdict.anomalies) - ANOMALIES_SHOWN} more (--json has all)")
        for axis, finding in self.verdict.axes.items():
            if finding.valid == "unknown" or (finding.valid is False and not self.verdict.anomalies):
                lines += [f"  {axis}: {reason}" for reason in finding.because[:REASONS_SHOWN]]
                if len(finding.because) > REASONS_SHOWN:
                    lines.append(
                        f"  {axis}: … and {len(finding.because) - REASONS_SHOWN} more reasons (--json has all)"
                    )
        if self.report is not None:
            lines.append(f"  report  {self.report}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the same for programs."""
        data: dict[str, Any] = {"file": str(self.path), "exit_code": self.exit_code}
        if self.error:
            return data | {"error": self.error}
        assert self.verdict is not None
        figures = {"model": self.model, "operations": self.operations, "keys": self.keys}
        if self.report is not None:
            figures["report"] = str(self.report)
        return data | figures | {"verdict": self.verdict.to_json()}


def _plain(key: Any) -> str:
    from capsize.checker.models.model import plain

    return plain(key)


def histories_in(path: Path) -> list[Path]:
    """Return `path`, or the histories and the runs below it when it is a folder. Raises UsageError if there is none."""
    if not path.is_dir() or _is_run(path):
        return [path]
    found: list[Path] = []
    for folder, inner, files in _walk(path):
        inner[:] = sorted(name for name in inner if not (folder / name).is_symlink())
        runs = [name for name in inner if _is_run(folder / name)]
        found += [folder / name for name in runs]
        inner[:] = [name for name in inner if name not in runs]
        found += [folder / name for name in sorted(files) if Path(name).suffix in SUFFIXES]
    if not found:
        kinds = ", ".join(sorted(SUFFIXES))
        raise UsageError(f"{path}: no history in this folder; expected files that end in {kinds}, or runs")
    return found


def judge_one(
    path: Path, *, model: str, format: str, budget: Budget | None, progress: Progress | None = None
) -> Judged:
    """Judge one file or run; what is wrong with it is in the answer, not raised."""
    try:
        if not path.exists():
            raise UsageError(f"{path}: there is no such file or folder")
        return _judge_run(path, budget) if path.is_dir() else _judge_file(path, model, format, budget, progress)
    except CapsizeError as error:
        line = " ".join(str(error).split())
        return Judged(path, error=line, exit_code=error.exit_code)
    except Exception as error:  # around a checker: one that breaks has judged nothing, and the other files wait
        traceback.print_exc()
        return Judged(path, error=f"{path}: the checker broke: {type(error).__name__}: {error}")


def gravest_code(codes: Sequence[int]) -> int:
    """Return the gravest exit code: 1 before errors before 2 before 0.

    >>> gravest_code([0, 2]), gravest_code([255, 1]), gravest_code([2, 255, 0])
    (2, 1, 255)
    """
    return min(codes, key=GRAVITY.index, default=2)


def chosen_model(word: str) -> Model[Any]:
    """Return the model of that name, or of `module:Class`. Raises UsageError, or AdapterError for a broken module."""
    from capsize.checker.models import Model, NondeterministicModel, model_named

    if ":" not in word:
        return model_named(word)
    from capsize.registry import load_class

    made = load_class(word, flag="--model", what="model")()
    if isinstance(made, NondeterministicModel):
        return made.to_model()
    if isinstance(made, Model):
        return made
    raise UsageError(f"--model: {word} is no Model and no NondeterministicModel (docs/models.md)")


def _judge_file(path: Path, model: str, format: str, budget: Budget | None, progress: Progress | None) -> Judged:
    from capsize.checker.linearizability import check_linearizable
    from capsize.checker.models import infer_model
    from capsize.formats import read_history

    began = time.perf_counter()
    history = read_history(path, format or None)
    read = time.perf_counter()
    name = model or infer_model(history)
    if name is None:
        words = ", ".join(sorted({history.words[code] for code in set(history.columns.f.tolist())})) or "none"
        raise UsageError(f"{path}: no model has the operations {words}; name one with --model (capsize list models)")
    chosen = chosen_model(name)
    word, name = name, chosen.name or name
    if progress is not None:
        progress(0, len(history.split()))
    verdict = check_linearizable(history, chosen, budget=budget, progress=progress)
    verdict = _explained(verdict, history, chosen)
    verdict = _only_with_evidence(verdict, int((history.columns.outcome == 0).sum()))
    seconds = (read - began, time.perf_counter() - read)
    keys = len(history.split())
    return Judged(path, verdict, "", verdict.exit_code, name, len(history), keys, seconds, history, word)


def _explained(verdict: Verdict, history: History, model: Model[Any]) -> Verdict:
    """Return the verdict with its anomalies explained; as it is when that breaks."""
    if not verdict.anomalies:
        return verdict
    from capsize.checker.explain import explained

    try:
        return explained(verdict, history, model)
    except Exception:  # around a checker: what was found stands, explained or not
        traceback.print_exc()
        return verdict


def _judge_run(path: Path, budget: Budget | None) -> Judged:
    from capsize.judging import judge
    from capsize.store import read_json

    began = time.perf_counter()
    verdict = judge(path, budget=budget)
    workload = str(read_json(path / "run.json").get("config", {}).get("workload", ""))
    figures = verdict.figures.get("linearizability", {})
    operations, keys = int(figures.get("operations", 0)), int(figures.get("keys", 0))
    return Judged(path, verdict, "", verdict.exit_code, workload, operations, keys, (0.0, time.perf_counter() - began))


def _only_with_evidence(verdict: Verdict, succeeded: int) -> Verdict:
    """Return the verdict, unknown if no operation succeeded: green is evidence."""
    from dataclasses import replace

    from capsize.verdict import Axis, Finding

    if succeeded or verdict.valid is False:
        return verdict
    coverage = Finding("unknown", ("no operation succeeded: the history proves nothing",))
    return replace(verdict, axes={**verdict.axes, Axis.COVERAGE: coverage})


def _is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def _walk(path: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Path.walk, which Python 3.11 lacks; links are not followed."""
    import os

    for folder, inner, files in os.walk(path):
        yield Path(folder), inner, files
