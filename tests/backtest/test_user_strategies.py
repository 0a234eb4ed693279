"""A user adds a strategy by adding a file; a file that is none says why and harms nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from candlevault import config, paths
from candlevault.backtest import evaluation
from candlevault.backtest.strategies import registry
from candlevault.backtest.strategies.contract import Ascending, Parameter
from candlevault.backtest.trust import lookahead
from candlevault.backtest.user_strategies import (
    cache,
    calls,
    catalog,
    description,
    folder,
    process,
)
from candlevault.errors import ConfigurationError, InvalidRequest, StrategyFailed
from tests.support.user_strategies import bars_of, file_of, line_of, text, write


@pytest.fixture(autouse=True)
def strategies(tmp_path, monkeypatch):
    """The user's folder, empty; nothing is known of any file."""
    place = tmp_path / "strategies"
    place.mkdir()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("CANDLEVAULT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CANDLEVAULT_STRATEGIES", str(place))
    monkeypatch.setattr(catalog, "_known", {})
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield place
    assert {child.pid for child in psutil.Process().children(recursive=True)} == before
    assert list(temporary.glob("candlevault-strategy-*")) == []


@pytest.fixture
def started(monkeypatch):
    """The files that were executed, one entry each time."""
    seen = []
    describe = calls.describe

    def counted(file, limits):
        seen.append(file.name)
        return describe(file, limits)

    monkeypatch.setattr(calls, "describe", counted)
    return seen


def own() -> dict:
    return {name: one for name, one in registry.known().items() if name not in registry.builtin()}


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


