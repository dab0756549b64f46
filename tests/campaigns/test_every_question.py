"""The rows of ``docs/questions.md`` that the suite leaves out."""

import pytest

from tests.questions import ANSWERED, PARTS, missing, output


@pytest.mark.parametrize("row", [row for row in ANSWERED if row not in PARTS], ids=str)
def test_the_answer_is_what_is_printed(row, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = output(row, monkeypatch, capsys)
    assert not missing(row, said), said
