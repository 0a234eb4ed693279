"""Exports appear whole or not at all, tell what they are, and never replace silently."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from candlevault.errors import DataMissing, InvalidRequest
from candlevault.export import KnownAbsence, checking, read, sidecar, stage, write, writing
from candlevault.export.formats.registry import FORMATS, get
from candlevault.windows import Window
from tests.export.conftest import HOLE, MINUTES, WINDOW, expected
from tests.support.market import HOUR, Store, absence, made, span

LENGTHY = ("parquet", "csv", "lean")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def data(found: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in found.items() if not path.endswith(sidecar.SUFFIX)}


def set_of(name: str, hours, minutes):
    """The set with several data files where the format makes several."""
    return minutes if name == "lean" else hours


# -- the sidecar -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_export_has_a_sidecar_that_tells_what_it_is(hours, tmp_path, name):
    done = write(hours, name, tmp_path, allow_lost=True)
    assert done.sidecar == tmp_path / f"BTCUSDT__1h.{name}.candlevault.json"
    told = json.loads(done.sidecar.read_text())
    assert told["series"] == {
        "venue": "binance",
        "market": "spot",
        "symbol": "BTCUSDT",
        "timeframe": "1h",
        "lifetime": 1,
    }
    assert told["window"] == {"start": "2024-01-01T00:00:00Z", "end": "2024-01-03T00:00:00Z"}
    assert (told["format"], told["rows"], told["revision"]) == (name, len(expected()), 2)
    assert told["fingerprint"] == hours.fingerprint
    assert told["as_of"] == hours.facts()["as_of"]
    assert [one["reason"] for one in told["known_absences"]] == ["not_published"]
    assert told["known_absences"][0]["start"] == "2024-01-01T10:00:00Z"
    assert told["lost"] == [{"start": "2024-01-02T20:00:00Z", "end": "2024-01-02T21:00:00Z"}]
    on_disk = files(tmp_path)
    assert set(on_disk) == {file["path"] for file in told["files"]} | {done.sidecar.name}
    for file in told["files"]:
        content = on_disk[file["path"]]
        assert file["bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", FORMATS)
def test_the_check_of_a_good_export_finds_nothing(hours, story, tmp_path, name):
    done = write(hours, name, tmp_path, allow_lost=True)
    checked = checking.check(done.sidecar)
    assert checked.problems == ()
    assert checking.check_against_store(checked.sidecar, story.url) == ()


def test_the_check_finds_every_kind_of_damage(minutes, tmp_path):
    done = write(minutes, "lean", tmp_path)
    first, second = done.files
    content = first.read_bytes()
    first.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    name = first.relative_to(tmp_path).as_posix()
    assert checking.check(done.sidecar).problems == (f"{name} has another SHA-256",)
    first.write_bytes(content[:-1])
    [problem] = checking.check(done.sidecar).problems
    assert f"has {len(content) - 1} bytes" in problem
    second.unlink()
    assert len(checking.check(done.sidecar).problems) == 2


def test_the_check_against_the_store_finds_what_differs(hours, story, tmp_path):
    done = write(hours, "parquet", tmp_path, allow_lost=True)
    told = json.loads(done.sidecar.read_text())
    told["as_of"] = story.first.isoformat()
    done.sidecar.write_text(json.dumps(told))
    found = checking.check(done.sidecar).sidecar
    wrong = checking.check_against_store(found, story.url)
    assert [line.split()[0] for line in wrong] == ["revision", "fingerprint"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"candlevault_export": 2}', '{"candlevault_export": 1, "files": 3}'],
)
def test_what_is_no_sidecar_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "x.candlevault.json"
    path.write_text(content)
    with pytest.raises(InvalidRequest, match="sidecar"):
        checking.check(path)


@pytest.mark.parametrize("name", ["../other", "/etc/passwd", "a/../../b", ""])
def test_a_sidecar_never_names_a_file_outside_its_folder(hours, tmp_path, name):
    victim = tmp_path / "other"
    victim.write_text("precious")
    out = tmp_path / "out"
    done = write(hours, "parquet", out, allow_lost=True)
    told = json.loads(done.sidecar.read_text())
    told["files"][0]["path"] = name
    done.sidecar.write_text(json.dumps(told))
    with pytest.raises(InvalidRequest, match="outside"):
        checking.check(done.sidecar)
    shorter = dataclasses.replace(hours, window=HOLE)
    write(shorter, "parquet", out, allow_lost=True, overwrite=True)
    assert victim.read_text() == "precious"


# -- refusals --------------------------------------------------------------------------------


def test_lost_candles_are_refused_unless_allowed(hours, tmp_path):
    with pytest.raises(DataMissing, match="gap_fill__BTCUSDT__1h") as refused:
        write(hours, "csv", tmp_path)
    assert "2024-01-02T20:00:00Z" in str(refused.value)
    assert files(tmp_path) == {}
    write(hours, "csv", tmp_path, allow_lost=True)


def test_known_absences_are_no_reason_to_refuse(story, tmp_path):
    window = Window(WINDOW.start_ms, HOLE.end_ms)
    assert write(story.read(window), "csv", tmp_path).rows == 10


def test_nothing_stored_is_refused(story, tmp_path):
    with pytest.raises(DataMissing, match="no candle is stored"):
        write(story.read(HOLE), "csv", tmp_path)


def test_wrong_formats_and_options_are_named(hours, tmp_path):
    for name, options, field in [
        ("xlsx", {}, "format"),
        (None, {}, "format"),
        ("parquet", {"mark_absent": True}, "options.mark_absent"),
        ("csv", {"mark_absent": "yes"}, "options.mark_absent"),
        ("nautilus", {"price_precision": 17}, "options.price_precision"),
        ("nautilus", {"price_precision": True}, "options.price_precision"),
        ("nautilus", {"size": 2}, "options.size"),
    ]:
        with pytest.raises(InvalidRequest) as refused:
            write(hours, name, tmp_path, allow_lost=True, options=options)
        assert refused.value.field == field
    assert files(tmp_path) == {}


def test_a_target_that_is_a_file_is_refused(hours, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InvalidRequest, match="out: must be a folder"):
        write(hours, "csv", tmp_path / "out", allow_lost=True)


# -- what is there already -------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_candles_again_change_nothing(story, hours, tmp_path, name):
    write(hours, name, tmp_path, allow_lost=True)
    before = files(tmp_path)
    again = write(story.read(), name, tmp_path, allow_lost=True)
    assert again.unchanged
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", FORMATS)
def test_other_candles_replace_only_when_told(story, hours, tmp_path, name):
    old = story.read(as_of=story.first)
    write(old, name, tmp_path, allow_lost=True)
    before = files(tmp_path)
    with pytest.raises(InvalidRequest, match=r"out: .*overwrite"):
        write(hours, name, tmp_path, allow_lost=True)
    assert files(tmp_path) == before
    done = write(hours, name, tmp_path, allow_lost=True, overwrite=True)
    assert not done.unchanged
    assert checking.check(done.sidecar).problems == ()
    assert checking.check(done.sidecar).sidecar.facts["fingerprint"] == hours.fingerprint


def test_other_options_are_another_export(hours, tmp_path):
    write(hours, "csv", tmp_path, allow_lost=True)
    with pytest.raises(InvalidRequest, match="overwrite"):
        write(hours, "csv", tmp_path, allow_lost=True, options={"mark_absent": True})


def test_a_file_of_somebody_else_is_never_replaced_silently(hours, tmp_path):
    stranger = tmp_path / "BTCUSDT__1h.absences.csv"
    stranger.write_text("mine")
    with pytest.raises(InvalidRequest, match="not of this export"):
        write(hours, "csv", tmp_path, allow_lost=True)
    assert files(tmp_path) == {stranger.name: b"mine"}
    write(hours, "csv", tmp_path, allow_lost=True, overwrite=True)
    assert stranger.read_text() != "mine"


def test_a_changed_data_file_is_not_taken_for_an_export(hours, tmp_path):
    [path] = write(hours, "parquet", tmp_path, allow_lost=True).files
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InvalidRequest, match="overwrite"):
        write(hours, "parquet", tmp_path, allow_lost=True)
    write(hours, "parquet", tmp_path, allow_lost=True, overwrite=True)


def test_an_unreadable_sidecar_is_replaced_only_when_told(hours, tmp_path):
    done = write(hours, "parquet", tmp_path, allow_lost=True)
    done.sidecar.write_text("{")
    with pytest.raises(InvalidRequest, match="sidecar"):
        write(hours, "parquet", tmp_path, allow_lost=True)
    write(hours, "parquet", tmp_path, allow_lost=True, overwrite=True)
    assert checking.check(done.sidecar).problems == ()


def test_overwriting_removes_the_files_of_the_former_export_and_no_others(story, minutes, tmp_path):
    write(minutes, "lean", tmp_path)
    folder = tmp_path / "crypto" / "binance" / "minute" / "ethusdt"
    (folder / "20200101_trade.zip").write_bytes(b"somebody's")
    one_day = story.read(Window(MINUTES.start_ms, MINUTES.start_ms + HOUR // 2), "1m")
    write(one_day, "lean", tmp_path, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        "20200101_trade.zip",
        "20231231_trade.zip",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"lost": ()},
        {"absences": ()},
        {"absences": (KnownAbsence(HOLE, "pause"),)},
        {"fingerprint": "0" * 64},
        {"window": HOLE},
        {"lifetime": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_anything_else_told_is_another_export(hours, tmp_path, change):
    write(hours, "freqtrade", tmp_path, allow_lost=True)
    with pytest.raises(InvalidRequest, match="overwrite"):
        write(dataclasses.replace(hours, **change), "freqtrade", tmp_path, allow_lost=True)


def test_a_set_that_became_complete_is_another_export(market_db, tmp_path):
    """The same rows, but what was lost is now known never to have existed."""
    store = Store(market_db)
    window = span("2024-01-01", "2024-01-01T05:00")
    store.publish_made(window, [window.start_ms])

    def now():
        return read(store.series.symbol, "1h", window.start, window.end, database=market_db)

    write(now(), "parquet", tmp_path, allow_lost=True)
    hole = Window(window.start_ms, window.start_ms + HOUR)
    store.publish(made([]), hole, absences=[absence(hole)])
    with pytest.raises(InvalidRequest, match="overwrite"):
        write(now(), "parquet", tmp_path)


# -- whole or not at all ---------------------------------------------------------------------


@pytest.mark.parametrize("name", LENGTHY)
def test_a_failing_format_leaves_nothing_behind(hours, minutes, tmp_path, monkeypatch, name):
    form = get(name)

    def half(candle_set, where, options):
        form.write(candle_set, where, options)
        where.file("one/more").write_text("half")
        raise OSError(28, "No space left on device")

    broken = dataclasses.replace(form, write=half)
    monkeypatch.setattr(writing, "get", lambda _: broken)
    with pytest.raises(OSError, match="No space"):
        write(set_of(name, hours, minutes), name, tmp_path, allow_lost=True)
    assert list(tmp_path.rglob("*")) == []


class Killed(BaseException):
    """Stands for SIGKILL: nothing is cleaned up after it."""


@pytest.mark.parametrize("name", LENGTHY)
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "replacing"])
def test_killed_at_any_step_no_file_is_half_and_the_same_call_completes_it(
    story, hours, minutes, tmp_path, monkeypatch, name, overwrite
):
    wanted = set_of(name, hours, minutes)
    other = (
        story.read(Window(MINUTES.start_ms + HOUR // 2, MINUTES.end_ms), "1m")
        if name == "lean"
        else story.read(as_of=story.first)
    )
    write(wanted, name, tmp_path / "reference", allow_lost=True)
    content = files(tmp_path / "reference")
    write(other, name, tmp_path / "other", allow_lost=True)
    former = files(tmp_path / "other")

    # Every rename, every removal, every wait for the disk and every direct write can be the end.
    for owner, method in (
        (Path, "replace"),
        (Path, "unlink"),
        (os, "fsync"),
        (Path, "write_bytes"),
    ):
        whole = getattr(owner, method)

        def deadly(*args, whole=whole, method=method, **more):
            if method == "write_bytes":
                whole(args[0], args[1][:100])
            tick()
            return whole(*args, **more)

        monkeypatch.setattr(owner, method, deadly)
    monkeypatch.setattr(stage.Stage, "discard", lambda self: None)

    for limit in range(100):
        out = tmp_path / f"killed-{limit}"
        alive = iter(range(10**6))
        armed = False

        def tick():
            if armed and next(alive) == limit:  # noqa: B023
                raise Killed

        if overwrite:
            write(other, name, out, allow_lost=True)
        armed = True
        try:
            write(wanted, name, out, allow_lost=True, overwrite=overwrite)
            killed = False
        except Killed:
            killed = True
        armed = False
        for path, seen in files(out).items():
            if path.endswith("candlevault-part"):
                continue
            if path.endswith(sidecar.SUFFIX):
                json.loads(seen)
            else:
                assert seen in (content.get(path), former.get(path)), path
        later = dataclasses.replace(wanted, as_of=wanted.as_of + timedelta(seconds=1))
        done = write(later, name, out, allow_lost=True, overwrite=overwrite)
        assert checking.check(done.sidecar).problems == ()
        # Killed at the very last step, all of it is there already.
        assert done.unchanged or killed
        assert files(out).keys() == content.keys()
        if name != "parquet":  # which says in itself when it was read
            assert data(files(out)) == data(content)
        if not killed:
            break
    assert not killed and limit > 6


def test_two_exports_into_one_folder_wait_for_each_other(hours, minutes, tmp_path, monkeypatch):
    inside, entered = threading.Event(), []
    form = get("csv")

    def slow(candle_set, where, options):
        entered.append(candle_set.series.symbol)
        inside.wait(0.5)
        assert len(entered) == 1, "both at once"
        form.write(candle_set, where, options)
        entered.clear()

    monkeypatch.setattr(writing, "get", lambda _: dataclasses.replace(form, write=slow))
    failures = []

    def run(candle_set):
        try:
            write(candle_set, "csv", tmp_path, allow_lost=True)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in (hours, minutes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(files(tmp_path)) == 6
