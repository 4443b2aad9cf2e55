"""Types lines into a shell on a terminal of its own, presses Tab behind each, and waits for what the line must become.

Arguments: the words of the shell as JSON, the line that sets completion up, and pairs of [typed, wanted] as JSON.
"""

import json
import os
import pty
import re
import select
import sys
import time

shell, setup, cases = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm", PS1="READY> ", COLUMNS="200", LINES="60")
    os.execvp(shell[0], shell)

ESCAPE = re.compile(rb"\x1b(\[[0-9;?]*[a-zA-Z]|[=>]|\][^\x07]*\x07|\(B)")


def wait_for(wanted, what):
    seen, deadline = b"", time.time() + 90
    while wanted not in ESCAPE.sub(b"", seen).replace(b"\r", b"").replace(b"\x07", b""):
        if time.time() > deadline:
            sys.exit(f"{what}: `{wanted.decode()}` never came, but:\n{seen!r}")
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536)


def type_in(text):
    os.write(terminal, text.encode())


# The answer is computed, so that it differs from what the terminal echoes.
type_in(setup + "; stty -a >/dev/null; echo GO$((40 + 2))\n")
wait_for(b"GO42", "setting up")
for typed, wanted in cases:
    type_in(typed + "\t")
    wait_for(wanted.encode(), typed)
    type_in("\x15echo DONE$((40 + 2))\n")
    wait_for(b"DONE42", typed)
type_in("exit\n")
