"""datascience-notebook: data is read, computed with and drawn."""

import base64
import struct

import pytest


@pytest.mark.parametrize("name", ["matplotlib", "matplotlib.pyplot", "numpy", "pandas"])
def test_import(idle, name):
    idle.run("python", "-W", "error::ImportWarning", "-c", f"import {name}")


def test_numpy_solves_equations(idle):
    code = "import numpy as n; print(n.linalg.solve([[3.0, 1.0], [1.0, 2.0]], [9.0, 8.0]).round(9).tolist())"
    assert idle.run("python", "-c", code).stdout.strip() == "[2.0, 3.0]"


def test_pandas_groups(idle):
    code = """
import io, pandas
table = pandas.read_csv(io.StringIO("kind,size\\na,1\\nb,2\\na,3\\n"))
print(table.groupby("kind")["size"].sum().to_dict())
"""
    assert idle.run("python", "-", stdin=code).stdout.strip() == "{'a': 4, 'b': 2}"


def test_matplotlib_draws_a_picture(idle):
    code = """
import base64, io, matplotlib.pyplot as plot
figure, axes = plot.subplots(figsize=(4, 3), dpi=100)
axes.plot([1, 2, 3], [3, 1, 2]); axes.set_title("Größe")
picture = io.BytesIO(); figure.savefig(picture, format="png")
print(base64.b64encode(picture.getvalue()).decode())
"""
    picture = base64.b64decode(idle.run("python", "-", stdin=code).stdout)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (400, 300)
    assert len(picture) > 3000
