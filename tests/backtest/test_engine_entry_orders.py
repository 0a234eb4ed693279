"""Resting entries: limit, stop and stop-limit orders, computed by hand with a capital of 1000.

Every order is wished at the close of row 0 and can fill from row 1 on.
"""

from __future__ import annotations

import pytest

from candlevault.backtest.risk import EntryOrders
from tests.support.trading import HOUR, START, alone, ends, refused, rows_of, wished

CALM = (100, 101, 99, 100)


def ordered(frame, *, short=False, limit=None, stop=None, **options):
    """One entry order, of a short where said."""
    prices = {name: {0: price} for name, price in (("limit", limit), ("stop", stop)) if price}
    count = len(frame.bars().close)
    signals = (
        wished(count, enter_short=0, **prices) if short else wished(count, enter_long=0, **prices)
    )
    return alone(frame, signals, direction="both", **options)


def entry(simulation):
    (trade,) = simulation.trades
    return trade.entry_price, rows_of(simulation)[0][0]


class TestLimit:
    def test_waits_below_the_market_and_fills_at_its_price(self, frame_of):
        # 1000 buy 12.5 at 80, worth 96 each at the end
        frame = frame_of([100, (100, 101, 90, 95), (95, 96, 79, 90), 96])
        got = ordered(frame, limit=80.0)
        (trade,) = got.trades
        assert (trade.entry_price, trade.quantity, trade.entry_order) == (80.0, 12.5, "limit")
        assert (trade.signal_time, trade.entry_time) == (START, START + 2 * HOUR)
        assert trade.bars_held == 2
        assert got.equity.tolist() == [1000.0, 1000.0, 1125.0, 1200.0]
        assert got.held.tolist() == [False, False, True, True]

    def test_a_low_at_the_limit_fills_it_and_one_above_does_not(self, frame_of):
        touch = frame_of([100, (100, 101, 80, 95), 95])
        assert entry(ordered(touch, limit=80.0)) == (80.0, 1)
        above = frame_of([100, (100, 101, 80.01, 95), 95])
        assert ordered(above, limit=80.0).trades == ()

    def test_an_open_below_the_limit_fills_at_the_better_open(self, frame_of):
        frame = frame_of([100, (75, 90, 70, 85), 85])
        assert entry(ordered(frame, limit=80.0)) == (75.0, 1)

    def test_carries_no_slippage_and_no_spread(self, frame_of):
        inside = frame_of([100, (100, 101, 79, 90), 90])
        got = ordered(inside, limit=80.0, slippage_bps=1000, half_spread=2.0)
        assert got.trades[0].entry_price == 80.0
        gap = frame_of([100, (75, 90, 70, 85), 85])
        got = ordered(gap, limit=80.0, slippage_bps=1000, half_spread=2.0)
        assert got.trades[0].entry_price == 75.0

    def test_pays_the_maker_fee_inside_the_bar_and_at_the_open(self, frame_of):
        # maker fee 1/4: 1000 buy 10 at 80 with a fee of 200; leaving costs 1/10 of 900
        inside = frame_of([100, (100, 101, 79, 90), 90])
        (trade,) = ordered(inside, limit=80.0, fee_rate=0.1, maker_fee_rate=0.25).trades
        assert (trade.quantity, trade.entry_fee, trade.exit_fee) == (10.0, 200.0, 90.0)
        gap = frame_of([100, (64, 90, 60, 85), 85])
        (trade,) = ordered(gap, limit=80.0, fee_rate=0.1, maker_fee_rate=0.25).trades
        assert (trade.quantity, trade.entry_fee) == (12.5, 200.0)

    def test_without_a_maker_fee_the_fee_is_the_same(self, frame_of):
        frame = frame_of([100, (100, 101, 79, 90), 90])
        assert ordered(frame, limit=80.0, fee_rate=0.25).trades[0].entry_fee == 200.0

    def test_of_a_short_waits_above_the_market(self, frame_of):
        frame = frame_of([100, (100, 121, 99, 110), 110])
        assert entry(ordered(frame, short=True, limit=120.0)) == (120.0, 1)
        gap = frame_of([100, (130, 131, 99, 110), 110])
        assert entry(ordered(gap, short=True, limit=120.0)) == (130.0, 1)
        below = frame_of([100, (100, 119.9, 99, 110), 110])
        assert ordered(below, short=True, limit=120.0).trades == ()

    def test_the_rules_place_it_a_percentage_off_the_close(self, frame_of):
        frame = frame_of([100, (100, 121, 79, 100), 100])
        rules = EntryOrders("limit", offset_pct=20)
        assert entry(ordered(frame, entry=rules)) == (80.0, 1)
        assert entry(ordered(frame, short=True, entry=rules)) == (120.0, 1)

    def test_a_bar_without_a_price_of_the_strategy_orders_at_market(self, frame_of):
        frame = frame_of([100, CALM, CALM, (110, 111, 109, 110)])
        signals = wished(4, enter_long=2, limit={0: 80.0})
        assert ends(alone(frame, signals))[0][1] == 110.0


