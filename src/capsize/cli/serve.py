"""`capsize serve`: the store in a browser: all runs and campaigns, compared, followed while they go on."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from capsize.cli import options

HOST, PORT = "127.0.0.1", 8080


def serve(
    store: options.Store = options.STORE,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; only this machine when left out.")] = HOST,
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen on; 0 takes any free one.")] = PORT,
    quiet: options.Quiet = False,
) -> int:
    """Show the store in a browser.

    Runs, campaigns, reports, logs; read-only, on this machine alone. Ctrl-C ends it.
    """
    from capsize.errors import StoreError
    from capsize.report.serve.server import is_loopback, listen
    from capsize.report.serve.server import serve as carry_out

    if store.exists() and not store.is_dir():
        raise StoreError(f"{store}: a file stands where the store's folder is expected; name another with --store")
    made = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    with made:
        print(f"http://{shown}:{made.getsockname()[1]}/", flush=True)
        if not quiet:
            empty = "" if store.exists() else " (not there yet)"
            print(f"          serving {store.resolve()}{empty}, read-only; Ctrl-C ends it", file=sys.stderr, flush=True)
        if not is_loopback(host):
            print("warning   whoever reaches this machine can read the whole store", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            carry_out(store, made, host=host)
    return 0
