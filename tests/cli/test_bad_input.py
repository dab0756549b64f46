"""Whatever is wrong with what a person gives: one line that names it, status 2, nothing lost."""

import errno
import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minialex import cuda
from minialex.check import suite
from minialex.cuda import emulator
from minialex.errors import MinialexError
from minialex.nn import Conv2d
from minialex.weights.safetensors import write_safetensors
from tests.cli.conftest import TINY
from tests.small_runs import write_images
from tests.weights.reading import read_safetensors


def refused(answer, *words):
    """Check that a command ended as bad input should, with a message that holds `words`."""
    assert answer.status == 2
    assert "Traceback" not in answer.err
    assert answer.err.startswith("minialex: error: ")
    assert answer.err.count("\n") == 1
    for word in words:
        assert str(word) in answer.err


def test_a_missing_folder(minialex):
    refused(minialex("train", "nowhere", *TINY), "nowhere")
    assert not Path("runs").exists()


def test_an_empty_folder(minialex):
    Path("empty").mkdir()
    refused(minialex("train", "empty", *TINY), "empty")


def test_a_class_with_no_images(minialex, photos):
    (photos / "hollow").mkdir()
    refused(minialex("train", photos, *TINY), "hollow")


def test_classes_that_differ(minialex, tmp_path):
    write_images(tmp_path / "d" / "train", 6, ("cat", "dog"))
    write_images(tmp_path / "d" / "val", 6, ("cat", "cow"))
    refused(minialex("train", "d", *TINY), "dog", "cow")


def break_one(photos, how):
    path = photos / "dark" / "03.png"
    whole = path.read_bytes()
    if how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "unreadable":
        path.write_bytes(b"this is no picture")
    else:
        # a PNG that claims 60,000 x 60,000 pixels
        path.write_bytes(whole[:16] + struct.pack(">II", 60_000, 60_000) + whole[24:])
    return path


@pytest.mark.parametrize("how", ["truncated", "unreadable", "enormous"])
def test_a_bad_image_is_named_and_can_be_skipped(minialex, photos, how):
    path = break_one(photos, how)
    refused(minialex("train", photos, *TINY, "--val-fraction", "0.5"), path, "--skip-unreadable")
    answer = minialex("train", photos, *TINY, "--skip-unreadable", "--out", "skipped")
    assert answer.status == 0
    assert "1 image" in answer.out
    assert str(path) in answer.out


def test_predict_names_a_bad_image_and_skips_it(minialex, run_folder, photos):
    path = break_one(photos, "truncated")
    refused(minialex("predict", run_folder, path), path)
    answer = minialex("predict", run_folder, photos / "dark", "--skip-unreadable", "--top", 1)
    assert answer.status == 0
    assert len(answer.out.splitlines()) == 5
    assert str(path) in answer.err


def test_fewer_images_of_a_class_than_folds(minialex, photos):
    refused(minialex("kfold", photos, *TINY, "--folds", "7"), "6", "7")


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_an_unknown_device(minialex, photos, device):
    refused(minialex("train", photos, *TINY, "--device", device), device, "cpu")


def test_a_truncated_checkpoint(minialex, run_folder):
    path = run_folder / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    refused(minialex("evaluate", run_folder), path)


def test_a_checkpoint_of_another_model(minialex, run_folder):
    refused(minialex("evaluate", run_folder, "--network", "alexnet"), "alexnet-mini", "alexnet")


def test_a_checkpoint_of_a_newer_format(minialex, run_folder):
    path = run_folder / "best.safetensors"
    tensors, metadata = read_safetensors(path)
    manifest = json.loads(metadata["minialex"])
    manifest["format"] += 1
    tensors = {name: x.copy() for name, x in tensors.items()}
    write_safetensors(path, tensors, {**metadata, "minialex": json.dumps(manifest)})
    refused(minialex("predict", run_folder, "."), path, "upgrade minialex")


def test_a_checkpoint_whose_manifest_was_altered(minialex, run_folder):
    for name, *words in (("last", "train", "--resume"), ("best", "evaluate"), ("best", "predict")):
        path = run_folder / f"{name}.safetensors"
        content = path.read_bytes()
        altered = content.replace(rb"\"epoch\":1", rb"\"epoch\":0")
        assert altered != content
        path.unlink()
        path.write_bytes(altered)
        pictures = ["."] if "predict" in words else []
        refused(minialex(*words, run_folder, *pictures), path, "checksum of its header")
        path.write_bytes(content)


class Harm:
    def __reduce__(self):
        return (open, ("harmed", "w"))


def test_a_pth_that_holds_anything_but_tensors(minialex):
    with zipfile.ZipFile("evil.pth", "w") as file:
        file.writestr("evil/data.pkl", pickle.dumps({"features.0.weight": Harm()}, protocol=2))
        file.writestr("evil/version", "3\n")
    refused(minialex("summary", "alexnet", "--pretrained", "evil.pth"), "evil.pth")
    assert not Path("harmed").exists()


