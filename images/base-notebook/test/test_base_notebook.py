"""base-notebook: what can be said of the Jupyter server without starting it."""


def test_the_version_told_is_the_version_installed(idle):
    told = idle.run("jupyter-lab", "--version").stdout.strip()
    code = "import importlib.metadata as m; print(m.version('jupyterlab'))"
    assert told == idle.run("python", "-c", code).stdout.strip()


def test_a_python_kernel_is_there(idle):
    assert "python3" in idle.run("jupyter", "kernelspec", "list").stdout


def test_a_notebook_runs(idle):
    notebook = """{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"id": "a", "cell_type": "code",
      "source": "print(6 * 7)", "metadata": {}, "outputs": [], "execution_count": null}]}"""
    out = idle.run("jupyter", "nbconvert", "--stdin", "--stdout", "--execute", "--to", "markdown", stdin=notebook)
    assert "42" in out.stdout.split()


def test_the_health_check_fails_without_a_server(idle):
    assert idle.run("healthcheck", check=False).returncode != 0
