"""python-base: a venv that works, made by a compiler that stayed behind."""

import json

import pytest


@pytest.mark.parametrize("tool", ["cc", "gcc", "c++", "ld", "make"])
def test_no_compiler(idle, tool):
    assert idle.run("sh", "-c", f"command -v {tool}", check=False).returncode != 0


def test_no_headers_of_python(idle):
    assert idle.sh("find /usr/include /opt/venv -name Python.h 2>/dev/null || true", user="0") == ""


def test_the_venv_comes_first(idle):
    assert idle.sh("command -v python; command -v pip").split() == ["/opt/venv/bin/python", "/opt/venv/bin/pip"]
    assert idle.run("python", "-c", "import sys; print(sys.prefix)").stdout == "/opt/venv\n"


def test_psutil_was_compiled_here_and_works(idle):
    code = """
import importlib.metadata, json, psutil
wheel = importlib.metadata.distribution("psutil").read_text("WHEEL")
print(json.dumps({"wheel": wheel, "cpus": psutil.cpu_count(), "pid": psutil.Process(1).name()}))
"""
    told = json.loads(idle.run("python", "-", stdin=code).stdout)
    assert "manylinux" not in told["wheel"]
    assert told["cpus"] >= 1
    assert told["pid"] == "tini"


def test_the_standard_library_is_whole(idle):
    idle.run("python", "-c", "import bz2, ctypes, lzma, readline, sqlite3, ssl, uuid, zlib, zoneinfo, venv")


def test_requirements_of_all_packages_are_met(idle):
    assert "No broken requirements" in idle.run("pip", "check").stdout


def test_the_user_may_add_packages(idle):
    package = """
import pathlib, subprocess, sys
home = pathlib.Path("/tmp/added"); home.mkdir()
(home / "added.py").write_text("ANSWER = 42\\n")
import sysconfig
target = pathlib.Path(sysconfig.get_paths()["purelib"]) / "added.pth"
target.write_text(str(home) + "\\n")
print(subprocess.run([sys.executable, "-c", "import added; print(added.ANSWER)"], capture_output=True, text=True).stdout)
target.unlink()
"""
    assert idle.run("python", "-", stdin=package).stdout.split() == ["42"]
    assert idle.sh("find /opt/venv ! -user 1000 | head") == ""
