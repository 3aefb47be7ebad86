"""The relay alone: two plain sockets with a link between them, and what a cut does to it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from capsize.cluster.orders import Agent

SHORT_S = 0.15


@pytest.fixture
def relay() -> Iterator[Agent]:
    child = subprocess.Popen(
        [sys.executable, "-m", "capsize.cluster.relay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    stdin = child.stdin

    def send(data: bytes) -> None:
        stdin.write(data)
        stdin.flush()

    try:
        yield Agent("relay", send, child.stdout)
    finally:
        child.stdin.close()
        child.wait(5.0)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5.0)
        yield listening


def link(relay: Agent, server: socket.socket) -> tuple[str, int]:
    target = list(server.getsockname())
    return "127.0.0.1", relay.order("open", frm="n1", to="n2", port="peer", target=target)["port"]


def connected(relay: Agent, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    caller = socket.create_connection(link(relay, server), timeout=5.0)
    callee, _ = server.accept()
    callee.settimeout(5.0)
    return caller, callee


def silent(end: socket.socket) -> bool:
    """Return whether nothing arrives, neither bytes nor the end of the connection, for a short while."""
    end.settimeout(SHORT_S)
    try:
        end.recv(100)
    except TimeoutError:
        return True
    finally:
        end.settimeout(5.0)
    return False


def test_bytes_pass_both_ways_and_the_end_is_passed_on(relay: Agent, server: socket.socket) -> None:
    caller, callee = connected(relay, server)
    caller.sendall(b"question")
    assert callee.recv(100) == b"question"
    callee.sendall(b"answer")
    assert caller.recv(100) == b"answer"
    caller.close()
    assert callee.recv(100) == b""


def test_connections_that_ended_leave_nothing_in_the_relay(relay: Agent, server: socket.socket) -> None:
    for first_to_go in (0, 1):
        for cut in (False, True):
            ends = connected(relay, server)
            ends[0].sendall(b"x")
            assert ends[1].recv(100) == b"x"
            if cut:
                relay.order("cut", to="n2", frm=["n1"])
            ends[first_to_go].close()
            ends[1 - first_to_go].close()
            relay.order("heal")
    deadline = time.monotonic() + 5.0
    while relay.order("ping")["ends_open"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert relay.order("ping")["ends_open"] == 0


def test_a_link_is_made_once(relay: Agent, server: socket.socket) -> None:
    assert link(relay, server) == link(relay, server)


def test_a_cut_flow_holds_its_bytes_and_the_other_flow_goes_on(relay: Agent, server: socket.socket) -> None:
    caller, callee = connected(relay, server)
    relay.order("cut", to="n2", frm=["n1"])
    caller.sendall(b"held")
    assert silent(callee)
    callee.sendall(b"passes")
    assert caller.recv(100) == b"passes"
    relay.order("heal")
    assert callee.recv(100) == b"held"


def test_bytes_held_for_long_arrive_whole_and_in_order(relay: Agent, server: socket.socket) -> None:
    caller, callee = connected(relay, server)
    relay.order("cut", to="n2", frm=["n1"])
    sent = bytes(range(256)) * 256
    caller.sendall(sent)
    assert silent(callee)
    relay.order("heal")
    got = b""
    while len(got) < len(sent):
        got += callee.recv(65536)
    assert got == sent


def test_the_end_of_a_node_is_not_learnt_through_a_cut(relay: Agent, server: socket.socket) -> None:
    caller, callee = connected(relay, server)
    relay.order("cut", to="n2", frm=["n1"])
    caller.close()
    assert silent(callee)
    relay.order("heal")
    assert callee.recv(100) == b""


def test_a_connection_opened_during_a_cut_waits_for_its_end(relay: Agent, server: socket.socket) -> None:
    for cut in ({"to": "n2", "frm": ["n1"]}, {"to": "n1", "frm": ["n2"]}):  # a handshake needs both ways
        relay.order("cut", **cut)
        with socket.create_connection(link(relay, server), timeout=5.0) as caller:
            caller.sendall(b"early")
            server.settimeout(SHORT_S)
            with pytest.raises(TimeoutError):
                server.accept()
            relay.order("heal")
            server.settimeout(5.0)
            callee, _ = server.accept()
            callee.settimeout(5.0)
            assert callee.recv(100) == b"early"


def test_a_cut_replaces_the_set_before_and_leaves_other_receivers_alone(relay: Agent, server: socket.socket) -> None:
    caller, callee = connected(relay, server)
    relay.order("cut", to="n2", frm=["n1"])
    relay.order("cut", to="n3", frm=["n1"])
    caller.sendall(b"x")
    assert silent(callee)
    relay.order("cut", to="n2", frm=["n3"])
    assert callee.recv(100) == b"x"


def test_a_link_to_a_port_where_nobody_listens_ends_the_connection(relay: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        target = list(gone.getsockname())
    port = relay.order("open", frm="n1", to="n2", port="peer", target=target)["port"]
    caller = socket.create_connection(("127.0.0.1", port), timeout=5.0)
    with caller, contextlib.suppress(ConnectionResetError):
        assert caller.recv(100) == b""


def test_single_packets_are_dropped_by_a_cut_and_not_held(relay: Agent) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hears,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as says,
    ):
        hears.bind(("127.0.0.1", 0))
        hears.settimeout(5.0)
        way = relay.order("open_datagrams", frm="n1", to="n2", target=list(hears.getsockname()))["port"]
        relay.order("cut", to="n2", frm=["n1"])
        says.sendto(b"dropped", ("127.0.0.1", way))
        relay.order("ping")
        relay.order("ping")
        relay.order("heal")
        says.sendto(b"passes", ("127.0.0.1", way))
        assert hears.recv(100) == b"passes"


def test_a_shaped_stream_is_late_and_keeps_its_bytes_and_their_order(relay: Agent, server: socket.socket) -> None:
    caller, callee = connected(relay, server)
    relay.order("shape", to="n2", shapes={"n1": {"delay_ms": 100, "jitter_ms": 50, "loss": 0.2}}, seed=1)
    sent = b"".join(b"%06d" % number for number in range(5000))
    began = time.monotonic()
    for at in range(0, len(sent), 1000):
        caller.sendall(sent[at : at + 1000])
    caller.close()
    got = b""
    while part := callee.recv(65536):
        got += part
    assert got == sent
    assert time.monotonic() - began > 0.05


def test_a_cut_holds_what_is_under_way_in_a_shaped_stream(relay: Agent, server: socket.socket) -> None:
    caller, callee = connected(relay, server)
    relay.order("shape", to="n2", shapes={"n1": {"delay_ms": 80}}, seed=1)
    caller.sendall(b"slow")
    relay.order("cut", to="n2", frm=["n1"])
    assert silent(callee)
    relay.order("heal")
    assert callee.recv(100) == b"slow"


def test_a_slow_line_takes_as_long_as_its_rate_says(relay: Agent, server: socket.socket) -> None:
    caller, callee = connected(relay, server)
    relay.order("shape", to="n2", shapes={"n1": {"rate_kbit": 800}}, seed=1)  # 100,000 bytes a second
    began = time.monotonic()
    caller.sendall(bytes(20_000))
    caller.close()
    while callee.recv(65536):
        pass
    assert 0.19 < time.monotonic() - began < 5.0


def test_an_unknown_order_is_refused_and_the_relay_goes_on(relay: Agent) -> None:
    with pytest.raises(Exception, match=r"relay: .*do_dance"):
        relay.order("dance")
    assert "passed_bytes" in relay.order("ping")
