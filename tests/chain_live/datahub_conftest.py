"""The interface that tests of datahub's stacks expect of their conftest: one container per test, by the Docker SDK."""

import logging
import os

import docker
import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

LOGGER = logging.getLogger(__name__)


@pytest.fixture(scope="session")
def http_client():
    """Requests session with retries and backoff."""
    session = requests.Session()
    retries = Retry(total=5, backoff_factor=1)
    session.mount("http://", HTTPAdapter(max_retries=retries))
    session.mount("https://", HTTPAdapter(max_retries=retries))
    return session


@pytest.fixture(scope="session")
def docker_client():
    """Docker client configured based on the host environment."""
    return docker.from_env()


@pytest.fixture(scope="session")
def image_name():
    """Image name to test."""
    return os.getenv("TEST_IMAGE", "base-notebook")


class TrackedContainer:
    """Wrapper that collects docker container configuration and delays container creation/execution."""

    def __init__(self, docker_client, image_name, **kwargs):
        self.container = None
        self.docker_client = docker_client
        self.image_name = image_name
        self.kwargs = kwargs

    def run(self, **kwargs):
        """Runs a docker container using the preconfigured image name and a mix of the preconfigured options."""
        all_kwargs = {**self.kwargs, **kwargs}
        LOGGER.info("Running %s with args %s ...", self.image_name, all_kwargs)
        self.container = self.docker_client.containers.run(self.image_name, **all_kwargs)
        return self.container

    def remove(self):
        """Kills and removes the tracked docker container."""
        if self.container:
            self.container.remove(force=True)


@pytest.fixture(scope="function")
def container(docker_client, image_name):
    """A container that is started with port 8888 published, and removed after the test."""
    tracked = TrackedContainer(docker_client, image_name, detach=True, ports={"8888/tcp": 8888})
    yield tracked
    tracked.remove()