REFUSED = {
    "raises": ("1 / 0  # here", "raised ZeroDivisionError: division by zero"),
    "does not parse": ("if True  # here", "is no Python: expected ':'"),
    "needs what is not installed": (
        "import nowhere_to_be_found  # here",
        "raised ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    ),
    "needs a file beside it": (
        "import other  # here",
        "raised ModuleNotFoundError: No module named 'other'",
    ),
    "ends the program": ("raise SystemExit  # here", "raised SystemExit"),
    "ends its process": (
        "import os; os._exit(0)  # here",
        "ended its process with code 0 before it had answered",
    ),
    "binds nothing": ("", "does not bind STRATEGY"),
    "binds something else": (
        "STRATEGY = 5  # here",
        "STRATEGY must be a Strategy itself, not a int",
    ),
}

TOLD_BY_THE_FILE = {
    "settings of its own": (("parameters=()", "parameters=(), params={}"), "declares params or pa"),
    "a parser of its own": (
        ("parameters=()", "parameters=(), parse=lambda given, field: given"),
        "declares params or parse; a strategy of the user's declares parameters and rules",
    ),
    "signals that are no function": (
        ("signals=signals", "signals=7"),
        "signals must be a function",
    ),
    "lines that are no function": (("lines=lines", "lines=5"), "lines must be a function"),
    "parameters that are none": (("parameters=()", "parameters=(1, 2)"), "cannot be told: asdict"),
    "what JSON cannot say": (
        ("parameters=()", 'parameters=(Parameter("n", "number", float("nan")),)'),
        "cannot be told: Out of range float",
    ),
    "a class derived from it": (
        ("STRATEGY = Strategy(", "class Mine(Strategy): pass\nSTRATEGY = Mine("),
        "STRATEGY must be a Strategy itself, not a Mine",
    ),
    "another name": (("name='mine'", "name='other'"), "name must be that of its file, mine"),
}


def parameter(**change) -> dict:
    return {
        "name": "n",
        "kind": "integer",
        "default": 1,
        "minimum": None,
        "maximum": None,
        "description": "",
        "options": [],
        **change,
    }


def rule(smaller: object, larger: object) -> dict:
    return {"smaller": smaller, "larger": larger}


DECLARED = {
    "no version": ({"version": ""}, "version must be a text of at most 64 characters"),
    "a version that is a number": ({"version": 1}, "version must be a text"),
    "no title": ({"title": None}, "title must be a text"),
    "an endless description": ({"description": "x" * 2001}, "description must be a text of at"),
    "a description that cannot be shown": (
        {"description": "a\0b"},
        "description must be printable",
    ),
    "no parameters": ({"parameters": None}, "parameters must be at most 64"),
    "too many parameters": ({"parameters": [parameter()] * 65}, "parameters must be at most 64"),
    "a parameter that is none": ({"parameters": [1]}, "parameters must be made of Parameter"),
    "a kind that is none": (
        {"parameters": [parameter(kind="text", default="x")]},
        "n: kind must be one of integer, number, boolean, choice",
    ),
    "a default of another kind": (
        {"parameters": [parameter(default=True)]},
        "n: default must be a value of the kind integer",
    ),
    "a default beyond all numbers": (
        {"parameters": [parameter(default=2**60)]},
        "n: default must be a value of the kind integer",
    ),
    "a default out of range": (
        {"parameters": [parameter(default=5, minimum=1, maximum=3)]},
        "a default breaks a rule: strategy.params.n: must be at least 1 and at most 3",
    ),
    "a limit of a choice": (
        {"parameters": [parameter(kind="choice", default="a", options=["a"], minimum=1)]},
        "n: minimum must be a number, and is for numbers only",
    ),
    "a choice without options": (
        {"parameters": [parameter(kind="choice", default="a")]},
        "n: a choice, and nothing else, has options, each once",
    ),
    "options of a number": (
        {"parameters": [parameter(options=["a"])]},
        "n: a choice, and nothing else, has options, each once",
    ),
    "a name that is none": ({"parameters": [parameter(name="n n")]}, "must be a Python name"),
    "one name twice": ({"parameters": [parameter()] * 2}, "two parameters have the same name"),
    "a rule about nothing": (
        {"rules": [rule("a", "b")]},
        "the rule names a, which is no number it has",
    ),
    "a rule that is none": ({"rules": [rule(1, None)]}, "a rule must name two parameters"),
    "defaults against a rule": (
        {
            "parameters": [parameter(name="a", default=2), parameter(name="b", default=1)],
            "rules": [rule("a", "b")],
        },
        "a default breaks a rule: strategy.params.a: must be smaller than b (1)",
    ),
}


class TestBrokenFiles:
    @pytest.mark.parametrize(("source", "why"), REFUSED.values(), ids=REFUSED)
    def test_a_file_that_cannot_be_read_is_left_out_and_says_where(self, strategies, source, why):
        write(strategies, "mine", source)
        write(strategies, "other")
        assert list(own()) == ["other"]
        told = registry.broken()["mine"]
        place = f"strategy mine (mine.py{' line 1' if '# here' in source else ''}): "
        assert told.startswith(place + why)
        with pytest.raises(InvalidRequest) as caught:
            registry.get("mine", "strategy.name")
        assert caught.value.field == "strategy.name"
        assert told in str(caught.value)

    @pytest.mark.parametrize(("change", "why"), TOLD_BY_THE_FILE.values(), ids=TOLD_BY_THE_FILE)
    def test_a_strategy_of_another_kind_is_told_with_its_line(self, strategies, change, why):
        source = text(name="mine")
        assert change[0] in source
        write(strategies, "mine", source := source.replace(*change))
        told = registry.broken()["mine"]
        assert why in told
        lines = (line_of(source, "def signals"), line_of(source, "STRATEGY = "))
        assert told.startswith(tuple(f"strategy mine (mine.py line {line}): " for line in lines))
        assert own() == {}

    @pytest.mark.parametrize(("change", "why"), DECLARED.values(), ids=DECLARED)
    def test_a_declaration_that_cannot_be_is_refused_whoever_says_so(self, change, why):
        said = {
            "name": "planted",
            "version": "1",
            "title": "t",
            "description": "d",
            "parameters": [],
            "rules": [],
            "line": 7,
        }
        assert description.strategy(file_of(text()), said).name == "planted"
        with pytest.raises(StrategyFailed) as caught:
            description.strategy(file_of(text()), {**said, **change})
        assert str(caught.value).startswith(
            "strategy planted (planted.py line 7): declares what cannot be: "
        )
        assert why in str(caught.value)

    @pytest.mark.parametrize("name", ["sma_cross", "buy_and_hold"])
    def test_the_name_of_a_built_in_one_is_taken(self, strategies, started, name):
        write(strategies, name)
        assert registry.broken() == {name: f"{name}.py: {name} is the name of a built-in strategy"}
        assert registry.get(name) is registry.builtin()[name]
        assert registry.known()[name] is registry.builtin()[name]
        assert started == []

    def test_hidden_files_and_helpers_do_not_count(self, strategies, started):
        for name in ("_helper", ".hidden", "__init__"):
            write(strategies, name, "1 / 0")
        (strategies / "notes.txt").write_text("1 / 0")
        assert (own(), registry.broken(), started) == ({}, {}, [])

    @pytest.mark.parametrize("name", ["two words", "1st", "class", "mixé", "a-b", "x" * 65])
    def test_names_that_are_none(self, strategies, started, name):
        write(strategies, name)
        assert registry.broken()[name].startswith(f"{name}.py: a strategy's name ")
        assert (own(), started) == ({}, [])

    def test_a_link_out_of_the_folder_is_not_followed(self, strategies, tmp_path, started):
        outside = write(tmp_path, "outside")
        (strategies / "mine.py").symlink_to(outside)
        (strategies / "lost.py").symlink_to(tmp_path / "nowhere.py")
        (strategies / "round.py").symlink_to(strategies / "round.py")
        assert registry.broken()["mine"] == "mine.py: is a link out of the folder"
        assert registry.broken()["lost"] == "lost.py: cannot be read: No such file or directory"
        assert registry.broken()["round"].startswith("round.py: cannot be read: ")
        assert started == []

    def test_a_link_inside_the_folder_is_followed(self, strategies):
        inside = strategies / "..data"
        inside.mkdir()
        (strategies / "mine.py").symlink_to(write(inside, "mine"))
        assert list(own()) == ["mine"]

    def test_what_is_no_plain_file_is_not_waited_for(self, strategies):
        os.mkfifo(strategies / "pipe.py")
        (strategies / "folder.py").mkdir()
        assert registry.broken() == {
            "folder": "folder.py: cannot be read: Is a directory",
            "pipe": "pipe.py: is no plain file",
        }

    def test_a_file_that_is_too_large_is_not_read(self, strategies, started):
        write(strategies, "mine", b"#" * (folder.MAX_BYTES + 1))
        assert registry.broken() == {"mine": "mine.py: is larger than 1048576 bytes"}
        assert started == []

    def test_no_folder_is_no_strategies(self, monkeypatch, tmp_path):
        monkeypatch.setenv("CANDLEVAULT_STRATEGIES", str(tmp_path / "nowhere"))
        assert (own(), registry.broken()) == ({}, {})

    def test_an_unknown_name_lists_those_of_the_user_too(self, strategies):
        write(strategies, "my_own_idea")
        with pytest.raises(InvalidRequest, match="did you mean my_own_idea"):
            registry.get("my-own-idea")

    @pytest.mark.parametrize("name", [None, 3, "../secrets", "mine.py", "a\0b", ""])
    def test_what_is_no_name_is_just_unknown(self, strategies, name):
        write(strategies, "mine")
        with pytest.raises(InvalidRequest, match="must be one of"):
            registry.get(name)


class TestDescriptionsAreKept:
    def test_a_file_is_executed_once_per_content_and_home(self, strategies, started, monkeypatch):
        write(strategies, "mine")
        for _ in range(3):
            registry.known()
            monkeypatch.setattr(catalog, "_known", {})
        assert started == ["mine"]
        write(strategies, "mine", text(name="mine", top="# changed"))
        registry.get("mine")
        assert started == ["mine", "mine"]

    def test_a_broken_file_is_tried_again_only_after_a_while(
        self, strategies, started, monkeypatch
    ):
        write(strategies, "mine", "1 / 0")
        for _ in range(3):
            assert "mine" in registry.broken()
            monkeypatch.setattr(catalog, "_known", {})
        assert started == ["mine"]
        monkeypatch.setattr(cache, "BROKEN_FOR_S", 0)
        assert "mine" in registry.broken()
        assert started == ["mine", "mine"]

    @pytest.mark.parametrize(
        "damage", [b"", b"{", b"[]", b'{"of": []}', b"\xff" * 100, b'{"of": NaN}']
    )
    def test_a_damaged_file_of_the_cache_is_replaced(
        self, strategies, started, monkeypatch, tmp_path, damage
    ):
        write(strategies, "mine")
        kept = tmp_path / "home" / "cache" / "strategies" / "mine.json"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(damage)
        assert list(own()) == ["mine"]
        assert json.loads(kept.read_bytes())["said"]["name"] == "mine"
        monkeypatch.setattr(catalog, "_known", {})
        assert list(own()) == ["mine"]
        assert started == ["mine"]

    def test_what_the_cache_says_is_judged_like_what_a_process_says(
        self, strategies, started, monkeypatch, tmp_path
    ):
        write(strategies, "mine")
        own()
        kept = tmp_path / "home" / "cache" / "strategies" / "mine.json"
        document = json.loads(kept.read_bytes())
        document["said"]["version"] = ["no"]
        kept.write_text(json.dumps(document))
        monkeypatch.setattr(catalog, "_known", {})
        assert "version must be a text" in registry.broken()["mine"]

    def test_a_home_that_cannot_be_written_to_has_its_cache_among_temporary_files(
        self, strategies, started, monkeypatch, tmp_path
    ):
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("CANDLEVAULT_HOME", str(tmp_path / "file"))
        write(strategies, "mine")
        for _ in range(2):
            assert list(own()) == ["mine"]
            monkeypatch.setattr(catalog, "_known", {})
        assert started == ["mine"]
        (shared,) = (tmp_path / "temporary").iterdir()
        assert shared.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in shared.iterdir()] == ["mine.json"]

    def test_a_cache_that_anybody_could_have_written_is_not_used(
        self, strategies, started, monkeypatch, tmp_path
    ):
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("CANDLEVAULT_HOME", str(tmp_path / "file"))
        shared = tmp_path / "temporary" / f"candlevault-strategies-{os.geteuid()}"
        shared.mkdir()
        shared.chmod(0o777)
        write(strategies, "mine")
        assert list(own()) == ["mine"]
        assert list(shared.iterdir()) == []

    def test_many_at_once_agree(self, strategies, tmp_path):
        for name in ("one", "two", "three"):
            write(strategies, name)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: sorted(own()), range(8)))
        assert found == [["one", "three", "two"]] * 8
        kept = tmp_path / "home" / "cache" / "strategies"
        assert sorted(path.name for path in kept.iterdir()) == [
            "one.json",
            "three.json",
            "two.json",
        ]

    def test_a_list_does_not_wait_for_all_that_are_new(self, strategies, started, monkeypatch):
        monkeypatch.setattr(catalog, "_LISTING_S", 0.0)
        write(strategies, "mine")
        assert own() == {}
        assert registry.broken() == {"mine": "mine.py: is not read yet"}
        assert started == []
        # Who asks for one of them gets it.
        assert registry.get("mine").name == "mine"
        assert list(own()) == ["mine"]

    def test_another_process_finds_what_is_kept(self, strategies):
        write(strategies, "mine")
        own()
        script = (
            "from candlevault.backtest.user_strategies import calls\n"
            "calls.describe = None\n"
            "from candlevault.backtest.strategies import registry\n"
            "print(registry.get('mine').source)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(paths.PLUGINS)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == registry.get("mine").source


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
