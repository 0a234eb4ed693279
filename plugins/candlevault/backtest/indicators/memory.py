"""Remembers indicators while many runs over the same bars ask for the same ones."""

from __future__ import annotations

import functools
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

LIMIT_BYTES = 64 * 1024 * 1024

_open_memories: tuple[_Memory, ...] = ()
_opening = threading.Lock()


@contextmanager
def remembering(limit_bytes: int = LIMIT_BYTES) -> Iterator[None]:
    """While the block lasts, each indicator of the same arrays and settings is computed once.

    The same arrays are the very same objects, not equal ones, and only arrays that cannot be
    written to count: another could hold other values at the next call. Every caller gets the
    one read-only array. The least recently used results go once all that is kept, the inputs
    included, exceeds `limit_bytes`.

    What is remembered serves all threads of the process: those of a sweep need not be told.
    Of several open blocks the last opened one remembers. Afterwards nothing is kept.
    """
    global _open_memories
    memory = _Memory(limit_bytes)
    with _opening:
        _open_memories = (*_open_memories, memory)
    try:
        yield
    finally:
        with _opening:
            _open_memories = tuple(other for other in _open_memories if other is not memory)


def remembered(function: Callable) -> Callable:
    """`function` with read-only arrays as its answer, remembered inside `remembering`.

    It must depend on nothing but its arguments and answer with an array or a tuple of arrays.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def answer(*args: object, **kwargs: object) -> np.ndarray | tuple:
        memories = _open_memories
        if not memories:
            return _sealed(function(*args, **kwargs))
        given = args
        if kwargs or len(args) < len(signature.parameters):
            call = signature.bind(*args, **kwargs)
            call.apply_defaults()
            given = call.args
        key = _key(function, given)
        if key is None:
            return _sealed(function(*args, **kwargs))
        found = memories[-1].find(key)
        if found is not None:
            return found
        return memories[-1].keep(key, given, _sealed(function(*args, **kwargs)))

    return answer


class _Memory:
    """Answers by key, the least recently used first. All methods may be called by any thread."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[object, tuple[np.ndarray, ...]]] = OrderedDict()
        self._uses: dict[int, int] = {}
        self._bytes = 0

    def find(self, key: Hashable) -> object | None:
        """The answer kept under `key`."""
        with self._lock:
            entry = self._answers.get(key)
            if entry is None:
                return None
            self._answers.move_to_end(key)
            return entry[0]

    def keep(self, key: Hashable, given: tuple, answer: object) -> object:
        """`answer`, or the one that another thread has meanwhile kept under `key`."""
        # The inputs are held, so that no other array can take over their identity.
        arrays = tuple({id(a): a for a in (*_arrays(given), *_arrays(answer))}.values())
        with self._lock:
            if key in self._answers:
                return self._answers[key][0]
            if sum(array.nbytes for array in arrays) <= self._limit:
                self._answers[key] = (answer, arrays)
                self._hold(arrays)
            while self._bytes > self._limit:
                _, (_, unused) = self._answers.popitem(last=False)
                self._release(unused)
        return answer

    def _hold(self, arrays: Iterable[np.ndarray]) -> None:
        """Count each array once, however many answers share it."""
        for array in arrays:
            uses = self._uses.get(id(array), 0)
            self._uses[id(array)] = uses + 1
            if uses == 0:
                self._bytes += array.nbytes

    def _release(self, arrays: Iterable[np.ndarray]) -> None:
        for array in arrays:
            self._uses[id(array)] -= 1
            if self._uses[id(array)] == 0:
                del self._uses[id(array)]
                self._bytes -= array.nbytes


def _key(function: Callable, given: tuple) -> Hashable | None:
    """What tells a call from all others; None where an argument could change unseen."""
    parts: list[Hashable] = [function]
    for value in given:
        if isinstance(value, np.ndarray) and _frozen(value):
            parts.append((np.ndarray, id(value)))
        elif isinstance(value, int | float | np.number):
            # 1, 1.0 and True are equal, yet not all of them are periods.
            parts.append((type(value), value))
        else:
            return None
    return tuple(parts)


def _frozen(array: np.ndarray) -> bool:
    """Whether neither the array nor one that it is a view of can be written to."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None


def _arrays(values: object) -> Iterator[np.ndarray]:
    for value in values if isinstance(values, tuple) else (values,):
        if isinstance(value, np.ndarray):
            yield value


def _sealed(answer: np.ndarray | tuple) -> np.ndarray | tuple:
    for array in _arrays(answer):
        array.flags.writeable = False
    return answer
