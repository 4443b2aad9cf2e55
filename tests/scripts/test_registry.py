"""scripts/registry, with a real registry on a free port and a directory of its own."""

import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "registry"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def registry(tmp_path):
    """Runs the script; whatever it started is ended."""
    port = free_port()
    environment = os.environ | {"XTASK_REGISTRY_PORT": str(port), "XTASK_REGISTRY_DIR": str(tmp_path / "registry")}

    def run(word, **more):
        done = subprocess.run([SCRIPT, word], capture_output=True, text=True, timeout=60, env=environment | more)
        return done.returncode, done.stdout.strip(), done.stderr

    run.port, run.address, run.dir = port, f"127.0.0.1:{port}", tmp_path / "registry"
    yield run
    run("remove")


def answers(address):
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_start_twice_status_stop_twice(registry):
    assert registry("status")[0] == 1
    assert registry("start") == (0, registry.address, "")
    assert answers(registry.address)
    pid = (registry.dir / "pid").read_text()
    assert registry("start") == (0, registry.address, "")
    assert (registry.dir / "pid").read_text() == pid
    assert registry("status") == (0, registry.address, "")
    assert registry("stop") == (0, "", "")
    assert not answers(registry.address)
    assert registry("stop") == (0, "", "")


def test_what_was_pushed_stays_until_it_is_removed(registry):
    registry("start")
    (registry.dir / "storage" / "pushed").touch()
    registry("stop")
    registry("start")
    assert (registry.dir / "storage" / "pushed").exists()
    registry("remove")
    assert not registry.dir.exists()
    assert not answers(registry.address)


def test_release_stops_only_what_hold_started(registry):
    assert registry("hold") == (0, registry.address, "")
    assert answers(registry.address)
    assert registry("release")[0] == 0
    assert not answers(registry.address)
    registry("start")
    registry("hold")
    registry("release")
    assert answers(registry.address), "a person's own registry stays"


def test_a_port_in_use_is_told(registry):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", registry.port))
        other.listen()
        code, out, err = registry("start")
    assert (code, out) == (2, "")
    assert f"error: `docker-registry` did not start on {registry.address}" in err
    assert "help: choose another port" in err
    assert not (registry.dir / "pid").exists()


def test_a_killed_registry_is_started_again_and_a_foreign_process_is_left_alone(registry):
    registry("start")
    os.kill(int((registry.dir / "pid").read_text()), signal.SIGKILL)
    with subprocess.Popen(["sleep", "60"]) as other:
        (registry.dir / "pid").write_text(f"{other.pid}\n")
        assert registry("status")[0] == 1
        assert registry("stop")[0] == 0
        assert other.poll() is None
        other.kill()
    assert registry("start")[0] == 0
    assert answers(registry.address)


def test_its_configuration_is_its_own(registry):
    assert registry("start", REGISTRY_HTTP_ADDR="127.0.0.1:1") == (0, registry.address, "")


def test_an_unknown_word_is_refused(registry):
    code, _, err = registry("begin")
    assert code == 2
    assert "error: `registry` takes one of" in err
