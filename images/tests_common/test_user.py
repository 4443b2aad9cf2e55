"""Every image: work is done by a user that is not root, in a home of its own."""


def test_user_is_jovyan_with_uid_1000(idle):
    assert idle.sh("id -u; id -g; id -un; echo $HOME").split() == ["1000", "1000", "jovyan", "/home/jovyan"]


def test_everything_at_home_belongs_to_the_user(idle):
    assert idle.sh("stat -c %u ~; find ~ ! -user 1000 -o ! -group 1000") == "1000"


def test_files_made_by_the_user_belong_to_the_user(idle):
    assert idle.sh("touch ~/made && stat -c '%u %g' ~/made && rm ~/made") == "1000 1000"


def test_text_is_utf_8(idle):
    assert idle.sh("locale charmap") == "UTF-8"


def test_a_small_init_is_first_and_passes_signals_on(start):
    container = start("sh", "-c", "trap 'exit 7' TERM; touch /tmp/ready; while :; do sleep 0.1; done")
    container.sh("while [ ! -e /tmp/ready ]; do sleep 0.1; done")
    assert container.sh("cat /proc/1/comm") == "tini"
    assert container.stop(seconds=20) == 7
