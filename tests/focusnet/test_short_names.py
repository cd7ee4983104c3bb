"""Short names of settings."""

from focusnet.config import short_names


def test_a_setting_goes_by_its_last_name_unless_another_has_the_same():
    names = short_names(["focus.lr", "template.lr", "focus.weight"])
    assert names == {"focus.lr": "focus.lr", "template.lr": "template.lr", "focus.weight": "weight"}
