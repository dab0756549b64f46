"""Each command as its user runs it: what it prints, writes and exits with."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from minialex import arrays
from minialex.cli.main import COMMANDS
from tests.cli.conftest import TINY


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_says_how_to_use_it(minialex, command):
    answer = minialex(*command.split(), "--help")
    assert answer.status == 0
    assert f"Usage: minialex {command}".strip() in answer.out
    assert "None" not in answer.out


def test_an_unknown_command_is_a_usage_error(minialex):
    answer = minialex("trian")
    assert answer.status == 2
    assert "unknown command 'trian': did you mean 'train'?" in answer.err


def test_train_writes_its_folder_and_prints_the_articles_lines(minialex, photos):
    answer = minialex("train", photos, *TINY, "--log-every", "1")
    assert answer.status == 0
    run = Path("runs/photos")
    assert {p.name for p in run.iterdir()} >= {
        "last.safetensors",
        "best.safetensors",
        "metrics.jsonl",
        "settings.json",
        "curves.png",
    }
    assert "[1,     1] loss: " in answer.out
    assert "epoch 1/1: train loss" in answer.out
    assert "validation accuracy" in answer.out
    assert "\x1b" not in answer.out
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {r["split"] for r in records} == {"train", "val"}
    wanted = {"split", "epoch", "step", "loss", "accuracy", "lr", "images_per_second"}
    assert all(set(r) == wanted for r in records)


@pytest.mark.parametrize(
    ("options", "batches"), [(("--epochs", "4"), "1 of 12"), (("--warmup", "2"), "2 of 3")], ids=str
)
def test_train_says_over_how_many_batches_the_rate_rises(minialex, photos, options, batches):
    answer = minialex("train", photos, *TINY, *options, "--stop-after", "1")
    said = f"rmsprop at 0.001 (cosine, warm-up over {batches} batches), seed 0"
    assert said in " ".join(answer.out.split())


def test_train_refuses_a_warm_up_that_is_longer_than_the_run(minialex, photos):
    answer = minialex("train", photos, *TINY, "--warmup", "4")
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert "warmup is 4 batches, but the run has 3 (1 epochs of 3)" in answer.err


def test_a_second_run_gets_a_folder_of_its_own(minialex, photos):
    minialex("train", photos, *TINY)
    minialex("train", photos, *TINY)
    assert sorted(p.name for p in Path("runs").iterdir()) == ["photos", "photos-2"]


@pytest.mark.equal_bits
def test_equal_seeds_give_equal_checkpoints(minialex, photos):
    for out in "a", "b":
        minialex("train", photos, *TINY, "--out", out)
    minialex("train", photos, *TINY, "--out", "c", "--seed", "1")
    a, b, c = (Path(out, "last.safetensors").read_bytes() for out in "abc")
    assert a == b
    assert a != c


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_saves_and_says_how_to_go_on(minialex, photos, number, status):
    ended = threading.Event()

    def stop_once_under_way():
        metrics = Path("run/metrics.jsonl").absolute()
        while not (metrics.exists() and metrics.stat().st_size):
            if ended.wait(0.02):
                return
        os.kill(os.getpid(), number)

    threading.Thread(target=stop_once_under_way).start()
    try:
        answer = minialex("train", photos, *TINY, "--epochs", "10000", "--out", "run")
    finally:
        ended.set()
    assert answer.status == status
    assert "Go on with: minialex train --resume run" in answer.out
    done = len(Path("run/metrics.jsonl").read_text().splitlines())
    answer = minialex("train", "--resume", "run", "--epochs", "1")
    assert done > 0
    assert answer.status == 0 or "already" in answer.err


def test_evaluate_prints_and_writes(minialex, run_folder):
    answer = minialex("evaluate", run_folder)
    assert answer.status == 0
    assert "top-1 accuracy" in answer.out
    assert "light" in answer.out
    folder = run_folder / "evaluation"
    assert {p.name for p in folder.iterdir()} == {
        "evaluation.json",
        "classes.csv",
        "confusion.csv",
        "confusion.png",
    }


def test_evaluate_as_json_prints_json_alone(minialex, run_folder, photos):
    answer = minialex("evaluate", run_folder, photos, "--all", "--json")
    table = json.loads(answer.out)
    assert table["images"] == 12
    assert sum(map(sum, table["confusion"])) == 12


def test_predict_names_each_image(minialex, run_folder, photos):
    answer = minialex(
        "predict", run_folder, photos / "dark" / "00.png", photos / "light", "--top", 1
    )
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert len(lines) == 7
    assert lines[0].startswith(f"{photos / 'dark' / '00.png'}: ")
    assert lines[0].endswith(" %")


def test_predict_as_json_gives_an_object_a_line(minialex, run_folder, photos):
    answer = minialex("predict", run_folder, photos / "dark", "--json")
    records = [json.loads(line) for line in answer.out.splitlines()]
    assert len(records) == 6
    for record in records:
        assert {g["class"] for g in record["guesses"]} == {"light", "dark"}
        assert sum(g["probability"] for g in record["guesses"]) == pytest.approx(1)


def test_kfold_prints_each_fold_and_the_articles_line(minialex, photos):
    answer = minialex("kfold", photos, *TINY, "--folds", "2")
    assert answer.status == 0
    assert "fold 1/2: " in answer.out
    last = answer.out.splitlines()[-1]
    assert last.startswith("Mean Accuracy: ")
    assert " % +- " in last
    folds = Path("runs/photos-kfold")
    assert (folds / "fold-1" / "last.safetensors").exists()
    again = minialex("kfold", "--resume", folds)
    assert again.out.splitlines()[-1] == last
    evaluated = minialex("kfold", photos, "--folds", "2", "--evaluate-only", folds / "fold-1")
    assert evaluated.out.splitlines()[-1].startswith("Mean Accuracy: ")


def test_summary_as_table_and_as_json(minialex):
    answer = minialex("summary", "alexnet-mini", "--classes", "10", "--picture", "net.png")
    assert answer.status == 0
    assert "Conv2d(32, 64, 5x5, padding=2)" in answer.out
    assert "463,562" in answer.out
    assert Path("net.png").stat().st_size > 1000
    table = json.loads(minialex("summary", "alexnet-mini", "--classes", "10", "--json").out)
    assert table["parameters"] == 463_562
    assert sum(row["parameters"] for row in table["rows"]) == 463_562


def test_data_digits_writes_a_folder_that_train_takes(minialex):
    answer = minialex("data", "digits", "pictures")
    assert answer.status == 0
    assert len(list(Path("pictures/train").glob("*/*.png"))) == 1438
    assert len(list(Path("pictures/val").glob("*/*.png"))) == 359
    again = minialex("data", "digits", "pictures")
    assert again.status == 2
    assert "pictures is not empty" in again.err


def test_pretrained_stands_for_the_network(minialex, run_folder, photos):
    weights = run_folder / "best.safetensors"
    evaluated = minialex("evaluate", "--pretrained", weights, photos, "--all", "--json")
    assert json.loads(evaluated.out)["images"] == 12
    named = minialex("predict", "--pretrained", weights, photos / "dark", "--top", 1)
    assert named.status == 0
    assert len(named.out.splitlines()) == 6
    tuned = minialex("train", photos, *TINY, "--pretrained", weights, "--out", "tuned")
    assert tuned.status == 0


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_without_a_network_the_usage_is_explained(minialex, command):
    answer = minialex(command)
    assert answer.status == 2
    assert "name a NETWORK" in answer.err


def test_evaluate_takes_one_folder(minialex, run_folder):
    answer = minialex("evaluate", run_folder, "a", "b")
    assert answer.status == 2
    assert "one DATA folder at a time" in answer.err


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["data", "digits"]])
def test_the_short_option_for_help(minialex, words):
    answer = minialex(*words, "-h")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == minialex(*words, "--help").out


def test_a_name_that_breaks_lines_is_shown_on_one(minialex):
    for words in (["train", "no\nfolder\x1b[2J"], ["bench", "--compare", "a\nb", "c"]):
        answer = minialex(*words)
        assert answer.status == 2
        assert r"\n" in answer.err.splitlines()[-1]
        assert "\x1b" not in answer.err


@pytest.mark.filterwarnings("default")
def test_where_cupy_is_broken_a_run_says_once_that_it_is_on_the_cpu(minialex, photos, monkeypatch):
    real = arrays.importlib.import_module

    def refuse(name):
        if name == "cupy":
            raise PermissionError(13, "Permission denied", "/home/own/.cupy")
        return real(name)

    monkeypatch.setattr(arrays.importlib, "import_module", refuse)
    answer = minialex("train", photos, *TINY, "--stop-after", "1")
    assert answer.status == 0
    assert answer.err.startswith("minialex: warning: running on the CPU, not on a GPU: CuPy cannot")
    assert answer.err.count("\n") == 1
