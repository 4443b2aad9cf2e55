"""Runs a program on a new terminal, does what it is told when it sees what it waits for, and prints how it ended.

Words: seconds of patience, acts as JSON, program, words of the program. An act is [text to wait for in the output or a
path to wait for, or `+N`: N more bytes of output; what to do]: `ctrl-c`, `ctrl-z`, `wait`, `fg` or the name of a signal.
"""

import json
import os
import pty
import select
import signal
import sys
import termios
import time

patience, acts, program = float(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program[0], program)
before = termios.tcgetattr(terminal)
output, begun, stops, last_act, seen = b"", time.time(), 0, None, 0


def due(trigger):
    """Whether what an act waits for is there."""
    if trigger.startswith("+"):
        return len(output) >= seen + int(trigger)
    return not trigger or trigger.encode() in output or (trigger.startswith("/") and os.path.exists(trigger))


def read(seconds=0.01):
    global output
    if select.select([terminal], [], [], seconds)[0]:
        try:
            output += os.read(terminal, 65536)
        except OSError:
            time.sleep(seconds)


def stopped():
    """Whether the program is suspended now, or has ended."""
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] in "TZ"


def give_up(why):
    os.kill(pid, signal.SIGKILL)
    sys.exit(f"{why}: {output[-2000:]!r}")


status = None
while status is None:
    read()
    if acts:
        trigger, act = acts[0]
        if due(trigger):
            acts.pop(0)
            last_act, seen = time.time(), len(output)
            if act == "ctrl-c":
                os.write(terminal, b"\x03")
            elif act == "ctrl-z":
                os.write(terminal, b"\x1a")
                while not stopped():
                    read()
                    if time.time() > begun + patience:
                        give_up("it was never suspended")
                stops += 1
            elif act == "fg":
                os.kill(-os.getpgid(pid), signal.SIGCONT)
            elif act == "wait":
                time.sleep(0.05)
            else:
                os.kill(pid, getattr(signal, act))
    done, found = os.waitpid(pid, os.WNOHANG)
    if done:
        status = found
    elif time.time() > begun + patience:
        give_up("it never ended")
ended = time.time()
for _ in range(20):
    read(0.005)
shown, hidden = output.rfind(b"\x1b[?25h"), output.rfind(b"\x1b[?25l")
print(json.dumps({
    "code": 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
    "seconds": ended - (last_act or begun),
    "stops": stops,
    "settings": termios.tcgetattr(terminal) == before,
    "cursor": hidden < 0 or shown > hidden,
    "output": output.decode("utf-8", "replace"),
}))
