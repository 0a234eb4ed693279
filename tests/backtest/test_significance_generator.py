"""Random numbers that every machine draws alike."""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.significance import generator
from candlevault.errors import InvalidRequest


def draws(seed, count):
    state, found = generator.started(seed), []
    for _ in range(count):
        bits = generator.drawn(state)
        found.append(int(bits))
    return found


def in_python(seed, count):
    mask, found = (1 << 64) - 1, []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        bits = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
        found.append(bits ^ (bits >> 31))
    return found


def test_the_sequence_is_that_of_splitmix64():
    # the published first values for the seed 1234567
    assert draws(1234567, 5) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    for seed in (0, 1, (1 << 63) + 5, (1 << 64) - 1):
        assert draws(seed, 50) == in_python(seed, 50)


def test_a_limit_is_never_reached_and_every_number_below_it_is():
    state = generator.started(5)
    counts = np.zeros(7, dtype=int)
    for _ in range(70_000):
        number = generator.below(state, 7)
        counts[number] += 1
    # 10,000 each, standard deviation 93
    assert abs(counts - 10_000).max() < 400
    number = generator.below(state, 1)
    assert number == 0


def test_what_would_be_drawn_too_often_is_drawn_again():
    # Of 2**32 numbers, 2**31 + 1 go in once and a rest stays: without drawing again the even
    # numbers would come twice as often. Compared with the same in whole numbers of Python.
    limit, state, bits = 2**31 + 1, generator.started(9), iter(in_python(9, 5000))
    refused = (2**32 - limit) % limit
    drawn_again = 0
    for _ in range(1000):
        number = generator.below(state, limit)
        while True:
            product = (next(bits) >> 32) * limit
            if product % 2**32 >= refused:
                break
            drawn_again += 1
        assert number == product >> 32
    assert drawn_again > 300


def test_a_seed_belongs_to_payload_and_purpose():
    one = generator.seed_of("ab" * 32, "bootstrap")
    assert one == generator.seed_of("ab" * 32, "bootstrap")
    assert 0 <= one < 1 << 64
    assert (
        len(
            {
                one,
                generator.seed_of("ab" * 32, "random entry"),
                generator.seed_of("ac" * 32, "bootstrap"),
            }
        )
        == 3
    )


@pytest.mark.parametrize("seed", [-1, 1 << 64, 1.0, None, "1", True])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(InvalidRequest) as caught:
        generator.started(seed)
    assert caught.value.field == "seed"
