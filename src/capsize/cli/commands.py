"""The table of commands, and what a mistyped one is answered."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import re
from functools import cache
from typing import Any

import typer

from capsize.cli.campaign import campaign
from capsize.cli.listing import list_words
from capsize.cli.run import run

_CLICK_ERROR: Any = typer.BadParameter.__mro__[2]
"""click's base of errors, wherever this version of typer keeps click."""
Left = typer.Exit
"""Raised where the parser itself has answered (`--help`, `--version`)."""


@cache
def command_line() -> Any:
    """Return the whole command line. Commands import what they need when they are carried out."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Try to capsize your Raft: real nodes, real faults, and a verdict with its reasons.",
        epilog="Exit codes: 0 valid, 1 invalid, 2 unknown, 254 usage, 255 could not run.",
    )
    app.callback()(_capsize)
    app.command("run")(run)
    app.command("campaign")(campaign)
    app.command("list")(list_words)
    for name in ("check", "replay", "cleanup", "doctor", "mutants", "simulate", "trace", "serve"):
        with contextlib.suppress(ModuleNotFoundError):
            app.command(name)(getattr(importlib.import_module(f"capsize.cli.{name}"), name))
    return typer.main.get_command(app)


def usage_problem(error: Exception) -> str | None:
    """Return one line for an error of the command line's parser; None for any other error."""
    if not isinstance(error, _CLICK_ERROR):
        return None
    told: Any = error
    context: Any = getattr(told, "ctx", None)
    path = "capsize" if context is None else context.command_path
    option = getattr(told, "option_name", None)
    if option and context is not None and "such option" in str(told.message).lower():
        known = [name for param in context.command.params for name in (*param.opts, *param.secondary_opts)]
        near = difflib.get_close_matches(option, [*known, "--help"], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "see the list of options"
        return f"{option}: there is no such option; {hint} ({path} --help)"
    own = _own_words(told)
    if own:
        return f"{own} ({path} --help)"
    return f"{str(told.format_message()).rstrip('.')} ({path} --help)"


def _own_words(told: Any) -> str:
    """Return in our words that a value is no number, or too small; empty for any other error.

    typer says it in click's words, or in pydantic's, depending on its version.
    """
    param, said = getattr(told, "param", None), str(told.message)
    kind = re.search(r"valid (integer|number|float)", said)
    bound = re.search(r"(greater|less) than or equal to (\d+)", said)
    if param is None or not (kind or bound):
        return ""
    errors: Any = getattr(told.__cause__, "errors", None)
    told_by: list[Any] = list(errors()) if callable(errors) else []  # pyright: ignore[reportArgumentType]
    value = told_by[0].get("input") if told_by else said.split(" is not ")[0].strip("'")
    flag = max(param.opts, key=len)
    if kind:
        return f"{flag}: {value!r} is no {'whole number' if kind[1] == 'integer' else 'number'}"
    assert bound is not None
    return f"{flag}: {value} is out of range; expected {bound[2]} or {'more' if bound[1] == 'greater' else 'less'}"


def _version(wanted: bool) -> None:
    if wanted:
        from capsize import __version__

        typer.echo(f"capsize {__version__}")
        raise typer.Exit


def _capsize(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    del version
