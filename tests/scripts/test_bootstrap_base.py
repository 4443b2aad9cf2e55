"""scripts/bootstrap-base: what it asks mmdebstrap for, and what it says when it cannot. No base is made here."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bootstrap-base"

# Writes down what it was asked for, and a tar that is none.
STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" >"$TOLD/arguments"
echo "$SOURCE_DATE_EPOCH" >"$TOLD/epoch"
: >"$TOLD/sources"; : >"$TOLD/apt"
for word in "$@"; do
    case $word in
    */sources) cp "$word" "$TOLD/sources" ;;
    --aptopt=*) cat "${word#--aptopt=}" >>"$TOLD/apt" ;;
    */base.tar) echo tar >"$word" ;;
    esac
done
[ ! -e "$TOLD/fail" ] || { echo "E: the mirror is away"; exit 25; }
"""


@pytest.fixture
def told(tmp_path, monkeypatch):
    """The directory in which the stand-in for mmdebstrap writes, with an empty apt configuration in force."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "mmdebstrap").write_text(STAND_IN)
    (bin_dir / "mmdebstrap").chmod(0o755)
    (tmp_path / "parts").mkdir()
    (tmp_path / "none").mkdir()
    apt(tmp_path)
    monkeypatch.setenv("PATH", f"{bin_dir}:{os.environ['PATH']}")
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setenv("TOLD", str(tmp_path))
    for name in ("XTASK_APT_SOURCES", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def apt(directory, more=""):
    (directory / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{directory}/sources.list"; Dir::Etc::sourceparts "{directory}/parts/"; '
        f'Dir::Etc::parts "{directory}/none/"; Dir::Etc::main "{directory}/none.conf"; {more}'
    )


def bootstrap(*words):
    return subprocess.run([SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=60)


def made(told):
    done = bootstrap(told / "out.tar")
    assert (done.returncode, done.stderr) == (0, "")
    assert (told / "out.tar").read_text() == "tar\n"
    return (told / "sources").read_text()


def test_sources_in_both_forms_reach_the_base(told):
    (told / "sources.list").write_text(
        "# a comment\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror/debian bookworm main contrib\n"
        "deb-src http://mirror/debian bookworm main\n"
    )
    (told / "parts" / "security.sources").write_text(
        "# the mirror of the house\nTypes: deb deb-src\nURIs: https://mirror/security\n https://second/security\n"
        "Suites: bookworm-security trixie-security\nComponents: main\n"
    )
    sources = made(told)
    assert "URIs: http://mirror/debian\nSuites: bookworm\nComponents: main\n" in sources
    assert "URIs: https://mirror/security https://second/security\nSuites: bookworm-security\n" in sources
    assert sources.count("Types: deb\n") == 2
    assert "trixie" not in sources and "contrib" not in sources and "deb-src" not in sources


def test_what_is_not_debians_own_is_left_out(told):
    (told / "sources.list").write_text(
        "deb http://others/apt bookworm stable\n"
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb http://mirror/debian trixie main\n"
        "#deb http://mirror/off bookworm main\n"
    )
    (told / "parts" / "others.sources").write_text(
        "Types: deb\nURIs: https://others/debian\nSuites: bookworm\nComponents: main\nSigned-By: /etc/apt/others.gpg\n\n"
        "Types: deb\nURIs: https://mirror/off\nSuites: bookworm\nComponents: main\nEnabled: no\n\n"
        "Types: deb\nURIs: mirror+file:/etc/apt/mirrors.list\nSuites: bookworm\nComponents: main\n"
    )
    assert made(told) == ""
    assert (told / "arguments").read_text().splitlines()[-2] == "bookworm", "mmdebstrap is left to its own sources"


def test_sources_can_be_given(told, monkeypatch):
    (told / "given").write_text("Types: deb\nURIs: http://given/debian\nSuites: bookworm\nComponents: main\n")
    monkeypatch.setenv("XTASK_APT_SOURCES", str(told / "given"))
    assert made(told) == (told / "given").read_text()


def test_a_password_never_gets_into_the_base(told):
    (told / "sources.list").write_text("deb https://me:secret@mirror/debian bookworm main\n")
    done = bootstrap(told / "out.tar")
    assert done.returncode == 3
    assert "hold a password" in done.stderr and "help: " in done.stderr
    assert "secret" not in done.stderr
    assert not (told / "arguments").exists()


def test_proxy_and_age_rules_of_the_host_are_used(told):
    apt(told, 'Acquire::Check-Valid-Until "false"; Acquire::http::Proxy "http://proxy:3128";')
    made(told)
    rules = (told / "apt").read_text()
    assert 'Acquire::Check-Valid-Until "false";' in rules
    assert 'Acquire::http::Proxy "http://proxy:3128";' in rules


def test_times_are_fixed_unless_given(told, monkeypatch):
    made(told)
    first = (told / "epoch").read_text()
    made(told)
    assert (told / "epoch").read_text() == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    made(told)
    assert (told / "epoch").read_text() == "7\n"


def test_a_failure_shows_the_last_lines_and_leaves_nothing(told):
    (told / "fail").touch()
    done = bootstrap(told / "out.tar")
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "E: the mirror is away"
    assert "error: `mmdebstrap` could not make `bookworm`" in done.stderr
    assert not (told / "out.tar").exists()


@pytest.mark.parametrize(
    "words, said",
    [([], "error: `bootstrap-base` takes"), (["/no/such/dir/a.tar"], "its directory does not exist\n  help: mkdir -p")],
)
def test_wrong_words_are_told(told, words, said):
    done = bootstrap(*words)
    assert done.returncode == 3
    assert said in done.stderr


def test_a_missing_program_is_told_with_the_command_that_installs_it(told, monkeypatch):
    bare = told / "bare"
    bare.mkdir()
    (bare / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(bare))
    done = bootstrap(told / "out.tar")
    assert done.returncode == 3
    assert "error: `mmdebstrap` is not installed\n  help: sudo apt-get install --yes mmdebstrap\n" == done.stderr
