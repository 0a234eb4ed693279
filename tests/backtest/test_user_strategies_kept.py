"""What a file declares is kept: it is executed once, and what is kept is not trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from candlevault import paths
from candlevault.backtest.strategies import registry
from candlevault.backtest.user_strategies import cache, catalog
from tests.support.strategy_folder import own, started, strategies
from tests.support.user_strategies import text, write

__all__ = ["started", "strategies"]


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
