"""Every image of the small stack is tested by its id, never by a name that may move."""

import os


def test_the_image_is_named_by_its_id():
    assert os.environ["TEST_IMAGE"].startswith("sha256:")
