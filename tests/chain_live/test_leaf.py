"""The last image of the small stack runs, and has its note."""

import os
import subprocess


def test_it_has_its_note():
    command = ["docker", "run", "--rm", "--network=none", os.environ["TEST_IMAGE"], "/tool", "cat", "/note/leaf.txt"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("note of leaf")
