"""What every place does to its nodes, the same orders and the same effects on each: tested on local and on docker."""

from __future__ import annotations

import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from capsize.cluster.cluster import Cluster
from capsize.cluster.node import Arrivals, Command, Node, Shape
from capsize.errors import BackendError, Refused

from .appender import ask, ask_through

STATIC = (
    b"\x7fELF\x02\x01\x01" + bytes(9)
    + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0) + struct.pack("<I", 1) + bytes(52)
)  # fmt: skip
"""The head of a program without a loader."""


def eventually(holds: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come true within {within_s} s"
        time.sleep(0.01)


def appended(node: Node) -> list[str]:
    return [line for line in ask(node.reach("peer"), "read").split(",") if line]


def restart(cluster: Cluster, node: Node) -> None:
    cluster.restart(node)
    eventually(lambda: bool(answers(node)), f"{node.name} answers")


def answers(node: Node) -> str:
    try:
        return ask(node.reach("peer"), "status")
    except OSError:
        return ""


# -- processes ---------------------------------------------------------------------------------------------------
def test_a_killed_process_is_gone_and_comes_back_with_its_data(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    ask(node.reach("peer"), "append kept")
    before = node.process()
    assert before.alive
    assert cluster.kill(node)
    after = node.process()
    assert (after.alive, after.pid, after.code) == (False, before.pid, -signal.SIGKILL)
    restart(cluster, node)
    assert node.process().pid != before.pid
    assert "kept" in appended(node)


def test_starting_a_running_process_keeps_it(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    assert cluster.restart(node) == node.process().pid


def test_a_stopped_process_is_seen_as_stopped_and_goes_on_when_healed(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    node.signal(signal.SIGSTOP)
    eventually(lambda: node.process().state == "T", "state T")
    assert node.process().alive
    cluster.heal()
    eventually(lambda: node.process().state in ("S", "R"), "running again")


def test_a_signal_to_a_process_that_has_ended_hits_nobody(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    cluster.kill(node)
    node.signal(signal.SIGKILL)
    assert not node.process().alive


# -- network -----------------------------------------------------------------------------------------------------
def test_a_cut_drops_packets_of_that_direction_only_and_clients_stay_connected(cluster: Cluster) -> None:
    one, two, three = cluster.nodes
    two.drop_from([one])
    assert two.blocked_from(one)
    assert not one.blocked_from(two)
    assert not two.blocked_from(three)
    assert ask_through(one, two, "status").startswith("error")
    assert ask_through(three, two, "status") == "follower 1"
    assert ask(two.reach("peer"), "status") == "follower 1"


def test_a_cut_set_replaces_the_one_before(cluster: Cluster) -> None:
    one, two, three = cluster.nodes
    two.drop_from([one])
    two.drop_from([three])
    assert not two.blocked_from(one)
    assert two.blocked_from(three)
    two.drop_from([])
    assert not two.blocked_from(three)


def test_a_healed_cut_lets_nodes_talk_again(cluster: Cluster) -> None:
    one, two, _ = cluster.nodes
    cluster.at_once(lambda node: node.drop_from([other for other in cluster.nodes if other is not node]))
    assert ask_through(one, two, "status").startswith("error")
    assert not cluster.heal()
    eventually(lambda: ask_through(one, two, "status") == "follower 1", "an answer after the heal")


def test_what_is_sent_over_a_severed_link_never_arrives(cluster: Cluster) -> None:
    one, two, _ = cluster.nodes
    two.drop_from([one])
    held = threading.Thread(target=lambda: swallow(lambda: ask_through(one, two, "append never")))
    held.start()  # over a link that is only cut this would arrive after the heal
    assert two.blocked_from(one)
    two.drop_from([one], severed=[one])
    held.join(10.0)
    two.drop_from([])
    eventually(lambda: ask_through(one, two, "status") == "follower 1", "an answer after the heal")
    assert "never" not in appended(two)


@pytest.mark.parametrize(
    ("shape", "shows"),
    [
        (Shape(delay_ms=40.0), lambda met: met.lost == 0 and min(met.delays_ms) >= 40.0),
        (Shape(delay_ms=30.0, jitter_ms=20.0), lambda met: max(met.delays_ms) - min(met.delays_ms) > 5.0),
        (Shape(loss=0.5), lambda met: 10 <= met.lost <= 40),
        (Shape(delay_ms=20.0, reorder=0.3), lambda met: met.overtaken > 5 and met.lost == 0),
        (Shape(corrupt=0.5), lambda met: met.lost + met.damaged > 3),
        (Shape(duplicate=0.5), lambda met: met.doubled > 5 and met.lost == 0),
        (Shape(rate_kbit=80.0), lambda met: met.lost == 0 and max(met.delays_ms) > 50.0),
    ],
    ids=["delay", "jitter", "loss", "reorder", "corrupt", "duplicate", "rate"],
)
def test_shaped_packets_show_it_on_that_link_only_and_heal(
    cluster: Cluster, shape: Shape, shows: Callable[[Arrivals], bool]
) -> None:
    one, two, three = cluster.nodes
    assert "shape" in cluster.backend.capabilities()
    two.shape_from([(one, shape)], seed=3)
    met = two.arrivals_from(one, wait_ms=700.0)
    assert shows(met), met
    other = two.arrivals_from(three, count=10, wait_ms=50.0)
    assert other.lost == 0
    assert min(other.delays_ms) < 20.0
    assert not cluster.heal()
    healed = two.arrivals_from(one, count=10, wait_ms=50.0)
    assert healed.lost == 0
    assert min(healed.delays_ms) < 20.0


def test_a_cut_and_a_shape_on_one_node_do_not_undo_each_other(cluster: Cluster) -> None:
    one, two, three = cluster.nodes
    two.shape_from([(one, Shape(delay_ms=40.0))])
    two.drop_from([three])
    assert two.blocked_from(three)
    assert min(two.arrivals_from(one, count=5, wait_ms=150.0).delays_ms) >= 40.0
    two.shape_from([])
    assert two.blocked_from(three)


def test_clients_are_shut_out_of_a_node_that_its_peers_still_hear(cluster: Cluster) -> None:
    one, two, _ = cluster.nodes
    if "clients" not in cluster.backend.capabilities():
        with pytest.raises(Refused, match="clients reach nodes on loopback directly"):
            two.shut_clients_out(True, cluster.nodes)
        return
    two.shut_clients_out(True, cluster.nodes)
    two.drop_from([])  # another order on the same chain leaves it as it is
    assert two.clients_shut_out()
    assert not one.clients_shut_out()
    assert ask_through(one, two, "status") == "follower 1"
    assert answers(two) == ""
    assert not cluster.heal()
    assert not two.clients_shut_out()
    assert answers(two) == "follower 1"


# -- clocks and limits -------------------------------------------------------------------------------------------
def test_a_clock_is_set_without_a_restart_read_back_and_right_again_after_the_heal(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    if "clock" not in cluster.backend.capabilities():
        assert "libfaketime" in cluster.backend.why_not("clock")
        with pytest.raises(Refused, match="libfaketime"):
            node.prepare(frozenset({"clock"}))
        return
    node.prepare(frozenset({"clock"}))
    cluster.kill(node)
    node.upload(STATIC, f"{node.install_dir}/etcd", mode=0o755)
    with pytest.raises(BackendError, match=r"etcd is linked statically"):
        node.start(Command((f"{node.install_dir}/etcd",)))
    restart(cluster, node)
    pid = node.process().pid
    for offset_s in (3600.0, -5.0):
        node.set_clock(offset_s=offset_s)
        seen = node.read_clock(watch_s=0.1)
        assert abs(seen.offset_s - offset_s) < 0.1
        assert seen.preloaded
    node.set_clock(rate=3.0)
    assert 2.5 < node.read_clock().rate < 3.5
    node.strobe_clock(offset_s=10.0, period_ms=40.0)
    assert node.read_clock(watch_s=0.5).steps >= 2
    assert not cluster.heal()
    healed = node.read_clock(watch_s=0.1)
    assert abs(healed.offset_s) < 0.1
    assert node.process().pid == pid


def test_what_a_node_may_use_is_limited_read_back_and_given_back(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    if "pressure" not in cluster.backend.capabilities():
        assert "processes cannot be limited" in cluster.backend.why_not("pressure")
        return
    node.prepare(frozenset({"pressure"}))
    node.limit(cpus=0.25, memory_bytes=512 << 20)
    seen = node.limits()
    assert (seen.cpus, seen.memory_bytes) == (0.25, 512 << 20)
    assert node.cpu_obtained() < 0.45
    assert not cluster.heal()
    assert (node.limits().cpus, node.limits().memory_bytes) == (None, None)


def test_a_file_is_damaged_only_while_the_process_is_down_and_repaired_exactly(
    cluster: Cluster, tmp_path: Path
) -> None:
    node = cluster.nodes[0]
    with pytest.raises(BackendError, match=r"n1: the process still runs"):
        node.damage("flip", pattern="file")
    cluster.kill(node)
    contents = bytes(range(1, 251)) * 20
    node.upload(contents, f"{node.data_dir}/file")
    for how in ("flip", "torn", "cut"):
        done = node.damage(how, pattern="file", seed=3)
        node.download(f"{node.data_dir}/file", tmp_path / how)
        damaged = (tmp_path / how).read_bytes()
        assert damaged != contents
        assert len(damaged) == len(contents) + {"flip": 0, "torn": done.bytes, "cut": -done.bytes}[how]
        assert node.repair(done)
        node.download(f"{node.data_dir}/file", tmp_path / f"{how}-repaired")
        assert (tmp_path / f"{how}-repaired").read_bytes() == contents
    assert node.run(["ls", f"{node.root}/run/kept"]).code != 0  # type: ignore[attr-defined]
    node.run(["rm", f"{node.data_dir}/file"])
    restart(cluster, node)


# -- disks -------------------------------------------------------------------------------------------------------
def test_a_frozen_disk_blocks_an_fsync_until_it_is_thawed(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    done = threading.Event()

    def append() -> None:
        if ask(node.reach("peer"), "append late", timeout_s=20.0).startswith("ok"):
            done.set()

    node.freeze_disk()
    node.freeze_disk()  # idempotent
    writer = threading.Thread(target=append)
    writer.start()
    assert node.disk_stalls()
    assert not done.is_set()
    assert "late" not in appended(node)  # reads go on
    node.thaw_disk()
    node.thaw_disk()
    writer.join(10.0)
    assert done.is_set()
    assert not node.disk_stalls(wait_s=5.0)


def test_a_process_that_hangs_on_a_frozen_disk_dies_with_the_thaw(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    node.freeze_disk()
    writer = threading.Thread(target=lambda: swallow(lambda: ask(node.reach("peer"), "append x", 20.0)))
    writer.start()
    assert node.disk_stalls()
    cluster.kill(node, wait_s=0.2)
    node.thaw_disk()
    assert cluster.kill(node)
    writer.join(10.0)


def swallow(action: Callable[[], object]) -> None:
    try:
        action()
    except OSError:
        return


def test_power_loss_keeps_what_was_synced_and_loses_the_rest(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    ask(node.reach("peer"), "append synced")
    unsynced = node.run(["sh", "-c", f"echo unsynced > {node.data_dir}/other"])
    assert unsynced.code == 0, unsynced
    assert node.power_off() == ("stopped", "disk-cut", "killed", "unmounted")
    assert not node.process().alive
    assert node.power_on() == ("mounted",)
    restart(cluster, node)
    assert "synced" in appended(node)
    left = node.run(["sh", "-c", f"cat {node.data_dir}/other"])
    assert "unsynced" not in left.out


def test_a_power_loss_on_a_frozen_disk_goes_through(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    node.freeze_disk()
    assert node.disk_stalls()
    assert node.power_off()[-1] == "unmounted"
    node.power_on()
    restart(cluster, node)
    assert not node.disk_stalls(wait_s=5.0)


def test_a_full_disk_says_enospc_and_a_drained_one_takes_writes(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    assert node.fill_disk() > 100 << 20
    met = node.disk_probe(wait_s=5.0)
    assert met.outcome == "failed"
    assert "No space left" in met.said
    node.drain_disk()
    node.drain_disk()
    assert node.disk_probe(wait_s=5.0).outcome == "done"


def test_a_broken_disk_fails_writes_until_the_heal_mounts_it_anew(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    node.break_disk()
    met = node.disk_probe(wait_s=5.0)
    assert met.outcome == "failed"
    assert "Input/output error" in met.said
    assert not node.heal()
    assert node.disk_probe(wait_s=5.0).outcome == "done"
    assert not node.process().alive  # a disk cannot be mounted anew beneath a running process


def test_a_slow_disk_lets_every_write_through_after_a_while(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    node.slow_disk(stall_ms=150.0, run_ms=5.0)
    met = [node.disk_probe(wait_s=10.0) for _ in range(3)]
    assert {probe.outcome for probe in met} == {"done"}
    assert max(probe.elapsed_ms for probe in met) > 50.0
    node.thaw_disk()
    assert not node.disk_stalls(wait_s=5.0)


def test_a_wipe_empties_the_data_and_refuses_a_running_process(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    ask(node.reach("peer"), "append gone")
    with pytest.raises(BackendError, match=r"n1: the process still runs; stop it"):
        node.wipe()
    cluster.kill(node)
    node.wipe()
    restart(cluster, node)
    assert appended(node) == []


# -- files and commands ------------------------------------------------------------------------------------------
def test_files_and_folders_go_up_and_come_down_unchanged(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.nodes[0]
    data = bytes(range(256)) * 4096  # more than one part
    node.upload(data, f"{node.install_dir}/blob", mode=0o755)
    node.download(f"{node.install_dir}/blob", tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == data
    assert (
        node.run([f"{node.python}", "-c", f"import os; print(os.stat('{node.install_dir}/blob').st_mode & 0o777)"]).out
        == "493\n"
    )
    (tmp_path / "up" / "inner").mkdir(parents=True)
    (tmp_path / "up" / "inner" / "file").write_text("x")
    node.upload(tmp_path / "up", f"{node.install_dir}/folder")
    node.download(f"{node.install_dir}/folder", tmp_path / "down")
    assert (tmp_path / "down" / "inner" / "file").read_text() == "x"


def test_the_tail_of_a_file_is_read_from_where_the_last_read_ended(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    path = f"{node.log_dir}/tail"
    node.upload(b"one\n", path)
    first, offset = node.read_tail(path, 0)
    assert node.run(["sh", "-c", f"echo two >> {path}"]).code == 0
    second, end = node.read_tail(path, offset)
    assert (first, second, end) == (b"one\n", b"two\n", 8)


def test_what_cannot_be_done_names_the_node_and_the_reason(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.nodes[1]
    with pytest.raises(BackendError, match=r"n2: there is no /nowhere on this node"):
        node.download("/nowhere", tmp_path / "x")
    with pytest.raises(BackendError, match=r"n2: cannot run no-such-tool"):
        node.run(["no-such-tool"])
    with pytest.raises(BackendError, match=r"n2: sleep 5 did not end within 0.1 s"):
        node.run(["sleep", "5"], timeout_s=0.1)
    with pytest.raises(BackendError, match=r"n2: cannot upload .*there is no such file"):
        node.upload(tmp_path / "missing", "/x")


def test_collect_stops_the_systems_and_brings_logs_and_data(cluster: Cluster, tmp_path: Path) -> None:
    ask(cluster.nodes[0].reach("peer"), "append collected")
    assert cluster.collect(tmp_path, data=True) == []
    assert not any(node.process().alive for node in cluster.nodes)
    assert "n1 listens on" in (tmp_path / "n1" / "node.log").read_text()
    assert "collected" in (tmp_path / "n1" / "data" / "lines").read_text()
