"""The catalogue of instruments: lifetimes of a symbol, and who became whom."""

from __future__ import annotations

from decimal import Decimal

import pytest
import yaml

from candlevault import identities
from candlevault.errors import ConfigurationError
from candlevault.identities import load
from candlevault.series import parse
from candlevault.timeframe import to_ms
from candlevault.windows import Window
from tests.support.candles import ms, window

LUNA = parse("binance", "spot", "LUNAUSDT", "1h")


def written(tmp_path, entries: object):
    path = tmp_path / "instruments.yaml"
    path.write_text(yaml.safe_dump({"binance": {"spot": {"XUSDT": entries}}}))
    return path


def test_a_symbol_nobody_wrote_about_has_one_lifetime_for_ever():
    [share] = identities.shares(parse("binance", "spot", "BTCUSDT", "1h"))
    assert (share.lifetime.number, share.window.start_ms, share.last) == (1, 0, True)
    assert share.window.end_ms == identities.FOREVER_MS


def test_the_time_axis_is_split_without_hole_or_overlap():
    old, new = identities.shares(LUNA)
    assert (old.window.end_ms, new.window.start_ms) == (ms("2022-05-28"), ms("2022-05-28"))
    assert (old.last, new.last) == (False, True)


def test_the_split_lies_on_the_grid_of_coarse_candles():
    old, new = identities.shares(parse("binance", "spot", "LUNAUSDT", "1w"))
    assert old.window.end_ms == new.window.start_ms == ms("2022-05-23"), "a Monday"


def test_a_share_is_clipped_to_a_window():
    old, new = identities.shares(LUNA)
    asked = window("2022-05-20", "2022-06-02")
    assert old.within(asked).window == window("2022-05-20", "2022-05-28")
    assert new.within(asked).window == window("2022-05-28", "2022-06-02")
    assert old.within(Window(ms("2023-01-01"), ms("2023-01-02"))) is None


def test_successors_with_their_ratio():
    [maker] = identities.lifetimes("binance", "spot", "MKRUSDT")
    assert (maker.successor, maker.successor_ratio) == ("SKYUSDT", Decimal(24_000))
    [(symbol, lifetime)] = identities.predecessors("binance", "spot", "LUNCUSDT")
    assert (symbol, lifetime.number) == ("LUNAUSDT", 1)
    assert identities.predecessors("kraken", "spot", "SKYUSDT") == []


def test_every_entry_of_the_project_says_where_it_is_known_from():
    for key, known in identities.catalogue().items():
        for lifetime in known:
            assert lifetime.source and lifetime.name, key
            assert lifetime.begins_ms is None or lifetime.begins_ms < to_ms_of_today(), key


def to_ms_of_today() -> int:
    from datetime import UTC, datetime

    return to_ms(datetime.now(UTC))


GOOD = {"name": "X", "source": "a notice"}


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], "must be a list"),
        ({"name": "X"}, "must be a list"),
        (["X"], "must be a mapping"),
        ([GOOD | {"nmae": "Y"}], "nmae: unknown key"),
        ([{"name": "X"}], "source: must be a text"),
        ([GOOD | {"begins": "2022-01-01"}], "begins: the first instrument has none"),
        ([GOOD, GOOD], "begins: must be a date"),
        ([GOOD | {"successor": "YUSDT"}], "ratio: must be given with successor"),
        ([GOOD | {"ratio": 2}], "ratio: must be given with successor"),
        ([GOOD | {"successor": "YUSDT", "ratio": 0}], "ratio: must be a positive number"),
        ([GOOD | {"successor": "YUSDT", "ratio": "many"}], "ratio: must be a positive number"),
        ([GOOD | {"successor": "Y/USDT", "ratio": 1}], "symbol: must be"),
    ],
)
def test_a_wrong_entry_is_refused_naming_file_and_place(tmp_path, entries, told):
    with pytest.raises(ConfigurationError, match=r"^instruments\.yaml: ") as refusal:
        load(written(tmp_path, entries))
    assert told in str(refusal.value)


def test_lifetimes_must_ascend(tmp_path):
    path = tmp_path / "instruments.yaml"
    path.write_text(
        "binance: {spot: {XUSDT: [{name: A, source: s}, {begins: 2022-02-01, name: B, source: s},"
        " {begins: 2022-01-01, name: C, source: s}]}}"
    )
    with pytest.raises(ConfigurationError, match="must lie after the one before"):
        load(path)
