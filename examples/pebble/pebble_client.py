"""A client program of Pebble, for pebble.toml: one JSON object a line on stdin, one answer a line on stdout.

Imports nothing of capsize: it could be written in any language.
"""

import json
import os
import socket
import sys

TIMEOUT_S = float(os.environ.get("CAPSIZE_TIMEOUT_S", "5"))
WORDS = {"read": "GET", "write": "SET", "cas": "CAS", "status": "STATUS"}


def ask(pebble, asked):
    """Return the answer to one request: its type, and a result or an error."""
    if asked["f"] == "open":
        return {"type": "ok"}
    if asked["f"] not in WORDS:
        return {"type": "fail", "error": f"Pebble has no {asked['f']}"}
    values = {"write": [asked["value"]], "cas": asked["value"]}.get(asked["f"], [])
    key = [] if asked["f"] == "status" else [asked["key"]]
    try:
        print(WORDS[asked["f"]], *key, *map(json.dumps, values), file=pebble, flush=True)
        word, _, rest = pebble.readline().strip().partition(" ")
    except OSError as error:
        return {"type": "info", "error": str(error)}
    if word == "OK":
        return {"type": "ok", "result": json.loads(rest or "null")}
    return {"type": "fail" if word.startswith("NO") else "info", "error": rest or "the connection was closed"}


host, _, port = sys.argv[1].rpartition(":")
try:
    pebble, refusal = socket.create_connection((host, int(port)), timeout=TIMEOUT_S).makefile("rw"), ""
except OSError as error:
    pebble, refusal = None, str(error)
for line in sys.stdin:
    asked = json.loads(line)
    answer = {"type": "fail", "error": refusal} if pebble is None else ask(pebble, asked)
    print(json.dumps({"id": asked["id"], **answer}), flush=True)
