"""What MIT's course on distributed systems (6.5840, labs 3 and 4) tests of a Raft, as far as no other scenario does.

Each says whose test it follows. Time runs by itself, as it does there; "away" is cut off from all others, both ways.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from capsize.raft.messages import AppendEntries, Message
from capsize.simulator.network import Weather
from capsize.simulator.scenarios.scenario import Play, scenario
from capsize.simulator.scenarios.storms import LIVELY, all_read_what_was_told, converges, leader_of
from capsize.simulator.stage import Asked, Stage

UNRELIABLE = Weather(delay_ms=(0.5, 13.0), loss=0.1, late=0.3, late_ms=(50.0, 400.0))
"""A tenth of the messages lost, many late enough to be overtaken."""


def _away(stage: Stage, names: Iterable[str]) -> None:
    """Cut these servers off, and let everybody else hear each other."""
    stage.world.network.heal()
    gone = set(names)
    everybody = frozenset(stage.names)
    cuts = {name: everybody - {name} if name in gone else frozenset(gone) for name in everybody}
    stage.world.network.cut(0, cuts)


def _leads_among(stage: Stage, names: Iterable[str], *, within_ms: float = 5_000) -> str:
    """Let time pass until one of these servers leads in a term no lower than the others'; return it."""
    inside = list(names)

    def leading() -> list[str]:
        newest = max(stage.core(name).term for name in inside)
        return [name for name in inside if stage.core(name).is_leader() and stage.core(name).term == newest]

    stage.world.run_until(leading, limit_ms=within_ms)
    found = leading()
    stage.expect(len(found) == 1, f"{found or 'nobody'} leads among {', '.join(inside)}")
    return found[0]


def _agreed(stage: Stage, leader: str, value: int, *, within_ms: float = 3_000) -> Asked:
    """Append a value at a leader, and expect it to be answered in time."""
    asked = stage.ask(leader, "append", "x", (value,))
    stage.world.run_until(lambda: asked.outcome is not None, limit_ms=within_ms)
    stage.expect(asked.outcome == "ok", f"appending {value} at {leader} was answered {asked.outcome}")
    return asked


def _end(stage: Stage, asked: Iterable[tuple[int, Asked]]) -> None:
    """Heal; every server must serve, and show every value whose append was answered ok, each once."""
    converges(stage)
    told: dict[str, list[int]] = {}
    for value, item in asked:
        told.setdefault(str(item.key), []).extend([value] if item.outcome == "ok" else [])
    all_read_what_was_told(stage, told)
    for name in stage.names:
        for key in told:
            held = stage.core(name).machine.read(key) or []
            twice = [value for value, count in Counter(held).items() if count > 1]
            stage.expect(not twice, f"{name} holds {twice} of {key} more than once")


@scenario("S02")
def many_elections(play: Play) -> None:
    """ManyElections: three of seven servers, drawn anew ten times, are away: somebody leads the rest."""
    stage = play(7, **LIVELY)
    stage.flow()
    leader_of(stage)
    rng = random.Random(7)
    for _ in range(10):
        gone = rng.sample(stage.names, 3)
        _away(stage, gone)
        _leads_among(stage, [name for name in stage.names if name not in gone])
    converges(stage)


