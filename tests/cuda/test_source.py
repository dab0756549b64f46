"""Where the kernels' text is found, and how it is pasted together."""

from __future__ import annotations

import pytest

from minialex.cuda import source
from minialex.errors import MinialexError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installation of the package at a place of its own, without kernels yet."""
    root = tmp_path / "site" / "minialex"
    root.mkdir(parents=True)
    monkeypatch.setattr(source, "_PACKAGE", root)
    source.kernel_folder.cache_clear()
    source.clear_cache()
    yield root
    monkeypatch.undo()
    source.kernel_folder.cache_clear()
    source.clear_cache()


def fill(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "common.cuh").write_text("// common\n")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_in_a_checkout_the_kernels_lie_beside_the_package(package):
    folder = fill(package.parent / "kernels")
    assert source.kernel_folder() == folder


def test_in_a_wheel_they_lie_inside_it_and_come_first(package):
    fill(package.parent / "kernels")
    folder = fill(package / "_kernels")
    assert source.kernel_folder() == folder


def test_an_installation_without_kernels_says_so(package):
    with pytest.raises(MinialexError, match="no kernel sources"):
        source.kernel_folder()


def test_a_missing_file_is_named(package):
    fill(package / "_kernels")
    with pytest.raises(MinialexError, match=r"no kernel file 'nothing\.cu'"):
        source.read("nothing.cu")
    with pytest.raises(MinialexError, match=rf"^no file '{package}/nothing\.cu': check the path$"):
        source.read(package / "nothing.cu")


def test_the_common_header_stands_in_front_with_line_directives(package):
    fill(package / "_kernels", a_cu="int a;\n")
    text = source.read("a.cu").text
    assert text == '#line 1 "common.cuh"\n// common\n#line 1 "a.cu"\nint a;\n'


def test_includes_are_expanded_in_place_and_once(package):
    fill(
        package / "_kernels",
        a_cu='int a;\n#include "b.cuh"\nint c;\n#include "b.cuh"\n#include "common.cuh"\nint d;\n',
        b_cuh="int b;\n",
    )
    read = source.read("a.cu")
    assert read.text.splitlines()[2:] == [
        '#line 1 "a.cu"',
        "int a;",
        '#line 1 "b.cuh"',
        "int b;",
        '#line 3 "a.cu"',
        "int c;",
        '#line 5 "a.cu"',
        '#line 6 "a.cu"',
        "int d;",
    ]
    assert read.line("b.cuh", 1) == "int b;"
    assert read.line("a.cu", 6) == "int d;"
    assert read.line("a.cu", 0) == read.line("a.cu", 7) == read.line("c.cu", 1) == ""


def test_an_include_of_nothing_names_the_line(package):
    fill(package / "_kernels", a_cu='int a;\n#include "gone.cuh"\n')
    with pytest.raises(MinialexError, match=r'a\.cu:2: no file for #include "gone\.cuh"'):
        source.read("a.cu")


def test_of_a_compilers_log_the_first_five_errors_are_told():
    errors = [f"a.cu:{n}:1: error: no such thing" for n in range(7)]
    noise = ["a.cu: In function 'k':", "a.cu:1:1: warning: unused"]
    log = "\n".join(line for error in errors for line in (*noise, error))
    assert source.first_errors(log) == errors[:5]
    assert source.first_errors("\n".join("abcdefg")) == list("abcde")
    assert source.first_errors("") == []


def test_an_edited_header_changes_the_digest(package):
    folder = fill(package / "_kernels", a_cu='#include "b.cuh"\n', b_cuh="int b;\n")
    before = source.read("a.cu").digest
    (folder / "b.cuh").write_text("int b = 1;\n")
    source.clear_cache()
    assert source.read("a.cu").digest != before


def test_a_file_outside_the_folder_is_found_by_its_path(package, tmp_path):
    fill(package / "_kernels")
    own = tmp_path / "own.cu"
    own.write_text("int own;\n")
    assert f'#line 1 "{own}"' in source.read(own).text


def test_a_path_counts_from_where_the_program_runs(package, tmp_path, monkeypatch):
    fill(package / "_kernels", a_cu="int ours;\n")
    for name in ("own.cu", "a.cu"):
        (tmp_path / name).write_text("int own;\n")
    monkeypatch.chdir(tmp_path)
    assert f'#line 1 "{tmp_path}/own.cu"' in source.read("own.cu").text
    # the kernels' own come first
    assert source.read("a.cu").own == "int ours;\n"


def test_edited_replaces_text_for_a_while_only():
    before = source.read("relu.cu").own
    with source.edited("relu.cu", "slice(n, begin_vectors(x", "slice(n + 1, begin_vectors(x"):
        assert "slice(n + 1, begin_vectors(x" in source.read("relu.cu").text
        with source.edited("relu.cu", "0 : pack[k]", "1 : pack[k]"):
            assert "1 : pack[k]" in source.read("relu.cu").text
        assert "1 : pack[k]" not in source.read("relu.cu").text
    assert source.read("relu.cu").own == before


@pytest.mark.parametrize(("old", "times"), [("no such text", 0), ("slice.store(", 2)])
def test_edited_wants_the_text_exactly_once(old, times):
    with (
        pytest.raises(ValueError, match=f"stands {times} times"),
        source.edited("relu.cu", old, ""),
    ):
        pass


def test_needs_is_read_from_its_line(package):
    fill(package / "_kernels", a_cu="// a\n// needs: sm_80\n", b_cu="// b\n")
    assert source.read("a.cu").needs == 80
    assert source.read("b.cu").needs == 0


def test_every_kernel_file_opens_with_its_name_and_states_layout_and_launch():
    assert "relu.cu" in source.kernel_files()
    for file in source.kernel_files():
        text = source.read(file).own
        assert text.startswith(f"// {file} -- ")
        assert "\n// Layout:" in text
        assert "\n// Launch:" in text
