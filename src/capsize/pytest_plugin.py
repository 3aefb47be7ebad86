"""The pytest plugin: a real cluster as a fixture, its history judged when the test ends (docs/pytest.md).

pytest loads this module wherever capsize is installed, so it imports nothing of capsize until a test asks for a
cluster, and its fixtures give way to fixtures of the same names that another plugin brings.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from capsize.config import RunConfig, Ssh
    from capsize.scenario import Asker, Hand, Record, Scenario
    from capsize.verdict import Verdict

MARKER = "capsize"
SETTINGS = {
    "system": "what is tested: a word of `capsize list systems`, module:Class, or file.toml",
    "nodes": "how many nodes; 3",
    "backend": "auto, docker, local or ssh",
    "faults": "what nemesis.follow() draws from: words, comma-separated or as a list",
    "workload": "what cluster.load() asks, and what judges the history; register",
    "options": "options of the system's adapter: a dict",
    "seed": "everything drawn comes from it; random",
    "concurrency": "clients of cluster.load() on each node; 2",
    "rate": "operations per second of cluster.load(); 200",
    "timeout": "seconds a client waits for one answer; 2",
    "recovery_timeout": "seconds to serve again after healing; 30",
    "unknown": "what an unknown verdict makes of the test: fail, or pass",
}
SEED_BELOW = 1_000_000

SCENARIO: pytest.StashKey[Scenario] = pytest.StashKey()
KEPT: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()


# -- options, marker -----------------------------------------------------------------------------------------------
def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("capsize", "capsize: real clusters under faults")
    group.addoption("--capsize-system", metavar="SYSTEM", help="system under test, where a test's marker names none")
    group.addoption("--capsize-backend", metavar="PLACE", help="auto, docker, local or ssh, for every test")
    group.addoption("--capsize-store", metavar="DIR", help="where every test's run is kept (store)")
    group.addoption("--capsize-seed", metavar="N", type=int, help="repeat with this seed (random)")
    group.addoption("--capsize-nodes-file", metavar="FILE", help="ssh: the hosts, one [user@]host[:port] a line")
    group.addoption(
        "--capsize-ssh", metavar="OPTIONS", default="",
        help="ssh: how to reach them: 'user=root,key=FILE,known-hosts=FILE,port=22,sudo,any-host-key'",
    )  # fmt: skip
    parser.addini("capsize_system", "system under test, where a test's marker names none")
    parser.addini("capsize_backend", "auto, docker, local or ssh, where a test's marker names none")
    parser.addini("capsize_store", "where every test's run is kept (store)")


def pytest_configure(config: pytest.Config) -> None:
    told = "; ".join(f"{name}: {says}" for name, says in SETTINGS.items())
    config.addinivalue_line("markers", f"{MARKER}(system=…, nodes=…, …): a test on a real cluster. {told}")


# -- fixtures ------------------------------------------------------------------------------------------------------
@pytest.fixture
def capsize_cluster(request: pytest.FixtureRequest) -> Generator[Scenario, None, None]:
    """A running cluster of the system under test; everything asked of it is recorded and judged at the test's end."""
    from capsize.errors import CapsizeError
    from capsize.scenario import Scenario

    kept = ""
    try:
        config = _config(request)
        scenario = Scenario(config, _store(request.config), repeat=_repeat(request, config))
        kept = f"\n  kept in {scenario.folder}"
        scenario.open()
    except CapsizeError as error:
        raise pytest.fail.Exception(f"{_told(error)}{kept}", pytrace=False) from None
    request.node.stash[SCENARIO] = scenario
    try:
        yield scenario
    finally:
        del request.node.stash[SCENARIO]
        with _undisturbed():
            scenario.close()


@pytest.fixture
def capsize_client(capsize_cluster: Scenario) -> Asker:
    """One client, pinned to the first node; `cluster.client(node)` makes more."""
    return capsize_cluster.client()


@pytest.fixture
def capsize_nemesis(capsize_cluster: Scenario) -> Hand:
    """What hurts the cluster: `with nemesis("kill-leader"): …`."""
    return capsize_cluster.nemesis


@pytest.fixture
def capsize_history(capsize_cluster: Scenario) -> Record:
    """What was recorded so far."""
    return capsize_cluster.history


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Scenario:
    """A running cluster of the system under test (docs/pytest.md)."""
    return cast("Scenario", _ours_or_theirs(request, "cluster"))


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Asker:
    """One recorded client of the cluster, pinned to its first node."""
    return cast("Asker", _ours_or_theirs(request, "client"))


