"""Nodes, backends (docker, ssh, local), network, disks, and the adapters of systems."""