WEIGHTS_THAT_CANNOT_BE_READ = {
    "missing.pth": "no such file",
    "folder/x/": "there is no checkpoint in|it is a folder",
    "pipe": "not an ordinary file",
    "text/below": "Not a directory",
    "x" * 300: "File name too long",
    "empty": "it is empty",
    "text": "neither a .pth nor a safetensors file",
    "page": "is a web page",
    "a.npz": "not one of torch.save",
}
READERS = {
    "evaluate": ["evaluate", "--pretrained"],
    "predict": ["predict", ".", "--pretrained"],
    "summary": ["summary", "alexnet-mini", "--pretrained"],
    "train": ["train", "photos", *TINY, "--pretrained"],
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", WEIGHTS_THAT_CANNOT_BE_READ)
def test_weights_that_cannot_be_read(minialex, photos, name, reader):
    Path("folder/x").mkdir(parents=True)
    os.mkfifo("pipe")
    Path("text").write_text("hello")
    Path("empty").write_bytes(b"")
    Path("page").write_text("<html>")
    np.savez("a.npz", np.ones(3))
    answer = minialex(*READERS[reader], name)
    refused(answer, name.rstrip("/"))
    assert re.search(WEIGHTS_THAT_CANNOT_BE_READ[name], answer.err)


def test_weights_of_another_shape(minialex, run_folder):
    path = run_folder / "best.safetensors"
    answer = minialex("summary", "alexnet", "--pretrained", path)
    refused(answer, "features.0.weight", "(32, 3, 5, 5)", "(64, 3, 11, 11)")


def test_an_output_folder_that_holds_a_run(minialex, photos, run_folder):
    before = (run_folder / "last.safetensors").read_bytes()
    refused(minialex("train", photos, *TINY, "--out", run_folder), run_folder)
    assert (run_folder / "last.safetensors").read_bytes() == before


def test_an_output_folder_that_is_a_file(minialex, photos):
    Path("taken").write_text("mine")
    refused(minialex("train", photos, *TINY, "--out", "taken"), "taken")
    assert Path("taken").read_text() == "mine"


def test_resuming_what_is_no_run(minialex):
    Path("empty").mkdir()
    refused(minialex("train", "--resume", "empty"), "empty")


def test_the_command_that_goes_on_with_a_folder_is_named(minialex):
    for name, file in (("folds", "kfold.json"), ("a run", "last.safetensors")):
        Path(name).mkdir()
        Path(name, file).touch()
    refused(minialex("train", "--resume", "folds"), "go on with minialex kfold --resume folds")
    refused(minialex("kfold", "--resume", "a run"), "go on with minialex train --resume 'a run'")


@pytest.mark.parametrize(
    ("words", "name", "option"),
    [
        ("kfold --evaluate-only run --lr 3", "--lr", "--evaluate-only"),
        ("kfold --evaluate-only run --skip-unreadable", "--skip-unreadable", "--evaluate-only"),
        ("kfold --evaluate-only run --jobs 2", "--jobs", "--evaluate-only"),
        ("kfold --evaluate-only run --resume folds", "--resume", "--evaluate-only"),
        ("kfold --resume folds --recipe article", "--recipe", "--resume"),
        ("kfold --resume folds --out other", "--out", "--resume"),
        ("train --resume run --recipe article", "--recipe", "--resume"),
        ("bench --compare . . --quick", "--quick", "--compare"),
        ("trace relu --list --thread 3", "--thread", "--list"),
        ("trace --list --case x", "--case", "--list"),
    ],
)
def test_what_would_be_ignored_is_refused(minialex, words, name, option):
    answer = minialex(*words.split())
    assert answer.status == 2
    assert f"Error: {name} is not used with {option}: leave one of them out\n" in answer.err


def test_a_batch_of_layers_that_are_not_full_size_is_refused(minialex):
    answer = minialex("gradcheck", "--op", "relu", "--batch", "3")
    assert answer.status == 2
    assert "--batch is used with --full-size alone: leave it out" in answer.err


def test_a_full_disk_keeps_the_last_checkpoint(minialex, run_folder, monkeypatch):
    path = run_folder / "last.safetensors"
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = minialex("train", "--resume", run_folder, "--epochs", "2")
    refused(answer, run_folder, "the disk is full: free space")
    assert path.read_bytes() == before
    assert not [p for p in run_folder.iterdir() if p.name.startswith(".") and "part" in p.name]


def test_a_loss_that_is_not_finite_names_layer_step_and_rate(minialex, photos):
    answer = minialex("train", photos, *TINY, "--lr", "1e30", "--epochs", "5", "--warmup", "0")
    refused(answer, "1e+30", "step")
    assert "features." in answer.err or "classifier." in answer.err


def test_a_batch_too_large_for_memory_says_what_to_lower(minialex, photos, monkeypatch):
    forward = Conv2d.forward

    def too_large(self, x):
        if x.shape[0] > 1:
            raise MemoryError
        return forward(self, x)

    monkeypatch.setattr(Conv2d, "forward", too_large)
    refused(minialex("train", photos, *TINY), "memory", "batch")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--epochs", "0"], "epochs"),
        (["--lr", "-1"], "lr"),
        (["--min-crop-area", "2"], "--min-crop-area"),
        (["--momentum", "1"], "momentum"),
        (["--image-size", "5"], "--image-size 5"),
    ],
)
def test_a_setting_out_of_range(minialex, photos, words, named):
    refused(minialex("train", photos, *TINY, *words), named)