@pytest.fixture
def nemesis(request: pytest.FixtureRequest) -> Hand:
    """What hurts the cluster: `with nemesis("kill-leader"): …`."""
    return cast("Hand", _ours_or_theirs(request, "nemesis"))


@pytest.fixture
def history(request: pytest.FixtureRequest) -> Record:
    """What was recorded of this test so far."""
    return cast("Record", _ours_or_theirs(request, "history"))


def _ours_or_theirs(request: pytest.FixtureRequest, name: str) -> object:
    """Return our fixture for a test that is ours; for any other what another plugin calls by this name."""
    if _is_ours(request):
        return request.getfixturevalue(f"capsize_{name}")
    try:
        return request.getfixturevalue(name)  # the one that ours hides, if there is one
    except pytest.FixtureLookupError:
        raise pytest.fail.Exception(
            f"the fixture {name!r} of capsize needs to know what to test: mark the test with "
            "@pytest.mark.capsize(system='my_module:MyRaft'), or set capsize_system in the ini file",
            pytrace=False,
        ) from None


def _is_ours(request: pytest.FixtureRequest) -> bool:
    marked = request.node.get_closest_marker(MARKER) is not None
    return marked or bool(request.config.getoption("capsize_system") or request.config.getini("capsize_system"))


# -- the judgement -------------------------------------------------------------------------------------------------
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Judge the history when the test's own body has ended, well or badly, while its cluster still runs."""
    try:
        result = yield
    except BaseException as error:
        scenario = item.stash.get(SCENARIO, None)
        if scenario is None:
            raise
        if isinstance(error, KeyboardInterrupt | pytest.exit.Exception):
            _keep(item, scenario, "not judged")  # its history is on disk: capsize check judges it
            raise
        _, text = _judged(item, scenario)
        item.add_report_section("call", "capsize verdict", text)
        from capsize.errors import CapsizeError

        if isinstance(error, CapsizeError):
            raise pytest.fail.Exception(f"{_line_in(item, error)}{_told(error)}", pytrace=False) from None
        raise
    scenario = item.stash.get(SCENARIO, None)
    if scenario is None:
        return result
    verdict, text = _judged(item, scenario)
    passes = _settings(item).get("unknown") == "pass"
    if verdict is None or verdict.valid is False or (verdict.valid == "unknown" and scenario.asked and not passes):
        pytest.fail(text, pytrace=False)
    return result


def _judged(item: pytest.Item, scenario: Scenario) -> tuple[Verdict | None, str]:
    """Bring the test's run to its end and return the verdict with its explanation; None when it could not be judged."""
    from capsize.errors import CapsizeError
    from capsize.report.text import render

    where = f"kept in {scenario.folder}"
    try:
        verdict = scenario.finish()
    except CapsizeError as error:
        text = f"{_told(error)}\n  {where}"
        _keep(item, scenario, "not judged")
        return None, text
    text = render(
        verdict, workload=item.name, seed=scenario.config.seed, report=scenario.report, repeat=scenario.facts["repeat"]
    )
    _keep(item, scenario, text.split(maxsplit=1)[0])
    text = f"{text}\n  {where}"
    item.add_report_section("call", "capsize", "\n".join(scenario.says))
    return verdict, text


