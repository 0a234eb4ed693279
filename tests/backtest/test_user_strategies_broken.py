"""A file that is no strategy says why, by its line, and harms nothing."""

from __future__ import annotations

import os

import pytest

from candlevault.backtest.strategies import registry
from candlevault.backtest.user_strategies import description, folder
from candlevault.errors import InvalidRequest, StrategyFailed
from tests.support.strategy_folder import own, started, strategies
from tests.support.user_strategies import file_of, line_of, text, write

__all__ = ["started", "strategies"]

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
