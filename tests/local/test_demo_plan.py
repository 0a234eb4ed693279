"""What the demo is asked to do, and what of it is refused before anything starts."""

from __future__ import annotations

import pytest

from candlevault.errors import InvalidRequest
from candlevault.local import demo


def test_without_settings_it_is_the_documented_demo():
    plan = demo.plan({})
    assert [str(one) for one in plan.series("binance")] == [
        "binance/spot/BTCUSDT/1d",
        "binance/spot/ETHUSDT/1d",
        "binance/spot/BTCUSDT/1h",
        "binance/spot/ETHUSDT/1h",
    ]
    assert str(plan.window) == "[2020-01-01T00:00:00Z, 2025-10-01T00:00:00Z)"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SYMBOLS", "BTC/USDT"),
        ("TIMEFRAMES", "7m"),
        ("START", "yesterday"),
        ("END", "2019-12-31"),
    ],
)
def test_a_wrong_setting_is_named(setting, value):
    with pytest.raises(InvalidRequest) as refused:
        demo.plan({setting: value})
    assert refused.value.field == setting
