"""A candle is what its finer candles add up to: what is compared, held, explained, settled."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pytest

from candlevault.quality import months, rollups
from candlevault.quality.totals import FIELDS
from candlevault.storage import freezing
from candlevault.storage.database import Connect
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support import candles as make
from tests.support.candles import ms, window

DAYS = window("2024-02-01", "2024-02-04")
NOON = ms("2024-02-02T12:00")
UNIT = Decimal("0.00000001")


@dataclass
class Instrument:
    """The series of one instrument over DAYS, of candles made of the same trades."""

    connect: Connect
    quarters: list[make.Row] = field(default_factory=list)
    stored: dict[str, StoredSeries] = field(default_factory=dict)

    def candles(self, code: str) -> list[make.Row]:
        """What the venue would publish."""
        made = self.quarters if code == "15m" else make.resample(self.quarters, timeframe(code))
        return [dict(row) for row in made]

    def put(self, code: str, changes: dict[int, dict] | None = None, **options) -> None:
        """Publish the series with some candles changed; without=(open times) leaves out."""
        without = options.pop("without", ())
        rows = [row for row in self.candles(code) if row["open_time"] not in without]
        for row in rows:
            row |= (changes or {}).get(row["open_time"], {})
        span = options.pop("span", DAYS)
        series = make.series(code)
        self.stored[code], _ = make.store(self.connect, series, rows, span, **options)

    def at(self, code: str, open_time: int) -> make.Row:
        return next(row for row in self.candles(code) if row["open_time"] == open_time)

    def examine(self, code: str, span: Window = DAYS, run: str | None = None):
        return rollups.examine(self.connect, self.stored[code], span, run)

    def held(self) -> list[dict[str, object]]:
        """The rows of market.discrepancies with their timeframes."""
        with self.connect() as connection:
            cursor = connection.execute(
                "SELECT n.timeframe, d.* FROM market.discrepancies d"
                " JOIN market.series_names n USING (series_id)"
                " ORDER BY d.open_time, n.timeframe, d.other, d.field"
            )
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def told(self) -> list[tuple[object, ...]]:
        return [(row["timeframe"], row["other"], row["field"], row["state"]) for row in self.held()]

    def explanation(self) -> str:
        [text] = {row["explanation"] for row in self.held()}
        return text


@pytest.fixture
def instrument(connect) -> Instrument:
    """Three days of quarters with quiet ones among them, nothing stored yet."""
    quarters = make.walk(timeframe("15m"), DAYS)
    for k in (16, 17, 18, 19, 40):
        quarters[k] = make.quiet(quarters[k], quarters[k - 1]["close"])
    return Instrument(connect, quarters)


def test_candles_of_the_same_trades_agree_in_every_pair(instrument):
    for code in ("15m", "1h", "4h", "1d"):
        instrument.put(code)
    day = instrument.examine("1d")
    assert day.compared == {"1d = 15m": 3, "1d = 1h": 3, "1d = 4h": 3}
    hour = instrument.examine("1h")
    assert hour.compared == {"1h = 15m": 72, "4h = 1h": 18, "1d = 1h": 3}
    assert (hour.open, hour.explained, hour.settled) == (0, 0, 0)
    assert instrument.held() == []


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("examined", ["15m", "1h"])
def test_smallest_difference_in_any_column_is_held_from_either_side(instrument, name, examined):
    instrument.put("15m")
    unit = 1 if name == "trades_count" else UNIT
    # Volumes stay above what takers bought, the low below everything.
    sign = -1 if name in ("low", "taker_buy_base_volume", "taker_buy_quote_volume") else 1
    right = instrument.at("1h", NOON)[name]
    wrong = right + sign * unit
    changes = {name: wrong}
    if name in ("open", "close"):
        changes["high"] = instrument.at("1h", NOON)["high"]
    instrument.put("1h", {NOON: changes})
    report = instrument.examine(examined, run="manual__1")
    assert (report.open, report.explained) == (1, 0)
    [row] = instrument.held()
    assert (row["timeframe"], row["other"], row["field"]) == ("1h", "15m", name)
    assert (row["stored_value"], row["other_value"]) == (wrong, right)
    assert row["difference_pct"] == pytest.approx(float(100 * (right - wrong) / wrong))
    assert (row["kind"], row["state"], row["explanation"]) == ("rollup", "open", None)
    assert row["dag_run_id"] == "manual__1"
    assert report.samples == [
        {
            "timeframe": "1h",
            "open_time": "2024-02-02T12:00:00Z",
            "finer": "15m",
            "field": name,
            "stored": str(row["stored_value"]),
            "finer_total": str(row["other_value"]),
        }
    ]


def test_every_pair_that_a_wrong_candle_belongs_to_is_told(instrument):
    for code in ("15m", "1d"):
        instrument.put(code)
    instrument.put("1h", {NOON: {"volume": Decimal(7000)}})
    assert instrument.examine("1h").open == 2
    assert instrument.told() == [
        ("1d", "1h", "volume", "open"),
        ("1h", "15m", "volume", "open"),
    ]


@pytest.mark.parametrize(
    ("examined", "span", "compared"),
    [
        ("1d", window("2024-02-02", "2024-02-03"), 1),
        ("1d", window("2024-02-01T12:00", "2024-02-03T12:00"), 1),
        ("1d", window("2024-02-02T00:00:00.001", "2024-02-03"), 0),
        ("1h", window("2024-02-02T05:00", "2024-02-02T06:00"), 1),
        ("1h", window("2024-02-02T05:10", "2024-02-02T05:20"), 1),
        ("1h", window("2024-02-01T23:00", "2024-02-02T01:00"), 2),
    ],
)
def test_own_candles_are_compared_inside_the_window_and_coarser_ones_where_it_touches_them(
    instrument, examined, span, compared
):
    instrument.put("1h")
    instrument.put("1d", {ms("2024-02-02"): {"trades_count": 1}})
    report = instrument.examine(examined, span)
    assert report.compared.get("1d = 1h", 0) == compared
    assert report.open == bool(compared)


def test_candle_is_not_compared_while_a_finer_one_is_lost(instrument):
    instrument.put("15m", without=[NOON])
    instrument.put("1h")
    report = instrument.examine("1h")
    assert (report.compared["1h = 15m"], report.open) == (71, 0)


def test_known_absent_finer_candle_counts_as_nothing_traded(instrument):
    gone = instrument.quarters.pop(30)
    span = Window(gone["open_time"], gone["open_time"] + 900_000)
    absent = make.absence(f"{span.start:%FT%T}", f"{span.end:%FT%T}")
    instrument.put("15m", absences=[absent])
    hour = gone["open_time"] - gone["open_time"] % 3_600_000
    instrument.put("1h", {hour: {"volume": Decimal(7000)}})
    assert instrument.examine("1h").open == 1
    instrument.put("1h")
    report = instrument.examine("1h")
    assert (report.compared["1h = 15m"], report.open) == (72, 0)


def test_candle_whose_finer_ones_are_all_known_absent_contradicts_them(instrument):
    hour = range(NOON, NOON + 3_600_000, 900_000)
    absent = make.absence("2024-02-02T12:00", "2024-02-02T13:00")
    instrument.put("15m", without=hour, absences=[absent])
    instrument.put("1h")
    instrument.examine("1h")
    assert instrument.told() == [("1h", "15m", name, "open") for name in sorted(FIELDS[4:])]
    assert {row["other_value"] for row in instrument.held()} == {0}


def test_candle_without_trades_agrees_with_finer_ones_that_repeat_other_prices(instrument):
    quiet = instrument.quarters[16]["open_time"]
    instrument.put("15m")
    instrument.put("1h", {quiet: dict.fromkeys(("open", "high", "low", "close"), Decimal(7))})
    assert instrument.examine("1h").open == 0


def test_columns_that_a_source_lacks_are_not_compared(instrument):
    bare = dict.fromkeys(FIELDS[5:], 0)
    instrument.put("15m")
    instrument.put("1h", {NOON: bare | {"close": instrument.at("1h", NOON)["low"]}})
    instrument.examine("1h")
    assert instrument.told() == [("1h", "15m", "close", "open")]


def test_restated_candle_explains_that_its_finer_ones_are_old(instrument):
    old = {"volume": Decimal(7000), "high": Decimal(50_000)}
    hour, quarter = instrument.at("1h", NOON), instrument.at("15m", NOON)
    instrument.put("1h", {NOON: old})
    instrument.put("1h", reason="correction")
    gain = Decimal(7000) - hour["volume"]
    instrument.put("15m", {NOON: old | {"volume": quarter["volume"] + gain}})
    report = instrument.examine("15m")
    assert (report.open, report.explained) == (0, 2)
    assert {row[2:] for row in instrument.told()} == {
        ("high", "explained"),
        ("volume", "explained"),
    }
    assert instrument.explanation().startswith("1h candle 2024-02-02T12:00Z restated at 20")
    assert instrument.explanation().endswith(
        " (revision 2 of that series): the 15m candles still hold the old values"
    )


def more(row: make.Row, volume: int) -> dict[str, object]:
    return {"volume": row["volume"] + volume}


def test_restated_finer_candles_explain_that_the_coarse_one_is_old(instrument):
    first, second = NOON + 900_000, NOON + 1_800_000
    old = {time: more(instrument.at("15m", time), 5) for time in (first, second)}
    instrument.put("15m", old)
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    assert instrument.examine("1h").open == 0
    instrument.put("15m", reason="correction")
    report = instrument.examine("1h")
    assert (report.open, report.explained) == (0, 1)
    assert instrument.explanation().startswith(
        "15m candles 2024-02-02T12:15Z, 2024-02-02T12:30Z restated at 20"
    )
    assert instrument.explanation().endswith(": the 1h candles still hold the old values")


def test_old_values_are_found_some_restatements_back(instrument):
    hour = instrument.at("1h", NOON)
    for volume in (3, 10, 4, 0):
        instrument.put("1h", {NOON: more(hour, volume)})
    quarter = instrument.at("15m", NOON)
    instrument.put("15m", {NOON: more(quarter, 10)})
    assert instrument.examine("1h").explained == 1
    assert "(revision 3 of that series)" in instrument.explanation()


def test_restated_candles_between_two_timeframes_explain_their_difference(instrument):
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    instrument.put("1h", reason="correction")
    instrument.put("15m", {NOON: more(instrument.at("15m", NOON), 10)})
    instrument.put("1d")
    report = instrument.examine("15m")
    assert (report.open, report.explained) == (0, 2)
    day = next(row for row in instrument.held() if row["timeframe"] == "1d")
    assert day["explanation"].startswith("1h candle 2024-02-02T12:00Z restated")
    assert day["explanation"].endswith(
        "the 15m candles still hold the old values, the 1d candles the new ones"
    )


@pytest.mark.parametrize("volume", [9, 11])
def test_restatement_to_other_values_explains_nothing(instrument, volume):
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    instrument.put("1h", reason="correction")
    instrument.put("15m", {NOON: more(instrument.at("15m", NOON), volume)})
    report = instrument.examine("1h")
    assert (report.open, report.explained) == (1, 0)


def test_restatement_of_one_column_does_not_explain_another(instrument):
    hour, quarter = instrument.at("1h", NOON), instrument.at("15m", NOON)
    instrument.put("1h", {NOON: more(hour, 10)})
    instrument.put("1h", reason="correction")
    instrument.put("15m", {NOON: more(quarter, 10) | {"trades_count": 9999}})
    assert instrument.examine("1h").open == 2


def test_candle_inserted_later_is_no_restatement(instrument):
    instrument.put("15m", without=[NOON])
    instrument.put("15m")
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    assert instrument.examine("1h").open == 1


def test_examining_again_changes_nothing_but_when_it_was_seen(instrument):
    instrument.put("15m")
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    first = instrument.examine("1h", run="first")
    [before] = instrument.held()
    assert instrument.examine("1h", run="second") == first
    [after] = instrument.held()
    assert after.pop("seen_at") > before.pop("seen_at")
    assert after == before


def test_mismatch_that_is_gone_is_settled_and_keeps_what_it_was(instrument):
    hour = instrument.at("1h", NOON)
    instrument.put("15m")
    instrument.put("1h", {NOON: more(hour, 10) | {"trades_count": 1}})
    assert instrument.examine("1h").open == 2
    instrument.put("1h", {NOON: {"trades_count": 1}}, reason="correction")
    report = instrument.examine("1h")
    assert (report.open, report.settled) == (1, 1)
    trades, volume = instrument.held()
    assert (trades["field"], trades["state"]) == ("trades_count", "open")
    assert (volume["state"], volume["stored_value"]) == ("settled", hour["volume"] + 10)
    assert volume["explanation"].startswith(f"both sides say {hour['volume']:.8f}, found at 20")
    assert instrument.examine("1h").settled == 0


def test_settled_mismatch_that_is_back_is_open_and_detected_anew(instrument):
    hour, quarter = instrument.at("1h", NOON), instrument.at("15m", NOON)
    instrument.put("15m")
    instrument.put("1h", {NOON: more(hour, 10)})
    instrument.examine("1h", run="first")
    [first] = instrument.held()
    instrument.put("1h")
    instrument.examine("1h", run="second")
    instrument.put("1h", {NOON: more(hour, 20)})
    instrument.put("15m", {NOON: more(quarter, 5)})
    instrument.examine("1h", run="third")
    [again] = instrument.held()
    assert (again["state"], again["explanation"], again["dag_run_id"]) == ("open", None, "third")
    assert again["detected_at"] > first["detected_at"]
    assert again["discrepancy_id"] == first["discrepancy_id"]


def test_mismatch_of_a_candle_that_is_not_stored_any_more_is_settled(instrument):
    instrument.put("15m")
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    instrument.examine("1h")
    with instrument.connect() as connection:
        connection.execute("DELETE FROM market.candles_1h WHERE open_time = '2024-02-02T12:00Z'")
    assert instrument.examine("1h").settled == 1
    assert instrument.explanation().startswith("the 1h candle is not stored any more, found at ")


def test_mismatch_that_cannot_be_compared_now_stays_as_it_was(instrument):
    instrument.put("15m")
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    instrument.examine("1h")
    [before] = instrument.held()
    with instrument.connect() as connection:
        connection.execute("DELETE FROM market.candles_15m WHERE open_time = '2024-02-02T12:15Z'")
    report = instrument.examine("1h")
    assert (report.open, report.settled) == (0, 0)
    assert instrument.held() == [before]


def test_mismatch_outside_the_window_stays_as_it_was(instrument):
    instrument.put("15m")
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    instrument.examine("1h")
    instrument.put("1h")
    for span in (window("2024-02-02", "2024-02-02T12:30"), window("2024-02-03", "2024-02-04")):
        assert instrument.examine("1h", span).settled == 0
    assert instrument.examine("1h", window("2024-02-02T12:00", "2024-02-02T13:00")).settled == 1


def test_both_sides_examined_at_once_end_as_one_after_the_other(instrument):
    instrument.put("15m")
    hours = [row["open_time"] for row in instrument.candles("1h")][::3]
    instrument.put("1h", {time: {"trades_count": 1} for time in hours})
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(instrument.examine, ["15m", "1h"] * 2))
    assert {report.open for report in reports} == {len(hours)}
    assert instrument.told() == [("1h", "15m", "trades_count", "open")] * len(hours)


def test_other_instruments_are_not_looked_at(instrument):
    instrument.put("15m")
    other = make.series("1h", "ETHUSDT")
    make.store(instrument.connect, other, make.walk(timeframe("1h"), DAYS, seed=2), DAYS)
    assert instrument.examine("15m").compared == {}


def test_years_are_compared_piece_by_piece_with_the_same_result(instrument, monkeypatch):
    instrument.put("15m")
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    instrument.put("1d")
    whole = instrument.examine("15m")
    monkeypatch.setattr(rollups, "_FINER_AT_ONCE", 10)
    assert instrument.examine("15m") == whole
    assert whole.compared == {"1h = 15m": 72, "1d = 15m": 3}


def test_cold_months_are_compared_like_hot_ones(instrument, monkeypatch, tmp_path):
    monkeypatch.setenv("CANDLEVAULT_COLD_URL", str(tmp_path))
    instrument.put("1h", {NOON: more(instrument.at("1h", NOON), 10)})
    instrument.put("1h", reason="correction")
    instrument.put("15m", {NOON: more(instrument.at("15m", NOON), 10)})
    hot = instrument.examine("15m")
    assert hot.explained == 1
    for stored in instrument.stored.values():
        months.take(instrument.connect, stored, DAYS)
        assert freezing.freeze(instrument.connect, stored, date(2024, 2, 1)) > 0
    assert instrument.examine("15m") == hot
    assert instrument.examine("1h").compared == {"1h = 15m": 72}


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_are_found_in_exactly_their_columns(instrument, seed):
    chance = random.Random(seed)
    changes: dict[int, dict[str, object]] = {}
    for row in chance.sample(instrument.candles("1h"), 20):
        if not row["volume"]:
            continue
        names = chance.sample(("volume", "quote_volume", "trades_count", "high"), 2)
        changes[row["open_time"]] = {name: row[name] + 1 for name in names}
    instrument.put("15m")
    instrument.put("1h", changes)
    instrument.examine("15m")
    found = {(int(row["open_time"].timestamp() * 1000), row["field"]) for row in instrument.held()}
    assert found == {(time, name) for time, names in changes.items() for name in names}