class TestStop:
    def test_waits_above_the_market_and_buys_there(self, frame_of):
        # 1000 buy 10 at 100, triggered from 90
        frame = frame_of([90, (90, 95, 89, 94), (94, 104, 93, 102), 103])
        got = ordered(frame, stop=100.0)
        (trade,) = got.trades
        assert (trade.entry_price, trade.quantity, trade.entry_order) == (100.0, 10.0, "stop")
        assert rows_of(got) == [(2, 3)]
        assert got.equity.tolist() == [1000.0, 1000.0, 1020.0, 1030.0]

    def test_a_high_at_the_stop_triggers_it_and_one_below_does_not(self, frame_of):
        assert entry(ordered(frame_of([90, (90, 100, 89, 94), 94]), stop=100.0)) == (100.0, 1)
        assert ordered(frame_of([90, (90, 99.99, 89, 94), 94]), stop=100.0).trades == ()

    def test_a_gap_through_it_buys_at_the_worse_open(self, frame_of):
        assert entry(ordered(frame_of([90, (105, 106, 99, 100), 94]), stop=100.0)) == (105.0, 1)

    def test_slips_and_pays_the_taker_fee(self, frame_of):
        # 2500 bps: bought at 125; the fee of 1/4 on top: 1000 / 156.25 = 6.4 units
        frame = frame_of([90, (90, 101, 89, 94), 94])
        costs = dict(slippage_bps=2500, fee_rate=0.25, maker_fee_rate=0.0)
        (trade,) = ordered(frame, stop=100.0, **costs).trades
        assert (trade.entry_price, trade.quantity, trade.entry_fee) == (125.0, 6.4, 200.0)
        gap = frame_of([90, (104, 105, 89, 94), 94])
        (trade,) = ordered(gap, stop=100.0, **costs).trades
        assert (trade.entry_price, trade.entry_fee) == (130.0, 200.0)

    def test_of_a_short_waits_below_the_market(self, frame_of):
        frame = frame_of([110, (110, 111, 99, 105), 105])
        assert entry(ordered(frame, short=True, stop=100.0)) == (100.0, 1)
        assert entry(ordered(frame, short=True, stop=100.0, slippage_bps=1000)) == (90.0, 1)
        gap = frame_of([110, (80, 111, 79, 105), 105])
        assert entry(ordered(gap, short=True, stop=100.0)) == (80.0, 1)

    def test_the_rules_place_it_a_percentage_beyond_the_close(self, frame_of):
        frame = frame_of([100, (100, 121, 79, 100), 100])
        rules = EntryOrders("stop", offset_pct=20)
        assert entry(ordered(frame, entry=rules)) == (120.0, 1)
        assert entry(ordered(frame, short=True, entry=rules)) == (80.0, 1)


