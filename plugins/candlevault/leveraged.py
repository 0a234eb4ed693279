"""Leveraged tokens, told from ordinary coins by the base-asset rule.

Names such as BTCUP or ETHBEAR are an ordinary base asset with UP, DOWN, BULL or BEAR behind
it; JUP and SYRUP end in UP too and are ordinary, because J and SYR are no base assets.
"""

from __future__ import annotations

from collections.abc import Set

_SUFFIXES = ("UP", "DOWN", "BULL", "BEAR")


def is_leveraged(base_asset: str, base_assets: Set[str]) -> bool:
    """Whether a base asset is a leveraged token, given all base assets the venue ever had."""
    return any(
        base_asset.endswith(suffix)
        and (base_asset == suffix or base_asset.removesuffix(suffix) in base_assets)
        # A coin that is itself called UP is one: only BULL and BEAR alone were tokens.
        and not (base_asset == suffix and suffix in ("UP", "DOWN"))
        for suffix in _SUFFIXES
    )
