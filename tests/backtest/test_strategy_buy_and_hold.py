"""buy_and_hold: one trade from the second present open to the last close."""

from __future__ import annotations

import pytest

from candlevault.backtest.strategies import registry
from candlevault.errors import InvalidRequest
from tests.support.trading import traded
from tests.support.wishes import signals_of, wished


def test_wishes_once_at_the_first_bar(frame_of):
    assert wished(frame_of([5, 6, 7]), "buy_and_hold") == ["L", "", ""]
    assert wished(frame_of([None, None, 6, 7]), "buy_and_hold") == ["L", ""]


def test_holds_from_the_next_open_to_the_end(frame_of):
    frame = frame_of([5, (8, 9, 1, 2), 7, None, 16])
    (trade,) = traded(frame, signals_of(frame, "buy_and_hold")).trades
    assert (trade.entry_price, trade.exit_price) == (8, 16)
    assert trade.exit_reason == "end_of_data"


def test_has_no_settings_and_no_lines(frame_of):
    strategy = registry.get("buy_and_hold")
    assert strategy.parse_params({}) == {}
    assert strategy.lines(frame_of([1, 2]).bars(), {}) == {}
    with pytest.raises(InvalidRequest) as caught:
        strategy.parse_params({"period": 3}, "p")
    assert caught.value.field == "p.period"
    assert "none" in caught.value.rule


def test_of_no_bars_it_wishes_nothing(frame_of):
    strategy = registry.get("buy_and_hold")
    assert len(strategy.signals(frame_of([1, 2]).bars().head(0), {}).enter_long) == 0
