"""A user adds a strategy by adding a file, and its code stays outside of this process."""

from __future__ import annotations

import os
import shutil
import sys

import numpy as np
import pytest

from candlevault import paths
from candlevault.backtest import evaluation
from candlevault.backtest.strategies import registry
from candlevault.backtest.strategies.contract import Ascending, Parameter
from candlevault.backtest.trust import lookahead
from candlevault.backtest.user_strategies import catalog, folder
from candlevault.errors import InvalidRequest
from tests.support.strategy_folder import own, started, strategies
from tests.support.user_strategies import bars_of, text, write

__all__ = ["started", "strategies"]


class TestOneFileIsOneStrategy:
    def test_a_file_that_is_added_is_known_at_once_and_gone_with_the_file(self, strategies):
        assert own() == {}
        path = write(strategies, "mine")
        assert list(own()) == ["mine"]
        assert list(registry.known()) == sorted(registry.known())
        path.unlink()
        assert own() == {}
        with pytest.raises(InvalidRequest, match="must be one of"):
            registry.get("mine")

    def test_what_it_declares_arrives_as_declared(self, strategies):
        source = text(
            name="mine",
            parameters='Parameter("fast", "integer", 3, 1, 10, "Bars."),'
            ' Parameter("slow", "number", 5.5, maximum=20),'
            ' Parameter("on", "boolean", False),'
            ' Parameter("by", "choice", "low", options=("low", "high")),',
            more='rules=(Ascending("fast", "slow"),), sets_levels=True',
        )
        path = write(strategies, "mine", source)
        found = registry.get("mine")
        assert (found.name, found.version, found.title) == ("mine", "1", "Planted")
        assert found.parameters == (
            Parameter("fast", "integer", 3, 1, 10, "Bars."),
            Parameter("slow", "number", 5.5, None, 20),
            Parameter("on", "boolean", False),
            Parameter("by", "choice", "low", options=("low", "high")),
        )
        assert found.rules == (Ascending("fast", "slow"),)
        assert found.sets_levels
        assert found.source == f"sha256:{folder.read('mine').sha256}"
        assert path.stem == found.name

    def test_settings_are_checked_before_anything_runs(self, strategies, started):
        source = text(
            name="mine",
            parameters='Parameter("fast", "integer", 3, 1, 10), Parameter("slow", "integer", 5),',
            more='rules=(Ascending("fast", "slow"),)',
        )
        write(strategies, "mine", source)
        found = registry.get("mine")
        assert found.parse_params({}) == {"fast": 3, "slow": 5}
        for wrong, field in (({"fast": 11}, "fast"), ({"fast": 6}, "fast"), ({"x": 1}, "x")):
            with pytest.raises(InvalidRequest) as caught:
                found.parse_params(wrong)
            assert caught.value.field == f"strategy.params.{field}"

    def test_settings_arrive_with_their_types(self, strategies):
        body = (
            "assert [type(v) for v in params.values()] == [int, float, bool, str], params\n"
            "return Signals(enter_long=bars.close > params['level'])"
        )
        source = text(
            body,
            name="mine",
            parameters='Parameter("n", "integer", 3), Parameter("level", "number", 0.1),'
            'Parameter("on", "boolean", True), Parameter("by", "choice", "a", options=("a",)),',
        )
        write(strategies, "mine", source)
        found, bars = registry.get("mine"), bars_of()
        params = found.parse_params({"level": 100.1})
        got = found.signals(bars, params)
        assert np.array_equal(got.enter_long, bars.close > 100.1)

    def test_the_template_of_the_documentation_is_a_strategy(self, strategies):
        shutil.copy(paths.PROJECT / "docs" / "strategy_template.py", strategies)
        found = registry.get("strategy_template")
        bars, params = bars_of(600), found.parse_params({})
        got = found.signals(bars, params)
        assert got.enter_long.any()
        assert got.exit_long.any()
        assert lookahead.check(found, bars, params, seed=1).cuts
        drawn, why = evaluation.lines(found, bars, params)
        assert why is None
        # By hand: the highest high of the 40 bars before the first entry, and the entry above it.
        row = int(got.enter_long.argmax())
        assert drawn["upper"][row] == bars.high[row - 40 : row].max()
        assert bars.close[row] > drawn["upper"][row]

    def test_lines_need_not_be(self, strategies, monkeypatch):
        write(strategies, "mine", text(name="mine").replace("lines=lines, ", ""))
        for _ in range(2):
            found = registry.get("mine")
            assert evaluation.lines(found, bars_of(), {}) == ({}, None)
            assert found.signals(bars_of(), {}).enter_long.any()
            # The second time from what is kept on disk.
            monkeypatch.setattr(catalog, "_known", {})

    def test_ta_lib_and_pandas_take_the_bars(self, strategies):
        body = """
            average = pd.Series(bars.close).rolling(10).mean().to_numpy()
            strength = talib.RSI(bars.close, timeperiod=14)
            return Signals(enter_long=(bars.close > average) & (strength > 50.0),
                           exit_long=talib.SMA(bars.close, 5) < average)
            """
        write(strategies, "mine", text(body, name="mine", top="import pandas as pd\nimport talib"))
        found, bars = registry.get("mine"), bars_of()
        assert found.signals(bars, {}).enter_long.any()
        assert lookahead.check(found, bars, {}, seed=1).cuts

    def test_a_file_that_changed_is_another_version_and_runs_as_it_is_now(self, strategies):
        write(strategies, "mine", text("return Signals(enter_long=bars.close > 0)", name="mine"))
        old = registry.get("mine")
        write(strategies, "mine", text("return Signals(exit_long=bars.close > 0)", name="mine"))
        new = registry.get("mine")
        assert old.source != new.source
        # Who holds the old one runs the old one: signals and source belong together.
        assert old.signals(bars_of(), {}).enter_long.all()
        assert new.signals(bars_of(), {}).exit_long.all()

    def test_a_change_that_leaves_size_and_time_alone_is_seen(self, strategies):
        path = write(strategies, "mine", text("return Signals()", name="mine", top="x = 1"))
        times = path.stat()
        one = registry.get("mine").source
        write(strategies, "mine", text("return Signals()", name="mine", top="x = 2"))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert path.stat().st_size == times.st_size
        assert registry.get("mine").source != one