def _keep(item: pytest.Item, scenario: Scenario, word: str) -> None:
    item.user_properties.append(("capsize_verdict", word))
    item.user_properties.append(("capsize_store", str(scenario.folder)))
    item.config.stash.setdefault(KEPT, []).append((f"{word:<8} {item.nodeid}", str(scenario.folder)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where each test's run is kept: also those that passed are evidence."""
    kept = config.stash.get(KEPT, [])
    if kept:
        terminalreporter.section("capsize")
        for told, folder in kept:
            terminalreporter.line(f"{told}  {folder}")


@contextlib.contextmanager
def _undisturbed() -> Generator[None, None, None]:
    """Ignore Ctrl-C while a cluster is taken away, which is bounded: half a clean-up helps nobody."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# -- from marker, command line and ini file to a config ------------------------------------------------------------
def _settings(item: pytest.Item) -> dict[str, Any]:
    """Return what the markers say, the closest last."""
    from capsize.errors import UsageError, no_such

    told: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers(MARKER))):
        if marker.args:
            raise UsageError(f"@pytest.mark.capsize takes only named settings, e.g. system={marker.args[0]!r}")
        for name in marker.kwargs:
            if name not in SETTINGS:
                raise no_such("setting of @pytest.mark.capsize", name, SETTINGS)
        told |= marker.kwargs
    if told.get("unknown", "fail") not in ("fail", "pass"):
        raise UsageError(f"@pytest.mark.capsize(unknown={told['unknown']!r}): expected 'fail' or 'pass'")
    return told


def _config(request: pytest.FixtureRequest) -> RunConfig:
    """Return the config of a test's run; raises UsageError for what cannot be."""
    import re
    import secrets

    from capsize.config import RunConfig
    from capsize.errors import UsageError
    from capsize.nemesis.kinds import choose

    told, options = _settings(request.node), request.config
    system = told.get("system") or options.getoption("capsize_system") or options.getini("capsize_system")
    if not system:
        raise UsageError("no system to test: @pytest.mark.capsize(system='my_module:MyRaft')")
    backend = options.getoption("capsize_backend") or told.get("backend") or options.getini("capsize_backend") or "auto"
    seed = options.getoption("capsize_seed")
    seed = told.get("seed", secrets.randbelow(SEED_BELOW)) if seed is None else seed
    faults = told.get("faults", ())
    words = [word.strip() for word in faults.split(",")] if isinstance(faults, str) else [str(word) for word in faults]
    ssh = _ssh(options)
    try:
        return RunConfig(
            seed=int(seed), system=str(system), backend="auto" if ssh.nodes_file and backend == "ssh" else str(backend),
            workload=str(told.get("workload", "register")), nodes=int(told.get("nodes", 3)),
            faults=tuple(kind.word for kind in choose(words or ["none"])),
            options={str(name): str(value) for name, value in dict(told.get("options", {})).items()},
            name=re.sub(r"[^A-Za-z0-9._-]+", "-", request.node.name).strip("-._")[:100] or "test",
            concurrency=int(told.get("concurrency", 2)), rate=float(told.get("rate", 200.0)),
            timeout_s=float(told.get("timeout", 2.0)), recovery_timeout_s=float(told.get("recovery_timeout", 30.0)),
            ssh=ssh if backend in ("auto", "ssh") else type(ssh)(),
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise UsageError(f"@pytest.mark.capsize: {error}") from error


def _ssh(options: pytest.Config) -> Ssh:
    """Return what --capsize-nodes-file and --capsize-ssh say."""
    from capsize.config import Ssh
    from capsize.errors import UsageError, no_such

    told: dict[str, Any] = {"nodes_file": options.getoption("capsize_nodes_file") or ""}
    for pair in filter(None, (pair.strip() for pair in str(options.getoption("capsize_ssh")).split(","))):
        name, _, value = pair.partition("=")
        field = name.replace("-", "_")
        if field not in ("user", "port", "key", "known_hosts", "sudo", "any_host_key"):
            raise no_such("way to reach hosts", name, ["user", "port", "key", "known-hosts", "sudo", "any-host-key"])
        if field == "port" and not value.isdigit():
            raise UsageError(f"--capsize-ssh: port is {value!r}; expected a number")
        told[field] = int(value) if field == "port" else True if field in ("sudo", "any_host_key") else value
    return Ssh(**told)


def _store(config: pytest.Config) -> Path:
    """Return where runs are kept: relative to where pytest was started, or to the ini file that says so."""
    here = Path(config.invocation_params.dir)
    if given := str(config.getoption("capsize_store") or ""):
        return here / given
    if written := str(config.getini("capsize_store") or ""):
        return Path(config.rootpath) / written
    return (here if config.inipath is None else Path(config.rootpath)) / "store"


def _repeat(request: pytest.FixtureRequest, config: RunConfig) -> str:
    """Return the command that repeats this test alone."""
    import os
    import shlex

    path = os.path.relpath(request.node.path, request.config.invocation_params.dir)
    test = "::".join([path, *request.node.nodeid.split("::")[1:]])
    words = ["pytest", test, "--capsize-seed", str(config.seed)]
    for name in ("system", "backend", "nodes-file", "ssh"):
        value = request.config.getoption("capsize_" + name.replace("-", "_"))
        words += [f"--capsize-{name}", str(value)] if value else []
    return shlex.join(words)


def _line_in(item: pytest.Item, error: BaseException) -> str:
    """Return the line of the test in which it was raised, as "test_raft.py:12: "."""
    found, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(item.path):
            found = f"{item.path.name}:{trace.tb_lineno}: "
        trace = trace.tb_next
    return found


def _told(error: BaseException) -> str:
    return f"capsize: {' '.join(str(error).split())}"
