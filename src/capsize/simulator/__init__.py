"""A deterministic world for the reference Raft's pure core: virtual time, disks, network and clients, from one seed.

    World      nodes, time, and everything that can be done to them         (world)
    Disk       keeps what was synced, loses the rest when the power goes    (disk)
    Network    delays, loses, doubles, reorders, cuts, holds and releases   (network)
    Clients    ask, retry under the same request id, record a history       (clients)
    Run        a schedule, a load, a recovery, a verdict                    (run)

A seed replays exactly: nothing reads a clock, and every draw comes from a named stream of the seed.
"""