class TestStopLimit:
    def test_fills_at_its_trigger_where_the_limit_allows_that(self, frame_of):
        frame = frame_of([100, (100, 111, 99, 105), 105])
        got = ordered(frame, stop=110.0, limit=115.0)
        assert entry(got) == (110.0, 1)
        assert got.trades[0].entry_order == "stop_limit"

    def test_slips_up_to_the_limit_and_pays_the_taker_fee(self, frame_of):
        frame = frame_of([100, (100, 111, 99, 105), 105])
        within = ordered(frame, stop=100.5, limit=115.0, slippage_bps=1000)
        assert within.trades[0].entry_price == pytest.approx(110.55, rel=1e-15)
        capped = ordered(frame, stop=110.0, limit=115.0, slippage_bps=1000, fee_rate=0.25,
                         maker_fee_rate=0.0)  # fmt: skip
        (trade,) = capped.trades
        assert (trade.entry_price, trade.entry_fee) == (115.0, 200.0)
        spread = ordered(frame, stop=110.0, limit=115.0, half_spread=9.0)
        assert spread.trades[0].entry_price == 115.0

    def test_an_open_between_trigger_and_limit_fills_at_the_open(self, frame_of):
        frame = frame_of([100, (112, 113, 99, 105), 105])
        assert entry(ordered(frame, stop=110.0, limit=115.0)) == (112.0, 1)
        assert entry(ordered(frame, stop=110.0, limit=115.0, slippage_bps=1000)) == (115.0, 1)

    def test_an_open_beyond_the_limit_leaves_a_limit_order_from_then_on(self, frame_of):
        # triggered at 120; the bar comes back to 115 after its open
        frame = frame_of([100, (120, 121, 114, 118), 118])
        (trade,) = ordered(frame, stop=110.0, limit=115.0, slippage_bps=100, fee_rate=0.5,
                           maker_fee_rate=0.25).trades  # fmt: skip
        assert (trade.entry_price, trade.entry_fee) == (115.0, 200.0)
        assert trade.entry_order == "stop_limit"

    def test_which_waits_on_when_the_bar_does_not_come_back(self, frame_of):
        frame = frame_of([100, (120, 121, 116, 118), (118, 119, 114, 118), 118])
        got = ordered(frame, stop=110.0, limit=115.0)
        assert entry(got) == (115.0, 2)
        assert got.trades[0].entry_order == "stop_limit"
        # the trigger is past: an open below it fills the limit at the open
        falls = frame_of([100, (120, 121, 116, 118), (90, 95, 89, 94), 94])
        assert entry(ordered(falls, stop=110.0, limit=115.0)) == (90.0, 2)

    def test_a_limit_on_the_better_side_of_the_trigger_waits_for_the_way_back(self, frame_of):
        # the low of row 1 may have come before the trigger: no fill; row 2 comes back
        frame = frame_of([100, (100, 111, 99, 108), (108, 109, 104, 107), 107])
        got = ordered(frame, stop=110.0, limit=105.0, fee_rate=0.5, maker_fee_rate=0.25)
        assert entry(got) == (105.0, 2)
        assert got.trades[0].entry_fee == 200.0
        assert got.trades[0].entry_order == "stop_limit"

    def test_a_close_beyond_that_limit_proves_the_way_back(self, frame_of):
        frame = frame_of([100, (100, 111, 99, 104), 104])
        got = ordered(frame, stop=110.0, limit=105.0, slippage_bps=100, fee_rate=0.5,
                      maker_fee_rate=0.25)  # fmt: skip
        assert entry(got) == (105.0, 1)
        assert got.trades[0].entry_fee == 200.0
        assert got.trades[0].entry_order == "stop_limit"

    def test_the_limit_counts_only_after_the_trigger(self, frame_of):
        frame = frame_of([100, (100, 105, 90, 100), (100, 104, 91, 100), 100])
        assert ordered(frame, stop=110.0, limit=95.0).trades == ()

    def test_of_a_short_is_mirrored(self, frame_of):
        frame = frame_of([100, (100, 101, 89, 95), 95])
        assert entry(ordered(frame, short=True, stop=90.0, limit=85.0)) == (90.0, 1)
        got = ordered(frame, short=True, stop=90.0, limit=85.0, slippage_bps=1000)
        assert entry(got) == (85.0, 1)
        gap = frame_of([100, (80, 86, 79, 82), 82])
        assert entry(ordered(gap, short=True, stop=90.0, limit=85.0)) == (85.0, 1)
        proved = frame_of([100, (100, 101, 89, 96), 95])
        assert entry(ordered(proved, short=True, stop=90.0, limit=95.0)) == (95.0, 1)
        unproved = frame_of([100, (100, 101, 89, 94), 94])
        assert ordered(unproved, short=True, stop=90.0, limit=95.0).trades == ()

    def test_the_rules_place_both_prices(self, frame_of):
        # stop 110, limit 110 * 1.05 = 115.5
        frame = frame_of([100, (100, 111, 99, 105), 105])
        rules = EntryOrders("stop_limit", offset_pct=10, limit_offset_pct=5)
        assert entry(ordered(frame, entry=rules)) == (pytest.approx(110.0), 1)
        got = ordered(frame, entry=rules, slippage_bps=2000)
        assert entry(got) == (pytest.approx(115.5), 1)
        falls = frame_of([100, (100, 101, 89, 95), 95])
        got = ordered(falls, short=True, entry=rules, slippage_bps=2000)
        assert entry(got) == (pytest.approx(90 * 0.95), 1)


