"""Stands in for the frontend or the admin process: `python stand_in.py PART FOLDER [ENDS|SILENT]`.

Writes the settings that it was given to `FOLDER/PART.json`, answers `/readyz`, and notes in `FOLDER/stops` when it is
told to stop. With ENDS it fails at the start; with SILENT it is never ready.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer

part, folder, *how = sys.argv[1:]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/readyz" and how != ["SILENT"]
        self.send_response(200 if found else 503)
        self.end_headers()


def note_stop(*_: object) -> None:
    with (Path(folder) / "stops").open("a") as stops:
        stops.write(f"{part}\n")
    os._exit(0)


if how == ["ENDS"]:
    sys.exit(f"the {part} has no heart for it")
settings = {name: value for name, value in os.environ.items() if name.startswith("SKYSAIL_")}
(Path(folder) / f"{part}.json").write_text(json.dumps(settings))
signal.signal(signal.SIGTERM, note_stop)
TCPServer.allow_reuse_address = True
TCPServer(("127.0.0.1", int(settings[f"SKYSAIL_{part.upper()}__PORT"])), Handler).serve_forever()
