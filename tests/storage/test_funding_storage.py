"""Funding as rows: nothing overwritten, every state readable, silence told from ignorance."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from decimal import Decimal

from candlevault import funding as core
from candlevault.storage.funding import Written
from candlevault.windows import Window
from tests.support.funding_rows import START, WEEK, Contract, contract, event, page
from tests.support.market import DAY, HOUR

__all__ = ["contract"]


def test_what_was_written_is_read_as_plain_arrays(contract):
    done = contract.write(
        page(WEEK, event(0, "0.00010000", "61440.20"), event(8, "-0.00037525", late=11))
    )
    assert done == Written(inserted=2)
    found = contract.read()
    assert found.events.times.tolist() == [START, START + 8 * HOUR + 11]
    assert found.events.rates.tolist() == [0.0001, -0.00037525]
    assert (found.events.times.dtype, found.events.rates.dtype) == ("int64", "float64")
    assert (found.window, found.missing) == (WEEK, ())


def test_a_window_without_funding_is_not_one_that_was_never_loaded(contract):
    never = contract.read()
    assert (len(never.events.times), never.missing) == (0, (WEEK,))
    contract.write(page(WEEK))
    silent = contract.read()
    assert (len(silent.events.times), silent.missing) == (0, ())
    assert silent.fingerprint != never.fingerprint


def test_what_is_missing_is_told_part_by_part(contract):
    contract.write(page(Window(START + DAY, START + 2 * DAY), event(24), event(32)))
    contract.write(page(Window(START + 2 * DAY, START + 3 * DAY)))
    contract.write(page(Window(START + 5 * DAY, START + 9 * DAY)))
    assert contract.read().missing == (
        Window(START, START + DAY),
        Window(START + 3 * DAY, START + 5 * DAY),
    )
    inside = Window(START + 26 * HOUR, START + 60 * HOUR)
    assert contract.read(inside).missing == ()
    assert contract.read(inside).events.times.tolist() == [START + 32 * HOUR]


def test_ends_of_a_read_are_half_open(contract):
    contract.write(page(WEEK, event(0), event(8), event(16)))
    window = Window(START + 8 * HOUR, START + 16 * HOUR)
    assert contract.read(window).events.times.tolist() == [START + 8 * HOUR]


def test_a_restated_rate_is_read_as_of_before_and_after(contract):
    contract.write(page(WEEK, event(0, "0.0001"), event(8, "0.0002")))
    before = contract.now()
    first = contract.read()
    assert contract.write(page(WEEK, event(0, "0.0001"), event(8, "0.0005"))) == Written(
        changed=1, unchanged=1
    )
    assert contract.pairs() == [(START, 0.0001), (START + 8 * HOUR, 0.0005)]
    assert contract.pairs(before) == [(START, 0.0001), (START + 8 * HOUR, 0.0002)]
    assert contract.read(as_of=before).fingerprint == first.fingerprint
    assert contract.read().fingerprint != first.fingerprint
    assert contract.pairs(contract.now()) == contract.pairs()
    assert contract.count("funding_rates") == 3


def test_before_anything_was_stored_everything_was_missing(contract):
    before = contract.now()
    contract.write(page(WEEK, event(8)))
    assert contract.read(as_of=before).missing == (WEEK,)
    assert contract.pairs(before) == []


def test_an_event_that_the_venue_tells_no_more_is_withdrawn_and_may_come_back(contract):
    contract.write(page(WEEK, event(0), event(8, mark="100"), event(16)))
    states = [contract.now()]
    assert contract.write(page(WEEK, event(0), event(16))) == Written(unchanged=2, withdrawn=1)
    states.append(contract.now())
    assert contract.write(page(WEEK, event(0), event(8, "0.0003"), event(16))) == Written(
        inserted=1, unchanged=2
    )
    states.append(contract.now())
    assert [len(contract.pairs(state)) for state in states] == [3, 2, 3]
    assert dict(contract.pairs())[START + 8 * HOUR] == 0.0003


def test_only_events_inside_the_windows_that_were_asked_for_are_withdrawn(contract):
    contract.write(page(WEEK, event(0), event(8), event(16), event(24)))
    part = Window(START + 8 * HOUR, START + 24 * HOUR)
    assert contract.write(page(part, event(16))) == Written(unchanged=1, withdrawn=1)
    assert [when for when, _ in contract.pairs()] == [
        START, START + 16 * HOUR, START + 24 * HOUR
    ]  # fmt: skip


def test_pages_read_again_leave_each_others_events_alone(contract):
    days = [Window(START + n * DAY, START + (n + 1) * DAY) for n in range(3)]
    events = [event(8), event(32), event(56)]
    pages = [page(day, one) for day, one in zip(days, events, strict=True)]
    assert contract.write(*pages) == Written(inserted=3)
    assert contract.write(*pages) == Written(unchanged=3)
    assert contract.write(pages[0], page(days[1]), pages[2]) == Written(unchanged=2, withdrawn=1)


def test_a_mark_price_that_is_not_told_does_not_take_one_away(contract):
    marks = "SELECT mark_price FROM market.funding WHERE instrument_id = %(id)s"
    contract.write(page(WEEK, event(8)))
    content = contract.read().fingerprint
    assert contract.write(page(WEEK, event(8, mark="61440.2"))) == Written(changed=1)
    assert contract.write(page(WEEK, event(8))) == Written(unchanged=1)
    assert contract.rows(marks) == [(Decimal("61440.20000000"),)]
    # A changed rate without a mark price keeps the one known.
    assert contract.write(page(WEEK, event(8, "0.0002"))) == Written(changed=1)
    assert contract.rows(marks) == [(Decimal("61440.20000000"),)]
    contract.write(page(WEEK, event(8)))
    assert contract.read().fingerprint == content


def test_the_fingerprint_is_the_hash_of_times_rates_and_missing_windows(contract):
    part = Window(START, START + DAY)
    contract.write(page(part, event(0, "0.00010000"), event(8, "-0.00037525", late=11)))
    text = (
        f"{START},0.0001\n{START + 8 * HOUR + 11},-0.00037525\n"
        f"missing\n{part.end_ms},{WEEK.end_ms}\n"
    )
    assert contract.read().fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_equal_content_has_the_same_fingerprint_however_it_was_loaded(database):
    once, twice = Contract(database), Contract(database)
    once.write(page(WEEK, event(0), event(8), event(16, "0")))
    middle = START + 12 * HOUR
    twice.write(page(Window(middle, WEEK.end_ms), event(16, "-0.0")))
    twice.write(page(Window(START, middle), event(0, "0.5"), event(8)))
    twice.write(page(Window(START, middle), event(0, "0.00010"), event(8)))
    assert once.read().fingerprint == twice.read().fingerprint


def test_every_row_leads_to_the_answer_it_came_from(contract):
    middle = START + 12 * HOUR
    first, second = page(Window(START, middle), event(8)), page(Window(middle, WEEK.end_ms))
    contract.write(first, second)
    found = contract.rows(
        "SELECT f.url, f.sha256, p.name, p.market, f.batch_id, w.events, w.window_end"
        " FROM market.funding_windows w JOIN market.fetches f USING (fetch_id)"
        " JOIN market.providers p USING (provider_id) WHERE w.instrument_id = %(id)s"
        " ORDER BY w.window_start"
    )
    assert found == [
        (one.fetch.url, one.fetch.sha256, "binance_um_rest", "um", None, len(one.events),
         one.covers.end)
        for one in (first, second)
    ]  # fmt: skip
    assert contract.rows(
        "SELECT f.url FROM market.funding_rates r JOIN market.fetches f USING (fetch_id)"
        " WHERE r.instrument_id = %(id)s"
    ) == [(first.fetch.url,)]


def test_one_answer_to_several_windows_is_one_fetch(contract):
    middle = START + DAY
    first = page(Window(START, middle))
    contract.write(first, replace(first, covers=Window(middle, WEEK.end_ms)))
    assert contract.count("funding_windows") == 2
    with contract.connect() as connection:
        answers = connection.execute(
            "SELECT count(*) FROM market.fetches WHERE url = %s", (first.fetch.url,)
        ).fetchone()
    assert answers == (1,)


def test_the_view_shows_the_events_of_today_only(contract):
    contract.write(page(WEEK, event(0), event(8, "0.0002", "50"), event(16)))
    contract.write(page(WEEK, event(8, "0.0004"), event(16)))
    shown = contract.rows(
        "SELECT venue, market, symbol, funding_time, rate, mark_price FROM market.funding"
        " WHERE instrument_id = %(id)s ORDER BY funding_time"
    )
    assert [row[:3] for row in shown] == [("binance", "um", contract.symbol)] * 2
    assert [row[4:] for row in shown] == [
        (Decimal("0.0004"), Decimal("50")), (Decimal("0.0001"), None)
    ]  # fmt: skip


# -- what is pure ---------------------------------------------------------------------------------


def test_windows_are_widened_to_whole_minutes():
    assert core.whole_minutes(Window(60_001, 119_999)) == Window(60_000, 120_000)
    assert core.whole_minutes(Window(60_000, 120_000)) == Window(60_000, 120_000)


def test_a_pause_longer_than_any_interval_is_a_silence(contract):
    hours = (0, 8, 16, 24, 32.5, 33, 49)
    contract.write(page(WEEK, *(event(h, late=int(h)) for h in hours)))
    assert core.silences(contract.read().events.times) == [
        Window(START + 24 * HOUR + 24, START + int(32.5 * HOUR) + 32),
        Window(START + 33 * HOUR + 33, START + 49 * HOUR + 49),
    ]
    assert core.silences(contract.read(Window(START, START + HOUR)).events.times) == []


def test_perpetual_futures_pay_funding_and_spot_does_not():
    assert core.is_paid("um")
    assert not any(map(core.is_paid, ("spot", "crypto", "stocks", "forex")))
