import pytest

from minialex.bench import report
from minialex.bench.record import write
from minialex.bench.report import fill, stale
from minialex.errors import MinialexError
from tests.bench.fake_records import record

DOCUMENT = """# Speed

<!-- bench:layers -->
old
<!-- /bench -->

Text.
<!-- bench:machine -->
<!-- /bench -->
"""


def test_what_stands_between_markers_is_replaced_and_nothing_else():
    assert fill(DOCUMENT, lambda name: f"table {name}") == (
        "# Speed\n\n<!-- bench:layers -->\ntable layers\n<!-- /bench -->\n\nText.\n"
        "<!-- bench:machine -->\ntable machine\n<!-- /bench -->\n"
    )


def test_markers_of_another_kind_are_left_alone():
    text = "<!-- profile:1_naive.cu -->\nold\n<!-- /profile -->\n"
    assert fill(text, str) == text
    assert fill(DOCUMENT, str, "profile") == DOCUMENT
    assert fill(text, str.upper, "profile") == text.replace("old", "1_NAIVE.CU")


def test_filling_twice_changes_nothing_more():
    once = fill(DOCUMENT, str.upper)
    assert fill(once, str.upper) == once


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<!-- bench:a -->\n", "bench:a is not closed"),
        ("<!-- bench:a -->\n<!-- bench:b -->\n<!-- /bench -->", "bench:a is not closed"),
        ("<!-- /bench -->", "closes no marker"),
    ],
)
def test_markers_that_do_not_match_are_refused(text, what):
    with pytest.raises(MinialexError, match=what):
        fill(text, str)


def test_the_command_checks_and_writes(tree, capsys):
    assert report.main(["--check"], tree) == 1
    assert "README.md: tables out of date" in capsys.readouterr().out
    assert report.main([], tree) == 0
    assert "README.md: tables written" in capsys.readouterr().out
    assert report.main(["--check"], tree) == 0
    assert (tree / report.RESULTS / "roofline.png").exists()
    assert (tree / report.RESULTS / "cpu" / "roofline.png").exists()


def test_the_command_names_what_is_wrong(tree, capsys):
    (tree / "README.md").write_text("<!-- /bench -->")
    assert report.main([], tree) == 2
    assert "README.md: <!-- /bench --> closes no marker" in capsys.readouterr().out
    assert report.main(["--chekc"], tree) == 2


@pytest.fixture
def tree(tmp_path):
    write(record(1, cases=2), tmp_path / report.RESULTS / "cpu" / "record.json")
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(DOCUMENT)
    (tmp_path / "docs" / "none.md").write_text("no markers here")
    return tmp_path


def test_documents_are_stale_until_they_are_written(tree):
    wanted = stale(tree)
    assert list(wanted) == [tree / "README.md"]
    assert "| alexnet conv2d 1 forward | " in wanted[tree / "README.md"]
    (tree / "README.md").write_text(wanted[tree / "README.md"])
    assert stale(tree) == {}


def test_a_new_result_makes_them_stale_again(tree):
    (tree / "README.md").write_text(stale(tree)[tree / "README.md"])
    write(record(2, cases=3), tree / report.RESULTS / "cpu" / "record.json")
    assert list(stale(tree)) == [tree / "README.md"]


def test_an_unknown_table_is_named_with_its_document(tree):
    (tree / "README.md").write_text("<!-- bench:nonsense -->\n<!-- /bench -->")
    with pytest.raises(MinialexError, match=r"README\.md: .*'nonsense'.* machine"):
        stale(tree)


def test_a_table_that_no_result_can_fill_is_named(tree):
    (tree / "README.md").write_text("<!-- bench:memory -->\n<!-- /bench -->")
    with pytest.raises(MinialexError, match=r"README\.md: .*'memory'"):
        stale(tree)


def test_markers_without_any_results_are_refused(tmp_path):
    (tmp_path / "README.md").write_text("no markers")
    assert stale(tmp_path) == {}
    (tmp_path / "README.md").write_text(DOCUMENT)
    with pytest.raises(MinialexError, match="no record has"):
        stale(tmp_path)
