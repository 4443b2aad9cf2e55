"""What the tests of all images use: the image under test, and containers of it that always go away again.

The tests run on the host, under the pytest of Debian, with TEST_IMAGE naming the image (best by its id). They know the
engine only through the `docker` program, which finds it by DOCKER_HOST or its context like anywhere else. Nothing here
has a fixed name or port, so that tests of several images run side by side.
"""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid

import pytest


def docker(*words, check=True, stdin=None, timeout=120):
    """Runs the docker program; the result has `returncode`, `stdout` and `stderr` (text). Fails the test on an error."""
    done = subprocess.run(
        ["docker", *words], input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout
    )
    if check and done.returncode != 0:
        pytest.fail(f"docker {' '.join(words)} gave {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False)
    return done


class Container:
    """A running container. Its image's health check is off unless asked for: it would only take time from the tests."""

    def __init__(self, image, *command, options=(), health=False):
        self.name = f"xtask-test-{uuid.uuid4().hex[:12]}"
        labels = ["--label", "xtask.role=image-test"]
        if os.environ.get("XTASK_RUN_ID"):
            labels += ["--label", f"xtask.run={os.environ['XTASK_RUN_ID']}"]
        if os.environ.get("XTASK_OWNER"):
            # A run that is killed leaves its containers to the next one, which knows them by this.
            labels += ["--label", f"dev.xtask.owner={os.environ['XTASK_OWNER']}"]
        if not health:
            labels.append("--no-healthcheck")
        try:
            docker("run", "--detach", "--name", self.name, *labels, *options, image, *command)
        except BaseException:
            self.remove()
            raise

    def run(self, *command, check=True, stdin=None, user=None, timeout=120):
        """Runs a command in it, as its own user unless told otherwise."""
        flags = (["--interactive"] if stdin is not None else []) + (["--user", user] if user else [])
        return docker("exec", *flags, self.name, *command, check=check, stdin=stdin, timeout=timeout)

    def sh(self, script, **options):
        """What a shell script prints in it, without the last newline."""
        return self.run("sh", "-eu", "-c", script, **options).stdout.rstrip("\n")

    def inspect(self):
        return json.loads(docker("inspect", self.name).stdout)[0]

    def logs(self):
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    def wait_healthy(self, seconds):
        """Waits until the image's own health check is content."""
        until = time.monotonic() + seconds
        while True:
            state = self.inspect()["State"]
            if state.get("Health", {}).get("Status") == "healthy":
                return
            if not state["Running"] or time.monotonic() > until:
                pytest.fail(f"not healthy after {seconds} s: {state}\n{self.logs()}", pytrace=False)
            time.sleep(0.5)

    def stop(self, seconds):
        """Asks it to end, kills it after so long, and returns its exit code (137 if it had to be killed)."""
        docker("stop", "--time", str(seconds), self.name, timeout=seconds + 60)
        return self.inspect()["State"]["ExitCode"]

    def published(self, port):
        """Where a port published with `--publish 127.0.0.1::PORT` is on this machine."""
        return docker("port", self.name, str(port)).stdout.split()[0]

    def remove(self):
        docker("rm", "--force", "--volumes", self.name, check=False)


def engine_is_here():
    """Whether published ports of containers can be reached over this machine's loopback."""
    host = os.environ.get("DOCKER_HOST") or docker(
        "context", "inspect", "--format", "{{.Endpoints.docker.Host}}", check=False
    ).stdout
    return not host.strip() or host.startswith("unix://")


def http_get(url, token=None):
    """Status and body of an answer, whatever the status."""
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def pytest_configure(config):
    """A polite end of pytest ends its containers too: SIGTERM is treated like Ctrl-C."""

    def stop(number, _frame):
        raise KeyboardInterrupt(f"signal {number}")

    signal.signal(signal.SIGTERM, stop)


@pytest.fixture(scope="session")
def image():
    """The image under test, as the engine knows it."""
    name = os.environ.get("TEST_IMAGE")
    if not name:
        pytest.exit("TEST_IMAGE is not set: it names the image to test", returncode=4)
    return name


@pytest.fixture(scope="session")
def image_config(image):
    """What `docker image inspect` says about it."""
    return json.loads(docker("image", "inspect", image).stdout)[0]


@pytest.fixture(scope="module")
def start(image):
    """Starts containers: `start("sleep", "9", options=["--env", "A=b"])`. All are removed after the module's tests."""
    started = []

    def one(*command, options=(), health=False):
        container = Container(image, *command, options=options, health=health)
        started.append(container)
        return container

    yield one
    for container in started:
        container.remove()


@pytest.fixture(scope="module")
def idle(image):
    """One container that does nothing, for the tests of a module that only look or compute."""
    container = Container(image, "sleep", "infinity")
    yield container
    container.remove()


@pytest.fixture(scope="session")
def http():
    """The function `http_get`."""
    return http_get


@pytest.fixture
def local_engine():
    """For tests that reach a container from outside."""
    if not engine_is_here():
        pytest.skip("the engine is on another machine: its published ports are not on this loopback")
