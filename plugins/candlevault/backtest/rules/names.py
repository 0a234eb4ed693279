"""The names that rules can use for columns: prices and indicators."""

from __future__ import annotations

from collections.abc import Mapping

from candlevault.backtest.rules.tree import PRICES
from candlevault.backtest.schema import nearest, suggestion
from candlevault.errors import InvalidRequest

_LISTED = 12


class Names:
    """The prices, and the indicators with their outputs.

    An indicator of one output is named by itself, each output of another as `name.output`.
    """

    def __init__(self, outputs: Mapping[str, tuple[str, ...]]) -> None:
        self._outputs = outputs
        self._known = dict.fromkeys(PRICES) | {
            reference: None
            for name, names in outputs.items()
            for reference in references(name, names)
        }

    def require(self, given: str, field: str) -> str:
        """`given`, when it is a name of a column; else InvalidRequest with the nearest one."""
        if given in self._known:
            return given
        name, dot, _ = given.partition(".")
        outputs = self._outputs.get(name)
        if outputs is None:
            raise InvalidRequest(field, self._unknown(given), given)
        if len(outputs) == 1:
            raise InvalidRequest(field, f"{name} has one output; write {name}", given)
        choice = ", ".join(references(name, outputs))
        hint = suggestion(given, references(name, outputs)) if dot else ""
        raise InvalidRequest(field, f"must be one of the outputs {choice}{hint}", given)

    def _unknown(self, given: str) -> str:
        near = nearest(given, self._known)
        hint = f"did you mean {near}? " if near else ""
        listed = list(self._known)
        more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
        return (
            f"is neither a price nor an indicator; {hint}"
            f"known names: {', '.join(listed[:_LISTED])}{more}"
        )


def references(name: str, outputs: tuple[str, ...]) -> list[str]:
    """What the outputs of an indicator are called, in TA-Lib's order."""
    return [name] if len(outputs) == 1 else [f"{name}.{output}" for output in outputs]
