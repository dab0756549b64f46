"""Whatever a JSON file says, it is read within bounds or refused in a line, by every reader."""

import json
import os
import zlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from minialex.bench import record as bench
from minialex.errors import MinialexError
from minialex.kfold import fold_records
from minialex.kfold.fold_records import read_plan, read_record
from minialex.plain_json import MAX_BYTES, parse_json, read_json, typed
from minialex.study.launch_times import read_launch_times
from minialex.study.proofs import read_proofs
from minialex.train.metrics import read_metrics
from minialex.train.run import read_runtime_settings

HOSTILE = {
    "long integer": "1" + "0" * 400,
    "longer integer": "9" * 5000,
    "negative long integer": "-1" + "0" * 40,
    "overflow": "1e999",
    "negative overflow": "-1e999",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "lists": "[" * 100_000,
    "closed lists": "[" * 900 + "]" * 900,
    "objects": '{"a":' * 100_000,
    "twice": '{"a": 1, "a": 2}',
    "nothing": "",
    "bare word": "yes",
    "single quotes": "{'a': 1}",
    "a comma more": "[1,]",
    "two values": "1 2",
    "no text": '"\x01"',
    "half an escape": r'"\u12"',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_refused(text):
    for content in (text, text.encode(), f'{{"a": {text}}}'):
        with pytest.raises(ValueError, match=r"."):
            parse_json(content)


@pytest.mark.parametrize("content", [b'"\xff"', "\ufeff{}", '{"a": 1}'.encode("utf-16")])
def test_other_encodings_are_refused(content):
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)


def test_what_is_taken():
    text = '{"a": [1, -2.5e3, true, null, "\u0153\\ud800"], "b": 18446744073709551616}'
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


def test_nothing_is_nested_more_than_32_deep():
    assert parse_json("[" * 32 + "]" * 32)
    for text in ("[" * 33 + "]" * 33, "[" * 32 + "1" + "]" * 32, '{"a":' * 32 + "1" + "}" * 32):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(text)


def test_a_file_is_no_longer_than_it_may_be(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b" " * (MAX_BYTES - 2) + b"{}")
    assert read_json(path) == {}
    path.write_bytes(b" " * (MAX_BYTES - 1) + b"{}")
    with pytest.raises(ValueError, match="has more than 4194304 bytes"):
        read_json(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not an ordinary file"):
        read_json(tmp_path / "pipe")


@dataclass
class Inner:
    x: float


@dataclass
class Outer:
    n: int
    flag: bool = False
    name: str | None = None
    inner: list[Inner] = field(default_factory=list)
    pairs: dict[str, tuple[int, int]] = field(default_factory=dict)
    rest: Any = None


def test_objects_become_dataclasses():
    table = {"n": 1, "flag": True, "name": None, "inner": [{"x": 2}], "pairs": {"a": [3, 4]}}
    made = typed(Outer, table | {"rest": {"b": []}})
    assert made == Outer(1, True, None, [Inner(2.0)], {"a": (3, 4)}, {"b": []})
    assert type(made.inner[0].x) is float


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "Outer lacks something"),
        ([], r"'it' is \[\]"),
        ({"n": 1.0}, "'n' is 1.0"),
        ({"n": True}, "'n' is True"),
        ({"n": "1"}, "'n' is '1'"),
        ({"n": None}, "'n' is None"),
        ({"n": 1, "flag": 1}, "'flag' is 1"),
        ({"n": 1, "name": 3}, "'name' is 3"),
        ({"n": 1, "inner": {"x": 2}}, "'inner' is"),
        ({"n": 1, "inner": [{"x": "2"}]}, "'x' is '2'"),
        ({"n": 1, "inner": [{"x": True}]}, "'x' is True"),
        ({"n": 1, "inner": [{"x": 1, "y": 2}]}, "'y' is unknown"),
        ({"n": 1, "pairs": {"a": [1, 2, 3]}}, r"'a' is \[1, 2, 3\]"),
        ({"n": 1, "pairs": {"a": [1, 2.5]}}, r"'a' is 2.5"),
        ({"n": 1, "more": 2}, "'more' is unknown"),
    ],
)
def test_other_types_are_refused(table, words):
    with pytest.raises(ValueError, match=words):
        typed(Outer, table)


# The readers --------------------------------------------------------------------------------------


def signed(table):
    """Return a table as the files of a cross-validation have it, its checksum being right."""
    checksum = zlib.crc32(json.dumps(table).encode())
    return json.dumps({**table, "crc32": checksum}, indent=1) + "\n"


PLAN = {"format": fold_records.FORMAT, "k": 3, "settings": {"epochs": 5}}
PLAN |= {"engine": "cpu with 2 cores"}
PLAN |= {"images": {"all": [[12, "0123456789abcdef", "fedcba9876543210"]]}}
FOLD = {"format": fold_records.FORMAT, "fold": 1, "k": 3, "checkpoint": "fold-1/last.safetensors"}
FOLD |= {"train_images": 20, "images": 8, "correct": 6}
FOLD |= {"accuracy": 75.0, "top5_accuracy": 100.0, "loss": 0.5}
LINE = {"split": "val", "epoch": 1, "step": 8, "loss": 0.5, "accuracy": 75.0, "lr": 0.1}
LINE |= {"images_per_second": 100.0}
READERS = {
    "kfold.json": read_plan,
    "fold-1/fold.json": lambda folder: read_record(folder, 1),
    "settings.json": read_runtime_settings,
    "metrics.jsonl": read_metrics,
    "record.json": lambda folder: bench.read(folder / "record.json"),
    "tests/results/record.json": read_proofs,
    "benchmarks/results/cpu/launches.json": read_launch_times,
}


