"""Pebble: a very small Raft with a key-value map, one file, standard library only. Somebody else's, to be tested.

    python3 pebble.py n1 --listen 127.0.0.1:7001 --peer n2=127.0.0.1:7002 --peer n3=… --data DIR [--reads quorum]

Asked over lines of text, on any node: `GET key`, `SET key value`, `CAS key old new`, `STATUS`. Answers: `OK value`;
`NO reason` when nothing was done; `MAYBE reason` when it is not known.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import time
from pathlib import Path

HEARTBEAT_S = 0.05
ELECTION_S = (0.3, 0.6)
ANSWER_S = 5.0


class Pebble:
    def __init__(self, name, peers, data, reads):
        self.name, self.peers, self.reads = name, peers, reads
        self.term, self.vote, self.log = 0, None, [(0, None)]
        self.role, self.leader = "follower", None
        self.commit = self.applied = 0
        self.map, self.waiting, self.next, self.match, self.confirmed = {}, {}, {}, {}, {}
        self.heard, self.patience = time.monotonic(), random.uniform(*ELECTION_S)
        self.news = asyncio.Event()
        Path(data).mkdir(parents=True, exist_ok=True)
        self.journal = (Path(data) / "journal").open("a+")
        self.journal.seek(0)
        for line in self.journal:
            kind, *record = json.loads(line)
            if kind == "vote":
                self.term, self.vote = record
            else:
                index, term, command = record
                self.log[index:] = [(term, command)]

    def keep(self, *records):
        """Put records on the disk before anything else happens."""
        self.journal.writelines(json.dumps(record) + "\n" for record in records)
        self.journal.flush()
        os.fsync(self.journal.fileno())

    def enter(self, term, role, vote=None, leader=None):
        """Go on in `term` as `role`; the term and the vote are kept."""
        if (term, vote) != (self.term, self.vote) and not (term == self.term and vote is None):
            self.term, self.vote = term, vote
            self.keep(("vote", term, vote))
        if role != self.role:
            print(f"{self.name}: {self.role} -> {role} in term {term}", flush=True)
        self.role, self.leader = role, leader
        if role != "leader":
            for future in self.waiting.values():
                future.cancel()
            self.waiting = {}

    # -- elections -------------------------------------------------------------------------------------------
    async def watch(self):
        while True:
            await asyncio.sleep(0.01)
            if self.role != "leader" and time.monotonic() - self.heard > self.patience:
                await self.campaign()

    async def campaign(self):
        self.heard, self.patience = time.monotonic(), random.uniform(*ELECTION_S)
        self.enter(self.term + 1, "candidate", vote=self.name)
        term = self.term
        ask = {"do": "vote", "term": term, "from": self.name, "last": [self.log[-1][0], len(self.log) - 1]}
        votes = 1

        async def asked(peer):
            with contextlib.suppress(OSError, ValueError):
                return await self.call(peer, ask, 0.2)
            return {"term": 0, "granted": False}

        for answer in asyncio.as_completed([asked(peer) for peer in self.peers]):
            said = await answer
            if said["term"] > self.term:
                self.enter(said["term"], "follower")
            votes += said["granted"]
            if (self.role, self.term) != ("candidate", term):
                return
            if votes * 2 > len(self.peers) + 1:
                break
        if votes * 2 > len(self.peers) + 1:
            self.enter(term, "leader", vote=self.name, leader=self.name)
            self.next = dict.fromkeys(self.peers, len(self.log))
            self.match = dict.fromkeys(self.peers, 0)
            self.confirmed = dict.fromkeys(self.peers, 0.0)
            self.append(None)
            self.tasks = [asyncio.ensure_future(self.replicate(peer, term)) for peer in self.peers]

    def on_vote(self, asked):
        if asked["term"] > self.term:
            self.enter(asked["term"], "follower")
        fresh = asked["last"] >= [self.log[-1][0], len(self.log) - 1]
        granted = asked["term"] == self.term and self.vote in (None, asked["from"]) and fresh
        if granted:
            self.enter(self.term, "follower", vote=asked["from"])
            self.heard = time.monotonic()
        return {"term": self.term, "granted": granted}

    # -- replication -----------------------------------------------------------------------------------------
    def append(self, command):
        self.log.append((self.term, command))
        self.keep(("entry", len(self.log) - 1, self.term, command))
        self.news.set()
        self.advance()
        return len(self.log) - 1

    async def replicate(self, peer, term):
        while (self.role, self.term) == ("leader", term):
            before = self.next[peer] - 1
            entries = self.log[before + 1 : before + 200]
            began = time.monotonic()
            ask = {"do": "append", "term": term, "from": self.name, "prev": [before, self.log[before][0]],
                   "entries": entries, "commit": self.commit}  # fmt: skip
            try:
                said = await self.call(peer, ask, 0.3)
            except (OSError, ValueError):
                await asyncio.sleep(HEARTBEAT_S)
                continue
            if (self.role, self.term) != ("leader", term):
                return
            if said["term"] > term:
                self.enter(said["term"], "follower")
                return
            self.confirmed[peer] = began
            if said["ok"]:
                self.match[peer] = before + len(entries)
                self.next[peer] = self.match[peer] + 1
                self.advance()
            else:
                self.next[peer] = max(1, min(before, said["length"]))
            if self.next[peer] == len(self.log):
                self.news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.news.wait(), HEARTBEAT_S)

    def on_append(self, asked):
        if asked["term"] < self.term:
            return {"term": self.term, "ok": False, "length": len(self.log)}
        self.heard = time.monotonic()
        self.enter(asked["term"], "follower", leader=asked["from"])
        index, term = asked["prev"]
        if index >= len(self.log) or self.log[index][0] != term:
            return {"term": self.term, "ok": False, "length": len(self.log)}
        records = []
        for offset, (entry_term, command) in enumerate(asked["entries"], index + 1):
            if offset >= len(self.log) or self.log[offset][0] != entry_term:
                self.log[offset:] = [(entry_term, command)]
                records.append(("entry", offset, entry_term, command))
        if records:
            self.keep(*records)
        self.commit = max(self.commit, min(asked["commit"], index + len(asked["entries"])))
        self.apply()
        return {"term": self.term, "ok": True}

    def advance(self):
        """Commit what a majority has, if it is of this term."""
        have = sorted([len(self.log) - 1, *self.match.values()])[len(self.peers) // 2]
        if have > self.commit and self.log[have][0] == self.term:
            self.commit = have
            self.apply()

    def apply(self):
        while self.applied < self.commit:
            self.applied += 1
            command = self.log[self.applied][1]
            result = "" if command is None else self.carry_out(command)
            future = self.waiting.pop(self.applied, None)
            if future is not None and not future.done():
                future.set_result(result)

    def carry_out(self, command):
        word, key, *values = command
        if word == "CAS" and self.map.get(key, "null") != values[0]:
            return "false"
        self.map[key] = values[-1]
        return "true" if word == "CAS" else ""

    # -- clients ---------------------------------------------------------------------------------------------
    async def answer(self, words):
        """Return the answer to one line of a client, or of a follower that passes it on."""
        if words[:1] == ["STATUS"]:
            facts = {"role": self.role, "term": self.term, "vote": self.vote, "leader": self.leader}
            facts |= {"commit_index": self.commit, "applied_index": self.applied, "last_index": len(self.log) - 1}
            return "OK " + json.dumps(facts)
        if len(words) != {"GET": 2, "SET": 3, "CAS": 4}.get(words[0] if words else ""):
            return f"NO such request: {' '.join(words)}"
        if self.role == "leader":
            return await self.lead(words)
        if self.leader is None:
            return "NO leader is known"
        try:
            return (await self.call(self.leader, {"do": "lead", "words": words}, ANSWER_S))["answer"]
        except ConnectionRefusedError:
            return f"NO connection to {self.leader}"
        except (OSError, ValueError):
            return f"MAYBE: {self.leader} did not answer"

    async def lead(self, words):
        if self.role != "leader":
            return "NO, not the leader any more"
        if words[0] == "GET":
            if self.reads == "quorum" and not await self.still_leading():
                return "NO, not sure to be the leader"
            return "OK " + self.map.get(words[1], "null")
        future = asyncio.get_running_loop().create_future()
        self.waiting[len(self.log)] = future
        self.append(words)
        try:
            return "OK " + await asyncio.wait_for(future, ANSWER_S)
        except (asyncio.CancelledError, TimeoutError):
            return "MAYBE: not committed yet"

    async def still_leading(self):
        """Hear from a majority, in this term, after now; and have committed something of it."""
        began, term = time.monotonic(), self.term
        while time.monotonic() < began + 1.0 and (self.role, self.term) == ("leader", term):
            heard = 1 + sum(at >= began for at in self.confirmed.values())
            if heard * 2 > len(self.peers) + 1 and self.log[self.commit][0] == term:
                return True
            self.news.set()
            await asyncio.sleep(0.005)
        return False

    # -- the wire --------------------------------------------------------------------------------------------
    async def call(self, peer, message, within_s):
        async def exchange():
            reader, writer = await asyncio.open_connection(*self.peers[peer], limit=1 << 24)
            try:
                writer.write(json.dumps(message).encode() + b"\n")
                return json.loads(await reader.readline())
            finally:
                writer.close()

        return await asyncio.wait_for(exchange(), within_s)

    async def serve(self, reader, writer):
        try:
            while line := await reader.readline():
                if line.startswith(b"{"):
                    asked = json.loads(line)
                    if asked["do"] == "lead":
                        said = {"answer": await self.lead(asked["words"])}
                    else:
                        said = self.on_vote(asked) if asked["do"] == "vote" else self.on_append(asked)
                    writer.write(json.dumps(said).encode() + b"\n")
                else:
                    writer.write((await self.answer(line.decode().split())).encode() + b"\n")
        except (OSError, ValueError):
            pass
        finally:
            writer.close()


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--listen", type=address, required=True)
    parser.add_argument("--peer", action="append", default=[], help="name=host:port")
    parser.add_argument("--data", required=True)
    parser.add_argument("--reads", choices=("leader", "quorum"), default="leader")
    given = parser.parse_args()
    peers = {name: address(place) for name, _, place in (peer.partition("=") for peer in given.peer)}
    node = Pebble(given.name, peers, given.data, given.reads)
    server = await asyncio.start_server(node.serve, *given.listen, limit=1 << 24)
    print(f"{given.name}: listening on {given.listen}, term {node.term}, {len(node.log) - 1} entries", flush=True)
    async with server:
        await asyncio.gather(server.serve_forever(), node.watch())


if __name__ == "__main__":
    asyncio.run(main())