class TestValidBars:
    FALL = ((100, 101, 79, 90),)

    @pytest.mark.parametrize(("valid", "filled"), [(1, False), (2, True), (3, True), (None, True)])
    def test_counts_the_bar_in_which_the_order_becomes_active(self, frame_of, valid, filled):
        frame = frame_of([100, CALM, *self.FALL, 90])
        got = ordered(frame, limit=80.0, entry=EntryOrders(valid_bars=valid))
        assert bool(got.trades) == filled
        assert refused(got) == {}

    @pytest.mark.parametrize("absent", ["mark", "carry"])
    def test_absent_rows_do_not_count(self, frame_of, absent):
        frame = frame_of([100, None, CALM, None, *self.FALL, 90], absent=absent)
        got = ordered(frame, limit=80.0, entry=EntryOrders(valid_bars=2))
        assert rows_of(got) == [(4, 5)]
        assert ordered(frame, limit=80.0, entry=EntryOrders(valid_bars=1)).trades == ()

    def test_a_triggered_stop_limit_goes_on_counting(self, frame_of):
        # triggered in row 1, back at the limit in row 3
        frame = frame_of(
            [100, (100, 111, 99, 108), (108, 109, 107, 108), (108, 109, 104, 105), 105]
        )
        late = ordered(frame, stop=110.0, limit=105.0, entry=EntryOrders(valid_bars=2))
        assert late.trades == ()
        in_time = ordered(frame, stop=110.0, limit=105.0, entry=EntryOrders(valid_bars=3))
        assert entry(in_time) == (105.0, 3)

    def test_a_market_order_waits_however_long_the_venue_is_closed(self, frame_of):
        frame = frame_of([100, None, None, None, 100, 110])
        got = alone(frame, [1, 0, 0], entry=EntryOrders(valid_bars=1))
        assert rows_of(got) == [(4, 5)]

    def test_each_new_order_waits_its_own_time(self, frame_of):
        frame = frame_of([100, CALM, CALM, *self.FALL, 90])
        signals = wished(5, enter_long=[0, 1], limit={0: 80.0, 1: 80.0})
        got = alone(frame, signals, entry=EntryOrders(valid_bars=2))
        assert rows_of(got) == [(3, 4)]
        assert got.trades[0].signal_time == START + HOUR


class TestReplacedAndCancelled:
    def test_the_newest_entry_replaces_the_one_that_waits(self, frame_of):
        frame = frame_of([100, CALM, (100, 101, 79, 95), 95])
        signals = wished(4, enter_long=[0, 1], limit={0: 80.0, 1: 90.0})
        got = alone(frame, signals)
        assert [(t.entry_price, t.signal_time) for t in got.trades] == [(90.0, START + HOUR)]

    def test_also_one_of_the_other_side(self, frame_of):
        frame = frame_of([100, CALM, (100, 101, 79, 95), 95])
        signals = wished(4, enter_long=0, enter_short=1, limit={0: 80.0})
        got = alone(frame, signals, direction="both")
        assert [(t.side, t.entry_price) for t in got.trades] == [("short", 100.0)]

    def test_an_exit_of_its_side_drops_it_and_one_of_the_other_does_not(self, frame_of):
        frame = frame_of([100, CALM, (100, 101, 79, 95), 95])
        dropped = wished(4, enter_long=0, exit_long=1, limit={0: 80.0})
        assert alone(frame, dropped, direction="both").trades == ()
        kept = wished(4, enter_long=0, exit_short=1, limit={0: 80.0})
        assert len(alone(frame, kept, direction="both").trades) == 1

    def test_a_short_order_is_dropped_by_an_exit_of_shorts(self, frame_of):
        frame = frame_of([100, CALM, (100, 121, 99, 105), 105])
        dropped = wished(4, enter_short=0, exit_short=1, limit={0: 120.0})
        assert alone(frame, dropped, direction="both").trades == ()

    def test_an_order_against_a_position_leaves_it_first_and_rests_then(self, frame_of):
        # long at 100, left at the open of row 3; the short waits for 120 until row 4
        frame = frame_of([100, 100, 100, (105, 106, 104, 105), (105, 121, 104, 118), 110])
        signals = wished(6, enter_long=0, enter_short=2, limit={2: 120.0})
        got = alone(frame, signals, direction="both")
        assert [(t.side, t.entry_price, t.exit_price) for t in got.trades] == [
            ("long", 100.0, 105.0), ("short", 120.0, 110.0)]  # fmt: skip
        assert rows_of(got) == [(1, 3), (4, 5)]

    def test_an_order_still_waiting_at_the_end_never_fills(self, frame_of):
        got = ordered(frame_of([100, CALM, CALM]), limit=80.0)
        assert (got.trades, refused(got)) == ((), {})

    def test_nothing_fills_in_an_absent_row_even_where_it_is_carried(self, frame_of):
        # carried at 80: the limit would be touched there
        frame = frame_of([100, (100, 101, 85, 85), None, (95, 96, 94, 95), 95], absent="carry")
        signals = wished(5, enter_long=1, limit={1: 90.0})
        assert alone(frame, signals).trades == ()
