"""The official command line tool, ready to run: `command_line.py SOCKET`.

Starting it costs seconds of imports each time. This program imports it once, unchanged, and runs every command in a
fork of itself, by the function that the installed program calls. A client connects to the socket, sends one line of
JSON, `{"argv": [...], "cwd": PATH, "env": {...}}`, and gets one line, `{"code": N, "stdout": TEXT, "stderr": TEXT}`.
Ends with its standard input.
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
import warnings

from meshagent.cli.cli import app

# What commands of rooms import when they run.
for name in (
    "agent containers dataset developer memory messaging queue room room_connect room_services scheduled_tasks "
    "services sessions sqlite storage sync"
).split():
    importlib.import_module(f"meshagent.cli.{name}")


def run(asked: dict) -> None:
    """The command, in a process of its own; does not return."""
    os.chdir(asked["cwd"])
    os.environ.update(asked["env"])
    sys.argv = ["meshagent", *asked["argv"]]
    code = 0
    try:
        sys.exit(app())
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve(connection: socket.socket) -> None:
    """One command, from a process between the server and it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked = json.loads(connection.makefile().readline())
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull) as nothing:
        child = os.fork()
        if child == 0:
            connection.close()
            for file, number in ((nothing, 0), (out, 1), (err, 2)):
                os.dup2(file.fileno(), number)
            run(asked)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    answer = {"code": os.waitstatus_to_exitcode(status), "stdout": texts[0], "stderr": texts[1]}
    connection.sendall(json.dumps(answer).encode() + b"\n")


# Libraries keep threads of their own; they know of forks.
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork.*", category=DeprecationWarning)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
while True:
    ready, _, _ = select.select([listener, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    accepted, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        serve(accepted)
        os._exit(0)
    accepted.close()
