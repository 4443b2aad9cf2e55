"""Tests as datahub's stacks have them."""


def test_what_is_in_it(container):
    running = container.run(command=["/tool", "cat", "/note/base.txt"])
    assert running.wait(timeout=60)["StatusCode"] == 0
    assert running.logs().decode().startswith("note of base")


def test_a_running_container(container, docker_client, image_name, http_client):
    running = container.run(command=["/tool", "sleep", "60"], ports={})
    done = running.exec_run(["/tool", "say", "inside"])
    assert (done.exit_code, done.output) == (0, b"inside\n")
    assert docker_client.images.get(image_name).id == image_name
    assert http_client.adapters["http://"].max_retries.total == 5
