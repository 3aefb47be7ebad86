"""`python3 -m raft --config n1.json`: one node, until a signal or a broken disk ends it.

Exit codes: 0 stopped by a signal · 2 the configuration cannot be used · 3 the data directory cannot be used ·
4 the address cannot be listened on · 70 stopped by itself (the disk failed, or going on could only do harm).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import sys
from pathlib import Path

from .config import ConfigError, load_config
from .mutants import UnknownMutant
from .node import Node
from .segments import Corrupt
from .server import Unrecoverable


def main(argv: list[str] | None = None) -> int:
    """Run a node; return the exit code."""
    parser = argparse.ArgumentParser(prog="raft", description="One node of the reference Raft.")
    parser.add_argument("--config", required=True, type=Path, help="the node's configuration, a JSON file")
    parser.add_argument("--verbose", action="store_true", help="log more")
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        config = load_config(arguments.config)
        node = Node(config)
    except (ConfigError, UnknownMutant) as error:
        return _refuse(2, str(error))
    except (Corrupt, Unrecoverable) as error:
        return _refuse(3, str(error))
    except OSError as error:
        return _refuse(3, f"data_dir or trace: {error}")
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # nearly everything here is a tree; the log alone makes every full pass long
    try:
        why = asyncio.run(node.run())
    except OSError as error:
        host, port = config.listen
        return _refuse(4, f"cannot listen on {host}:{port}: {error.strerror or error}")
    return 0 if why is None else 70


def _refuse(code: int, why: str) -> int:
    print(f"raft: {why}", file=sys.stderr)  # noqa: T201 (the one line a person sees)
    return code


if __name__ == "__main__":
    sys.exit(main())