@scenario("S20")
def every_command_travels_once(play: Play) -> None:
    """RPCBytes and Count: ten commands reach each follower once each, and an idle second takes heartbeats only."""
    stage = play(3, **LIVELY)
    carried: Counter[tuple[str, int]] = Counter()
    sent: Counter[str] = Counter()

    def look(message: Message) -> bool:
        sent[type(message).__name__] += 1
        if isinstance(message, AppendEntries):
            carried.update((message.to, entry.index) for entry in message.entries)
        return False

    stage.flow()
    stage.world.network.holds = look
    leader = leader_of(stage)
    stage.pass_ms(200)
    carried.clear()
    for number in range(10):
        _agreed(stage, leader, number)
    stage.pass_ms(100)
    stage.expect(len(carried) == 20, f"{len(carried)} of 20 entries were sent")
    again = [place for place, count in carried.items() if count > 1]
    stage.expect(not again, f"(follower, index) that were sent more than once: {again}")
    sent.clear()
    stage.pass_ms(1_000)
    beats = 2 * (1_000 // stage.world.settings.heartbeat_ms + 1)
    stage.expect(sent.total() <= 2 * beats, f"an idle second took {dict(sent)}")


@scenario("S03")
def servers_go_one_by_one(play: Play) -> None:
    """FollowerFailure and LeaderFailure: with one of three away writes go on, with two nothing is committed; whether
    followers go or those who lead.
    """
    for leaders_go in (False, True):
        stage = play(3, **LIVELY)
        stage.flow()
        leader = leader_of(stage)
        _agreed(stage, leader, 1)
        first = leader if leaders_go else next(name for name in stage.names if name != leader)
        _away(stage, [first])
        leader = _leads_among(stage, [name for name in stage.names if name != first])
        _agreed(stage, leader, 2)
        second = leader if leaders_go else next(name for name in stage.names if name not in (leader, first))
        _away(stage, [first, second])
        before = max(stage.commit(name) for name in stage.names)
        lonely = [stage.ask(name, "append", "x", (10 + place,)) for place, name in enumerate(stage.names)]
        stage.pass_ms(1_500)
        stage.expect(not any(item.outcome == "ok" for item in lonely), "one of three servers answered a write")
        stage.expect(max(stage.commit(name) for name in stage.names) == before, "one of three servers committed")
        _end(stage, [(1, stage.asked[0]), (2, stage.asked[1])])


@scenario("S03")
def three_of_five_are_away(play: Play) -> None:
    """FailNoAgree: nothing is committed while three of five are away; when they are back its place may be taken by
    another command, and the next one is agreed on.
    """
    stage = play(5, **LIVELY)
    stage.flow()
    leader = leader_of(stage)
    asked = [(10, _agreed(stage, leader, 10))]
    others = [name for name in stage.names if name != leader]
    _away(stage, others[:3])
    before = stage.commit(leader)
    asked.append((20, stage.ask(leader, "append", "x", (20,))))
    stage.pass_ms(1_200)
    stage.expect(asked[-1][1].outcome != "ok", "a write was answered with two of five copies")
    stage.expect(stage.commit(leader) == before, "an entry was committed with two of five copies")
    stage.world.network.heal()
    asked.append((30, _agreed(stage, _leads_among(stage, stage.names), 30)))
    _end(stage, asked)


@scenario("S20")
def five_commands_at_once(play: Play) -> None:
    """ConcurrentStarts: five commands are taken before the first got anywhere; all are committed, in one term."""
    stage = play(3, **LIVELY)
    stage.flow()
    leader = leader_of(stage)
    _agreed(stage, leader, 0)
    stage.hold()
    term, before = stage.core(leader).term, stage.core(leader).log.last_index
    asked = [(number, stage.ask(leader, "append", "x", (number,))) for number in range(1, 6)]
    stage.expect(stage.core(leader).log.last_index == before + 5, "the leader did not take all five at once")
    stage.flow()
    stage.world.run_until(lambda: all(item.outcome for _, item in asked), limit_ms=2_000)
    told = [item.outcome for _, item in asked]
    stage.expect(told == ["ok"] * 5, f"the five were answered {told}")
    stage.expect(stage.log(leader)[-5:] == [(before + n, term) for n in range(1, 6)], "not in one term")
    _end(stage, asked)


@scenario("S21")
def deposed_leaders_take_turns(play: Play) -> None:
    """Rejoin: a leader that is away takes three commands; the next leader commits one, and is away in turn when the
    first comes back: its tail is overwritten, and nobody who was told "done" is betrayed.
    """
    stage = play(3, **LIVELY)
    stage.flow()
    first = leader_of(stage)
    asked = [(101, _agreed(stage, first, 101))]
    _away(stage, [first])
    asked += [(number, stage.ask(first, "append", "x", (number,))) for number in (102, 103, 104)]
    second = _leads_among(stage, [name for name in stage.names if name != first])
    asked.append((203, _agreed(stage, second, 203)))
    _away(stage, [second])
    third = _leads_among(stage, [name for name in stage.names if name != second])
    asked.append((305, _agreed(stage, third, 305)))
    stage.expect(third != first, "the leader with the overwritten tail was elected")
    _end(stage, asked)
    held = stage.core(first).machine.read("x")
    stage.expect(held == [101, 203, 305], f"{first} holds {held}")


@scenario("S50")
def restarts_of_all_of_the_leader_and_of_a_follower(play: Play) -> None:
    """Persist1 and AllCrash: all restart; the leader does; one is down while others commit, and returns. Commit
    indices and terms never go back, with snapshots and without.
    """
    for snapshot_every in (0, 4):
        stage = play(3, **LIVELY, snapshot_every=snapshot_every)
        stage.flow()
        asked: list[tuple[int, Asked]] = []
        for number in range(1, 10):
            leader = leader_of(stage)
            asked.append((number, _agreed(stage, leader, number)))
            follower = next(name for name in stage.names if name != leader)
            down = {0: stage.names, 1: (leader,), 2: (follower,)}[number % 3]
            before = {name: (stage.core(name).term, stage.core(name).applied_index) for name in down}
            stage.kill(*down)
            if number % 3:
                asked.append((100 + number, _agreed(stage, _found(stage, down), 100 + number)))
            stage.start(*down)
            stage.pass_ms(400)
            _agreed(stage, leader_of(stage), 200 + number)
            stage.pass_ms(200)
            for name, (term, applied) in before.items():
                core = stage.core(name)
                stage.expect(core.term >= term and core.applied_index >= applied, f"{name} went back when it restarted")
        _end(stage, asked)


def _found(stage: Stage, down: Iterable[str]) -> str:
    """Return who leads among those that run."""
    return _leads_among(stage, [name for name in stage.names if name not in set(down)])


@scenario("S50")
def kills_go_round(play: Play) -> None:
    """Persist2: two of five are killed, then the other three; those come back one short of a majority, then with it."""
    stage = play(5, **LIVELY)
    stage.flow()
    asked: list[tuple[int, Asked]] = []
    for number in range(1, 5):
        names = [stage.names[(number + place) % 5] for place in range(5)]
        asked.append((10 * number, _agreed(stage, leader_of(stage), 10 * number)))
        stage.kill(*names[:2])
        asked.append((10 * number + 1, _agreed(stage, _found(stage, names[:2]), 10 * number + 1)))
        stage.kill(*names[2:])
        stage.start(*names[:2])
        stage.pass_ms(800)
        stage.expect(stage.world.leader is None, f"{stage.world.leader} leads with two of five servers up")
        stage.start(names[2])
        asked.append((10 * number + 2, _agreed(stage, _found(stage, names[3:]), 10 * number + 2)))
        stage.start(*names[3:])
    _end(stage, asked)


@scenario("S50")
def leader_returns_beside_a_laggard(play: Play) -> None:
    """Persist3: two of three hold an entry, both die, and the leader returns together with the server that missed it:
    the entry is kept.
    """
    stage = play(3, **LIVELY)
    stage.flow()
    asked: list[tuple[int, Asked]] = []
    for number in range(1, 5):
        leader = leader_of(stage)
        asked.append((10 * number, _agreed(stage, leader, 10 * number)))
        laggard, other = (name for name in stage.names if name != leader)
        _away(stage, [laggard])
        asked.append((10 * number + 1, _agreed(stage, _leads_among(stage, [leader, other]), 10 * number + 1)))
        stage.kill(leader, other)
        stage.world.network.heal()
        stage.pass_ms(300)
        stage.start(leader)
        again = _leads_among(stage, [leader, laggard])
        stage.expect(again == leader, f"{laggard} leads, and lacks an entry that was answered")
        asked.append((10 * number + 2, _agreed(stage, again, 10 * number + 2)))
        stage.start(other)
        stage.pass_ms(300)
    _end(stage, asked)


@scenario("S23")
def agreement_over_a_bad_network(play: Play) -> None:
    """UnreliableAgree: four commands at a time, over a network that loses a tenth of the messages and lets others come
    late.
    """
    stage = play(5, **LIVELY)
    stage.flow()
    stage.world.network.weather = UNRELIABLE
    asked: list[tuple[int, Asked]] = []
    for number in range(0, 80, 4):
        stage.world.run_until(lambda: stage.world.leader is not None, limit_ms=3_000)
        asked += [(value, stage.ask(name, "append", f"x{number}", (value,)))
                  for value, name in zip(range(number, number + 4), stage.names, strict=False)]  # fmt: skip
        stage.pass_ms(120)
    stage.expect(sum(item.outcome == "ok" for _, item in asked) > 20, "hardly anything was agreed on")
    _end(stage, asked)


@scenario("S28")
def churn(play: Play) -> None:
    """ReliableChurn and UnreliableChurn: three clients write while servers are cut off, killed and started at random;
    every value that was answered is in every log in the end.
    """
    for number, weather in enumerate((Weather(), UNRELIABLE)):
        stage = play(5, **LIVELY)
        stage.flow()
        stage.world.network.weather = weather
        rng = random.Random(20 + number)
        asked: list[tuple[int, Asked]] = []
        for step in range(40):
            up = stage.world.up
            asked += [(10 * step + client, stage.ask(rng.choice(up), "append", f"x{step}", (10 * step + client,)))
                      for client in range(3)]  # fmt: skip
            stage.pass_ms(rng.choice((20, 60, 200)))
            if rng.random() < 0.2:
                _away(stage, [rng.choice(stage.names)])
            if rng.random() < 0.5:
                stage.world.network.heal()
            if rng.random() < 0.2 and len(stage.world.up) > 3:
                stage.kill(rng.choice(stage.world.up))
            if rng.random() < 0.4:
                stage.start(*(name for name in stage.names if name not in stage.world.up))
        stage.expect(sum(item.outcome == "ok" for _, item in asked) > 20, "hardly anything succeeded")
        _end(stage, asked)


@scenario("S60")
def snapshots_reach_whoever_was_away(play: Play) -> None:
    """SnapshotInstall, reliable and not, by cut and by crash: a server misses more than the others keep, and returns;
    logs stay short all the while.
    """
    for crash in (False, True):
        for weather in (Weather(), UNRELIABLE):
            stage = play(3, **LIVELY, snapshot_every=6)
            stage.flow()
            stage.world.network.weather = weather
            asked: list[tuple[int, Asked]] = []
            for number in range(4):
                leader = leader_of(stage)
                victim = stage.names[number % 3]
                if crash:
                    stage.kill(victim)
                else:
                    _away(stage, [victim])
                rest = [name for name in stage.names if name != victim]
                for value in range(20 * number, 20 * number + 14):
                    leader = _leads_among(stage, rest)
                    item = stage.ask(leader, "append", f"x{value // 4}", (value,))
                    stage.world.run_until(lambda item=item: item.outcome is not None, limit_ms=3_000)  # type: ignore[misc]
                    asked.append((value, item))
                for name in rest:
                    length = len(stage.log(name))
                    stage.expect(length <= 18, f"{name} keeps {length} entries behind its snapshot")
                stage.start(victim)
                stage.world.network.heal()
                stage.pass_ms(1_000)
            _end(stage, asked)


@scenario("S40")
def pending_commands_after_a_partition(play: Play) -> None:
    """OnePartition and LeaderPartition: the minority's leader answers nothing while it is away; what was pending is
    decided after the healing, and clients that ask the majority meanwhile are served.
    """
    stage = play(5, **LIVELY)
    stage.flow()
    leader = leader_of(stage)
    asked = [(1, _agreed(stage, leader, 1))]
    partner = next(name for name in stage.names if name != leader)
    rest = frozenset(stage.names) - {leader, partner}
    stage.world.network.cut(
        0, {name: rest if name in (leader, partner) else frozenset({leader, partner}) for name in stage.names}
    )
    pending = stage.ask(leader, "append", "x", (2,))
    read = stage.read(partner, "x")
    asked.append((3, _agreed(stage, _leads_among(stage, rest), 3)))
    stage.expect(pending.outcome != "ok" and read.outcome != "ok", "the minority answered")
    stage.world.network.heal()
    stage.pass_ms(2_000)
    stage.expect(pending.outcome is not None and read.outcome is not None, "what was pending was never answered")
    _end(stage, [*asked, (2, pending)])
