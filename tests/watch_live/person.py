"""A person at a terminal: runs a program on one, and acts by what is to be seen.

Arguments: the words of the program, and the steps, both as JSON. A step is a text to wait for, an act, and its words:
`key` types them, `insist` types them until the next text is to be seen, `write` writes a file (`name=content`),
`signal` sends one to the program, `modes` asks the terminal whether it collects lines and shows what is typed. Prints the exit code (negative: a signal), whether the terminal's
settings are as before, and the answers to `modes`."""

import ctypes
import json
import os
import pty
import re
import select
import signal
import sys
import termios
import time


def die_with_parent():
    """Whoever is killed takes the next one along: the test this program, this program the one it runs."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def plain(seen):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode(errors="replace"))


def modes(terminal):
    flags = termios.tcgetattr(terminal)[3]
    return [bool(flags & termios.ICANON), bool(flags & termios.ECHO)]


die_with_parent()
program, steps = json.loads(sys.argv[1]), json.loads(sys.argv[2])
pid, terminal = pty.fork()
if pid == 0:
    die_with_parent()
    os.environ["TERM"] = "xterm-256color"
    os.execvp(program[0], program)
before = termios.tcgetattr(terminal)
seen, past, answers, insists = b"", 0, [], None
deadline = time.time() + 50
for wanted, act, words in steps:
    # Behind what was waited for before: the same words may have stood there already.
    while wanted not in plain(seen)[past:]:
        if insists and time.time() > asked + 0.5:
            os.write(terminal, insists)
            asked = time.time()
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                sys.exit("it ended without %r: %s" % (wanted, plain(seen)[past:]))
        if time.time() > deadline:
            sys.exit("no %r in %s" % (wanted, plain(seen)[past:]))
    past = plain(seen).index(wanted, past) + len(wanted)
    if act:
        seen, past = b"", 0
    insists, asked = None, time.time()
    if act in ("key", "insist"):
        os.write(terminal, words.encode())
        insists = words.encode() if act == "insist" else None
    elif act == "write":
        name, content = words.split("=")
        with open(name, "w") as file:
            file.write(content)
    elif act == "signal":
        os.kill(pid, getattr(signal, words))
    elif act == "modes":
        answers.append(modes(terminal))
while True:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        break
    if select.select([terminal], [], [], 0.02)[0]:
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            pass
    if time.time() > deadline:
        sys.exit("it never ended: %s" % plain(seen)[past:])
print(os.waitstatus_to_exitcode(status), termios.tcgetattr(terminal) == before, json.dumps(answers))