def refusal(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(MinialexError) as caught:
        READERS[name](folder)
    message = str(caught.value)
    assert path.name in message
    assert message.isprintable()
    assert len(message) < 1000
    return message


@pytest.mark.parametrize("name", READERS)
def test_no_reader_takes_hostile_json(tmp_path, name):
    for text in HOSTILE.values():
        refusal(tmp_path, name, text + "\n")
        refusal(tmp_path, name, f'{{"settings": {{"workers": {text}}}}}\n')
    for settings in ("1", "[]", '"x"', "null", "{}]"):
        refusal(tmp_path, name, f'{{"settings": {settings}}}\n')


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fold": 2}, "damaged"),
        ({"fold": True}, "damaged"),
        ({"fold": 1.0}, "damaged"),
        ({"k": 0}, "damaged"),
        ({"k": "3"}, "damaged"),
        ({"checkpoint": "/etc/passwd"}, "damaged"),
        ({"checkpoint": "../elsewhere/last.safetensors"}, "damaged"),
        ({"checkpoint": None}, "damaged"),
        ({"train_images": 0}, "damaged"),
        ({"images": 0, "correct": 0}, "damaged"),
        ({"correct": 9}, "damaged"),
        ({"correct": -1}, "damaged"),
        ({"accuracy": 5000}, "damaged"),
        ({"accuracy": 76.0}, "damaged"),
        ({"accuracy": "x"}, "damaged"),
        ({"accuracy": None}, "damaged"),
        ({"top5_accuracy": 70}, "damaged"),
        ({"top5_accuracy": 100.5}, "damaged"),
        ({"loss": -1}, "damaged"),
        ({"loss": []}, "damaged"),
        ({"note": "x"}, "damaged"),
        ({"format": 10**39}, "has format 1000"),
    ],
)
def test_a_fold_whose_figures_cannot_be(tmp_path, change, words):
    assert words in refusal(tmp_path, "fold-1/fold.json", signed(FOLD | change))
    (tmp_path / "fold-1/fold.json").write_text(signed(FOLD))
    assert read_record(tmp_path, 1).accuracy == 75


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": {"val": PLAN["images"]["all"]}}, "damaged"),
        ({"engine": 2}, "damaged"),
        ({"images": None}, "damaged"),
        ({"k": 1}, "damaged"),
        ({"k": 5.7}, "damaged"),
        ({"k": True}, "damaged"),
        ({"k": -3}, "damaged"),
        ({"k": 10**30}, "damaged"),
        ({"settings": []}, "damaged"),
        ({"settings": "ab"}, "damaged"),
        ({"settings": {"epochs": True}}, "kfold.json: epochs is True: give a whole number"),
        ({"settings": {"lr": 10**39}}, None),
        ({"settings": {"lr": []}}, "kfold.json: lr is []: give a number"),
        ({"settings": {"resize": "x" * 5000}}, "kfold.json: resize is 'xxx"),
        ({"settings": {"x" * 5000: 1}}, "kfold.json: unknown setting 'xxx"),
        ({"settings": {"a\nb": 1}}, r"kfold.json: unknown setting 'a\nb'"),
    ],
)
def test_a_plan_that_cannot_be(tmp_path, change, words):
    if words:
        assert words in refusal(tmp_path, "kfold.json", signed(PLAN | change))
        change = {}
    (tmp_path / "kfold.json").write_text(signed(PLAN | change))
    assert read_plan(tmp_path)[1] == 3


@pytest.mark.parametrize(("value", "shown"), [("true", "True"), ("300", "300"), ('"2"', "'2'")])
def test_a_setting_of_computing_that_cannot_be(tmp_path, value, shown):
    text = f'{{"settings": {{"workers": {value}}}}}'
    assert f"settings.json: workers is {shown}: give" in refusal(tmp_path, "settings.json", text)


@pytest.mark.parametrize(
    "change",
    [
        {"split": []},
        {"epoch": 1.5},
        {"epoch": True},
        {"step": -1},
        {"loss": "0.5"},
        {"accuracy": False},
        {"accuracy": -0.5},
        {"accuracy": 100.5},
        {"lr": {}},
        {"note": 1},
    ],
)
def test_a_line_of_metrics_that_cannot_be(tmp_path, change):
    words = refusal(tmp_path, "metrics.jsonl", json.dumps(LINE | change) + "\n")
    assert "line 1 is not a record of metrics" in words
    (tmp_path / "metrics.jsonl").write_text(json.dumps(LINE) + "\n")
    assert read_metrics(tmp_path)[0].accuracy == 75
