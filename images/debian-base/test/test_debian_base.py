"""debian-base: an ordinary small Debian, ready to have packages added."""


def test_it_is_bookworm(idle):
    assert idle.sh(". /etc/os-release && echo $VERSION_CODENAME") == "bookworm"


def test_packages_are_whole(idle):
    assert idle.run("dpkg", "--audit").stdout == ""


def test_public_certificates_are_there(idle):
    assert int(idle.sh("grep -c BEGIN.CERTIFICATE /etc/ssl/certs/ca-certificates.crt")) > 100


def test_the_american_locale_works(idle):
    assert idle.sh("locale -a | grep -c en_US.utf8") == "1"
    assert idle.sh("printf 'ä' | wc -m") == "1"


def test_package_sources_hold_no_password(idle):
    assert idle.sh("cat /etc/apt/sources.list.d/* | grep -c ^URIs") != "0"
    assert idle.sh("grep -rE '://[^/ ]*@' /etc/apt || true", user="0") == ""


def test_manual_pages_and_translations_are_left_out(idle):
    assert idle.sh("find /usr/share/man /usr/share/locale -type f ! -name locale.alias 2>/dev/null || true") == ""
