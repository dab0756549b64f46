"""Each command as its user runs it: what it prints, writes and exits with."""

import json
import logging
import os
import re
import shlex
import signal
import threading
from pathlib import Path

import pytest

from minialex import arrays
from minialex.cli.main import COMMANDS
from minialex.weights import checkpoint
from minialex.wording import counted
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


def test_remarks_of_the_library_that_draws_are_not_shown(minialex):
    remarks = logging.getLogger("matplotlib.font_manager")
    logging.getLogger("matplotlib").setLevel(logging.NOTSET)
    assert remarks.isEnabledFor(logging.WARNING)
    minialex("--version")
    assert not remarks.isEnabledFor(logging.WARNING)


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
    answer = minialex("train", photos, *TINY, "--recipe", "images", *options, "--stop-after", "1")
    said = f"rmsprop at 0.001 (cosine, warm-up over {batches} batches), seed 0"
    assert said in " ".join(answer.out.split())


@pytest.mark.usefixtures("no_curves")
def test_a_second_run_gets_a_folder_of_its_own(minialex, photos):
    minialex("train", photos, *TINY)
    minialex("train", photos, *TINY)
    assert sorted(p.name for p in Path("runs").iterdir()) == ["photos", "photos-2"]


@pytest.mark.usefixtures("no_curves")
@pytest.mark.equal_bits
def test_equal_seeds_give_equal_checkpoints(minialex, photos):
    for out in "a", "b":
        minialex("train", photos, *TINY, "--out", out)
    minialex("train", photos, *TINY, "--out", "c", "--seed", "1")
    a, b, c = (Path(out, "last.safetensors").read_bytes() for out in "abc")
    assert a == b
    assert a != c


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
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
    position = checkpoint.load("run/last.safetensors").manifest["position"]
    done, step = position["epoch"], position["step"]
    assert f"stopped by {number.name} after {counted(step, 'batch')}; saved in run" in answer.out
    answer = minialex("train", "--resume", "run", "--epochs", done + 1)
    assert answer.status == 0
    assert f"going on in epoch {done + 1}" in answer.out
    assert f"\nepoch {done + 1}/{done + 1}: " in answer.out
    position = checkpoint.load("run/last.safetensors").manifest["position"]
    assert position == {"epoch": done + 1, "batch": 0, "step": 3 * (done + 1)}


@pytest.mark.usefixtures("no_curves")
def test_a_finished_run_says_so_and_how_to_train_longer(minialex, photos):
    assert minialex("train", photos, *TINY, "--out", "a b").status == 0
    answer = minialex("train", "--resume", "a b")
    assert answer.status == 0
    assert "going on" not in answer.out
    assert "finished: nothing is left of 1 epoch. To train longer: " in answer.out
    again = re.search(r"To train longer: minialex (.*), with", answer.out)[1]
    assert minialex(*shlex.split(again)).out.count("\nepoch 2/2: ") == 1
    refused = minialex("train", "--resume", "a b", "--epochs", 1)
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "--epochs is 1, but the run is in epoch 2 already: give 2 or more" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch-size", "0"), "--batch-size is 0: give 1 or more"),
        (("--lr", "-1"), "--lr is -1.0: give a number above 0"),
        (("--image-size", "20"), "--image-size 20 is too small for alexnet-mini"),
        (("--warmup", "4"), "--warmup is 4 batches, but the run has 3 (1 epoch of 3)"),
    ],
    ids=str,
)
def test_messages_name_the_options_of_the_command(minialex, photos, words, said):
    answer = minialex("train", photos, *TINY, *words)
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert said in answer.err


def test_a_name_of_a_file_is_not_taken_for_a_setting(minialex):
    assert "no folder" in (answer := minialex("train", "my/batch_size")).err
    assert "my/batch_size" in answer.err


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


def test_summary_as_table_and_as_json(minialex):
    answer = minialex("summary", "alexnet-mini", "--classes", "10", "--picture", "net.png")
    assert answer.status == 0
    assert "Conv2d(32, 64, 5x5, padding=2)" in answer.out
    assert "463,562" in answer.out
    assert Path("net.png").stat().st_size > 1000
    table = json.loads(minialex("summary", "alexnet-mini", "--classes", "10", "--json").out)
    assert (table["parameters"], table["classes"]) == (463_562, 10)
    assert sum(row["parameters"] for row in table["rows"]) == 463_562
    # the second convolution: 64 x 15 x 15 outputs, each a bias and 32 x 5 x 5 products and sums
    row = next(line for line in answer.out.splitlines() if "features.3 " in line)
    assert f"{64 * 15 * 15 * (2 * 32 * 25 + 1) / 1e6:.1f}" == row.split()[-3] == "23.1"


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
    tuned = minialex("train", photos, *TINY, "--pretrained", run_folder, "--out", "tuned")
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


@pytest.mark.parametrize("words", [[], ["data"]])
def test_a_group_without_a_command_shows_its_help(minialex, words):
    answer = minialex(*words)
    assert answer.status == 2
    assert "\nCommands:\n" in answer.out + answer.err


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