@pytest.mark.parametrize("words", [["--epochs", "many"], ["--optimizer", "adamw"], ["--no-such"]])
def test_what_click_refuses_has_status_2_too(minialex, photos, words):
    answer = minialex("train", photos, *words)
    assert answer.status == 2
    assert "Error: " in answer.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--op", "nosuchop"], "unknown op 'nosuchop'; known: absolute, "),
        (["--op", "reul"], "unknown op 'reul': did you mean 'relu'?"),
        (["--implementation", "slow"], "unknown implementation 'slow'; known: auto, "),
        (["--op", "exp", "--implementation", "tiled"], "exp"),
        (["--op", "conv2d", "--implementation", "tiled", "--device", "cpu"], "--emulate"),
        (["--full-size", "--op", "exp"], "'exp' is no layer of AlexNet's; known: "),
        (["--emulate", "--device", "cuda"], "--device cuda"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_what_gradcheck_does_not_know(minialex, words, named):
    refused(minialex("gradcheck", *words), named)


@pytest.mark.parametrize("command", ["gradcheck", "trace"])
def test_a_cache_that_cannot_be_made_is_no_fault_of_an_op(minialex, monkeypatch, command):
    Path("taken").write_text("mine")
    monkeypatch.setenv("MINIALEX_CACHE", str(Path("taken").absolute()))
    words = ["trace", "relu"] if command == "trace" else ["gradcheck", "--emulate", "--op", "relu"]
    refused(minialex(*words), "taken", "set MINIALEX_CACHE to a folder")


def not_run(answer, reason):
    """Assert that what could not be run is listed with the reason, and is no FAIL."""
    assert answer.status == 2
    assert reason in answer.out + answer.err
    assert "Traceback" not in answer.err
    assert "\nFAIL" not in answer.out


def test_a_full_disk_is_no_fault_of_an_op(minialex, monkeypatch):
    def full(path):
        raise MinialexError("cannot write x.so: the disk is full: free space on it")

    monkeypatch.setattr(emulator.compiler, "build", lambda *_, **__: full("x.so"))
    with cuda.edited("relu.cu", "slice.store(grads, gx)", "slice.store(grads,  gx)"):
        not_run(minialex("gradcheck", "--emulate", "--op", "relu"), "the disk is full")


def test_too_little_memory_is_no_fault_of_an_op(minialex, monkeypatch):
    def too_large(*_, **__):
        raise MemoryError

    monkeypatch.setattr(suite, "check", too_large)
    not_run(minialex("gradcheck", "--op", "relu"), "not enough memory")


def test_a_kernel_that_does_not_compile_is_said_once_per_type(minialex):
    with cuda.edited("relu.cu", "slice(n, begin_vectors(gy", "slice(m, begin_vectors(gy"):
        answer = minialex("gradcheck", "--emulate", "--op", "relu")
    assert answer.status == 2
    said = answer.out + answer.err
    # for each type, and not for each case
    assert said.count("does not compile") == said.count("relu.cu:") == 2


def test_gradcheck_without_a_compiler_says_so_once(minialex, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    refused(minialex("gradcheck", "--emulate", "--op", "relu"), "install g++ or clang++")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ["--op", "conv2d", "--implementation", "nosuch"],
            "unknown implementation 'nosuch'; known: ",
        ),
        (
            ["--op", "relu", "--implementation", "tiled"],
            "'tiled'; known: blocked, kernel, plain, default",
        ),
        (["--op", "step", "--implementation", "nosuch"], "'nosuch'"),
    ],
)
def test_what_bench_does_not_know(minialex, words, named):
    refused(minialex("bench", *words), named)


@pytest.mark.parametrize("minutes", ["nan", "-1", "soon"])
def test_bench_takes_minutes_that_pass(minialex, minutes):
    answer = minialex("bench", "--op", "relu", "--minutes", minutes)
    assert answer.status == 2
    assert "'--minutes'" in answer.err


def test_digits_are_not_written_where_a_file_is(minialex):
    Path("taken").write_text("mine")
    refused(minialex("data", "digits", "taken"), "taken", "choose another folder")


def test_bench_keeps_a_record_that_is_there(minialex, tmp_path):
    (tmp_path / "record.json").write_text("mine")
    refused(minialex("bench", "--op", "relu", "--out", str(tmp_path)), "choose another --out")
    assert (tmp_path / "record.json").read_text() == "mine"
