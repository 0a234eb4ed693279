"""Where the user's strategies lie, and the time and the memory that they have."""

from __future__ import annotations

import pytest

from candlevault import config
from candlevault.backtest.user_strategies import calls, folder, process
from candlevault.errors import ConfigurationError, StrategyFailed
from tests.support.strategy_folder import strategies
from tests.support.user_strategies import bars_of, file_of, text

__all__ = ["strategies"]


class TestSettings:
    def test_the_folder_is_in_the_home_unless_it_is_named(self, monkeypatch, tmp_path):
        assert folder.location() == tmp_path / "strategies"
        monkeypatch.delenv("CANDLEVAULT_STRATEGIES")
        assert folder.location() == tmp_path / "home" / "strategies"

    def test_the_limits_have_defaults(self):
        assert process.limits() == process.Limits(60, 2048)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("CANDLEVAULT_STRATEGY_TIMEOUT_S", "0"),
            ("CANDLEVAULT_STRATEGY_TIMEOUT_S", "1.5"),
            ("CANDLEVAULT_STRATEGY_MEMORY_MB", "511"),
            ("CANDLEVAULT_STRATEGY_MEMORY_MB", "all"),
        ],
    )
    def test_limits_that_are_none_are_refused_by_name(self, monkeypatch, name, value):
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError, match=name):
            process.limits()

    def test_the_memory_that_is_set_is_the_memory_there_is(self, monkeypatch):
        bars, source = bars_of(), text("np.empty(700 * 1024 * 1024, np.int8)\nreturn Signals()")
        wanted = [({}, len(bars.close))]
        monkeypatch.setenv("CANDLEVAULT_STRATEGY_MEMORY_MB", "600")
        (answer,) = calls.signals(file_of(source), bars, wanted)
        assert isinstance(answer, StrategyFailed)
        assert answer.what == "used more than 600 MB of memory"
        monkeypatch.setenv("CANDLEVAULT_STRATEGY_MEMORY_MB", "2000")
        (answer,) = calls.signals(file_of(source), bars, wanted)
        assert not isinstance(answer, StrategyFailed)

    def test_every_setting_is_listed(self):
        names = {setting.name for setting in config.SETTINGS}
        assert {
            "CANDLEVAULT_STRATEGIES",
            "CANDLEVAULT_STRATEGY_TIMEOUT_S",
            "CANDLEVAULT_STRATEGY_MEMORY_MB",
        } <= names
