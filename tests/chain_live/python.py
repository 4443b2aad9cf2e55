"""Copies the Python of this machine, as far as pytest needs it, into a folder that can be a whole image."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest


def copy(path, root):
    to = os.path.join(root, path.lstrip("/"))
    if not os.path.exists(to):
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copy2(os.path.realpath(path), to)


def libraries(path):
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    words = done.stdout.split() if done.returncode == 0 else []
    return {word for word in words if word.startswith("/")}


root = sys.argv[1]
with tempfile.TemporaryDirectory() as tests:
    with open(os.path.join(tests, "test_both.py"), "w") as file:
        file.write("def test_passes():\n    assert 1\n\n\ndef test_fails():\n    assert [1, 2] == [1]\n")
    # Whatever was loaded by then is what pytest needs.
    report = os.path.join(tests, "report.xml")
    pytest.main(["-q", "-p", "no:cacheprovider", "--import-mode=importlib", f"--junitxml={report}", tests])
modules = list(sys.modules.values())
files = {module.__file__ for module in modules if getattr(module, "__file__", None)}
files = {file for file in files if file.startswith(("/usr/", "/lib"))}
# pytest finds its plugins by what is said of distributions.
for module in list(sys.modules):
    parts = module.split(".")
    if parts[0] in ("encodings", "_pytest", "pytest"):
        folder = os.path.dirname(sys.modules[parts[0]].__file__)
        files |= {os.path.join(base, name) for base, _, names in os.walk(folder) for name in names if name.endswith(".py")}
for file in sorted(files):
    copy(file, root)
    for library in libraries(file) if file.endswith(".so") else ():
        copy(library, root)
program = os.path.realpath(sys.executable)
for library in libraries(program):
    copy(library, root)
os.makedirs(os.path.join(root, "usr/bin"), exist_ok=True)
os.makedirs(os.path.join(root, "tmp"), exist_ok=True)
shutil.copy2(program, os.path.join(root, "usr/bin/python3"))
open(os.path.join(root, "tmp/.keep"), "w").close()
