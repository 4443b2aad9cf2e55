"""base-notebook and what is built on it: the Jupyter server, as a person meets it."""

import json

import pytest

TOKEN = "a-token-for-this-test"


@pytest.fixture(scope="module")
def server(start):
    """One server for all tests of this module."""
    container = start(options=["--env", f"JUPYTER_TOKEN={TOKEN}", "--publish", "127.0.0.1::8888"], health=True)
    container.wait_healthy(180)
    return container


def test_the_server_answers_from_outside_to_who_has_the_token(server, http, local_engine):
    base = f"http://{server.published(8888)}/api"
    status, body = http(base)
    assert status == 200
    assert json.loads(body)["version"]
    assert http(f"{base}/contents")[0] == 403
    assert http(f"{base}/contents", token="wrong")[0] == 403
    status, body = http(f"{base}/contents", token=TOKEN)
    assert status == 200
    assert json.loads(body)["type"] == "directory"


def test_the_server_starts_and_ends_kernels(server):
    code = f"""
import json, urllib.request
def ask(method, path, body=None):
    request = urllib.request.Request("http://127.0.0.1:8888/api/" + path, method=method, data=body,
                                     headers={{"Authorization": "token {TOKEN}"}})
    return urllib.request.urlopen(request, timeout=30).read()
kernel = json.loads(ask("POST", "kernels", b'{{"name": "python3"}}'))
assert [one["id"] for one in json.loads(ask("GET", "kernels"))] == [kernel["id"]]
ask("DELETE", "kernels/" + kernel["id"])
print(json.loads(ask("GET", "kernels")))
"""
    assert server.run("python", "-", stdin=code).stdout.strip() == "[]"


def test_the_token_is_not_logged(server):
    assert TOKEN not in server.logs()


def test_the_server_ends_when_told(server):
    """The last of this module: the others need the server."""
    assert server.stop(seconds=30) != 137, "it had to be killed"
