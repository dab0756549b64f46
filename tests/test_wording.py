"""The words that many messages share."""

import pytest

from minialex.wording import counted, enumerated, one_line, unknown


@pytest.mark.parametrize(
    ("n", "noun", "expected"),
    [
        (1, "file", "1 file"),
        (0, "file", "0 files"),
        (1200, "validation image", "1,200 validation images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (3, "batch", "3 batches"),
        (2, "epoch", "2 epochs"),
    ],
)
def test_a_count_has_its_noun_in_the_right_number(n, noun, expected):
    assert counted(n, noun) == expected


def test_a_long_list_ends_in_a_count():
    assert enumerated("abc", 3) == "a, b, c"
    assert enumerated("abcd", 2) == "a, b and 2 more"


def test_an_unknown_name_is_answered_with_the_nearest_or_with_all():
    ops = "relu", "conv2d"
    assert unknown("op", "reul", ops) == "unknown op 'reul': did you mean 'relu'?"
    assert unknown("op", "nope", ops) == "unknown op 'nope'; known: relu, conv2d"


def test_control_characters_are_written_out_and_lines_of_a_message_stay():
    assert one_line("a\nb\tc\x1b[31m\r\u2028\udcff é 猫") == (r"a\nb\tc\x1b[31m\r\u2028\udcff é 猫")
    assert one_line("does not compile:\n  first\n  second") == (
        "does not compile:\n  first\n  second"
    )