class TestTheUsersCodeStaysOutside:
    def test_nothing_of_it_runs_in_this_process(self, strategies):
        source = text(
            "import os\nreturn Signals(enter_long=bars.close > 0, limit=np.full(len(bars.close),"
            " float(os.getpid())))",
            name="mine",
            top="import os, sys\nsys.modules['candlevault'].planted = os.getpid()",
        )
        write(strategies, "mine", source)
        registry.known()
        registry.broken()
        found = registry.get("mine")
        assert found.signals(bars_of(), {}).limit[0] != os.getpid()
        assert not hasattr(sys.modules["candlevault"], "planted")
        assert not any("user_strategy" in name for name in sys.modules)

    def test_nothing_is_written_into_the_folder(self, strategies):
        source = text(name="mine", top="open('left.txt', 'w').write('x')")
        write(strategies, "mine", source)
        strategies.chmod(0o500)
        try:
            assert registry.get("mine").signals(bars_of(), {}).enter_long.any()
        finally:
            strategies.chmod(0o700)
        assert [path.name for path in strategies.iterdir()] == ["mine.py"]

    def test_it_sees_no_setting_and_no_secret(self, strategies, monkeypatch):
        monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://secret")
        monkeypatch.setenv("CANDLEVAULT_DB_URL", "postgresql://secret")
        monkeypatch.setenv("PGPASSWORD", "secret")
        top = """
            import os
            held = {name for name, value in os.environ.items()
                    if name.startswith(("AIRFLOW", "CANDLEVAULT", "PG")) or "secret" in value}
            assert not held, held
            """
        write(strategies, "mine", text(name="mine", top=top))
        assert registry.broken() == {}
