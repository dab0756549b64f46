"""Where NVIDIA's tools are found, and which of several versions is used."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from minialex.cuda import nvrtc, toolkit
from minialex.errors import MinialexError


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Two folders of packages with wheels, and a toolkit; each with a tool and libraries."""
    packages = [tmp_path / "user" / "nvidia", tmp_path / "site" / "nvidia"]
    places = [packages[0] / "cu13", packages[1] / "aaa", packages[1] / "bbb", tmp_path / "cuda"]
    for place in places:
        (place / "lib").mkdir(parents=True)
        for name in ("two.so", "one.so"):
            (place / "lib" / name).touch()
    (packages[0] / "py.typed").touch()
    spec = SimpleNamespace(submodule_search_locations=[str(package) for package in packages])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: {"nvidia": spec}[name])
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "cuda"))
    return places


def test_wheels_come_before_the_toolkit(installed):
    assert toolkit.folders() == installed
    (installed[1] / "lib" / "one.so").unlink()
    assert toolkit.find("lib/t*.so", "lib/o*.so") == [
        place / "lib" / name
        for place in installed
        for name in ("two.so", "one.so")
        if (place, name) != (installed[1], "one.so")
    ]


def test_without_wheels_there_is_the_toolkit(monkeypatch):
    for spec in (None, SimpleNamespace(submodule_search_locations=None)):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, found=spec: found)
        monkeypatch.delenv("CUDA_PATH", raising=False)
        assert toolkit.folders() == [Path("/usr/local/cuda")]
        monkeypatch.setenv("CUDA_PATH", "/opt/cuda")
        assert toolkit.folders() == [Path("/opt/cuda")]


def test_the_oldest_version_is_used_and_the_first_of_each(monkeypatch):
    def library(path):
        number = path.name.removeprefix("libnvrtc.so.")
        return SimpleNamespace(version=number, path=path, supported=lambda: [75, 80, 90])

    there = [Path(f"/{place}/libnvrtc.so.{n}") for place, n in zip("abcd", NUMBERS, strict=True)]
    monkeypatch.setattr(toolkit, "find", lambda *_: there)
    monkeypatch.setattr(nvrtc, "_Library", library)
    found = nvrtc._libraries.__wrapped__()
    assert [(number, one.path.parts[1]) for number, one in found.items()] == [
        *(("12.9", "c"), ("12.10", "b"), ("13.0", "a"))
    ]
    monkeypatch.setattr(nvrtc, "_libraries", lambda: found)
    assert (nvrtc.version(), nvrtc.versions()) == ("12.9", ["12.9", "12.10", "13.0"])
    assert nvrtc.why_missing() == ""
    assert nvrtc._library("12.10").path.parts[1] == "b"
    with pytest.raises(MinialexError, match=r"^NVRTC 12\.1 is not installed; installed: 12\.9, 12"):
        nvrtc._library("12.1")
    # those that are known here, of the file those that it compiles for
    assert nvrtc.architectures() == ["sm_75", "sm_80", "sm_90", "sm_90a"]
    assert nvrtc.architectures("linear_tensor_core.cu") == ["sm_80", "sm_90", "sm_90a"]


NUMBERS = ("13.0", "12.10", "12.9", "12.10")


@pytest.mark.parametrize("place", ["cuda_nvrtc/include", "cuda_runtime/include", "nowhere"])
def test_a_version_has_the_headers_beside_it(tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "cuda_fp16.h").touch()
    library = tmp_path / "cuda_nvrtc" / "lib" / "libnvrtc.so.12"
    option = (f"-I{tmp_path / place}",) if place != "nowhere" else ()
    assert nvrtc._include_option(library) == option
