"""A node refuses a bad configuration with one clear line, and starts with none of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from capsize.raft.config import ConfigError, load_config, parse_config

GOOD = {
    "node": "n1",
    "listen": ["127.0.0.1", 7001],
    "peers": {"n1": ["127.0.0.1", 7001], "n2": ["127.0.0.1", 7002]},
    "data_dir": "data",
}


def test_a_good_configuration_is_taken():
    config = parse_config({**GOOD, "election_timeout_ms": [200, 400], "heartbeat_ms": 20, "fsync": False})
    assert config.members == ("n1", "n2")
    assert config.settings.election_timeout_ms == (200, 400)
    assert config.trace is None
    assert config.fsync is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"node": None}, "node: expected a non-empty string, found null"),
        ({"node": "n9"}, "peers: 'n9' itself is missing"),
        ({"listen": ["127.0.0.1"]}, "listen: expected [host, port]"),
        ({"listen": ["127.0.0.1", "7001"]}, "listen: expected [host, port]"),
        ({"peers": {"n1": ["h", 99999]}}, "peers.n1: expected [host, port]"),
        ({"peers": []}, "peers: expected an object"),
        ({"hartbeat_ms": 1}, "no key is called 'hartbeat_ms'"),
        ({"heartbeat_ms": 400}, "heartbeat_ms: expected more than 0 and less than"),
        ({"election_timeout_ms": [600, 300]}, "election_timeout_ms: expected 0 < low <= high"),
        ({"election_timeout_ms": 300}, "election_timeout_ms: expected [low, high]"),
        ({"fsync": "yes"}, "fsync: expected true or false"),
        ({"members": ["n3"]}, "members: 'n3' is not among the peers"),
        ({"failpoints": {"somewhere": "kill"}}, "no failpoint is called 'somewhere'"),
        ({"failpoints": {"after_append": "explode"}}, "'explode' is no action"),
        ({"snapshot_every": -1}, "snapshot_every: expected a whole number"),
        ({"trace": 7}, "trace: expected a path or null"),
    ],
)
def test_a_bad_configuration_is_told_in_one_line(change, said):
    with pytest.raises(ConfigError) as caught:
        parse_config({**GOOD, **change})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_json_is_told(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load_config(tmp_path / "bad.json")


@pytest.mark.parametrize("change", [{"heartbeat_ms": 400}, {"mutants": ["quorum.minorty"]}])
def test_the_command_exits_with_2_and_one_line(tmp_path, change):
    path = tmp_path / "n1.json"
    path.write_text(json.dumps({**GOOD, "data_dir": str(tmp_path / "data"), **change}))
    done = subprocess.run(
        [sys.executable, "-m", "capsize.raft", "--config", str(path)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr.startswith("raft: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
