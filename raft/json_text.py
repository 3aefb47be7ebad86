"""JSON without spaces, by one encoder made once: `json.dumps` with separators makes a new one for every call."""

import json

json_text = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
