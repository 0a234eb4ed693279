"""The event loop: compiled, one pass over the bars of all symbols. `simulation` has the rules.

Nothing here depends on the processor: additions stand in a fixed order, and the compiler may
not reorder them.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from candlevault.backtest.engine.codes import (
    DAILY_LOSS,
    DRAWDOWN,
    END_OF_DATA,
    ENTER_LONG,
    ENTER_SHORT,
    EXIT_LONG,
    EXIT_SHORT,
    LIMIT,
    LIQUIDATION,
    MARKET,
    OPTIMISTIC,
    RESOLVED,
    SIGNAL,
    STOP,
    STOP_LIMIT,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP,
)
from candlevault.backtest.engine.fills import (
    ROUNDING,
    close,
    drop,
    enter,
    met,
    survey,
    worse,
    worth,
)
from candlevault.backtest.engine.protection import (
    AT_OPEN,
    BY_STOP,
    BY_TARGET,
    CERTAIN,
    HOLDS,
    NEVER,
    UNKNOWN,
    evidence,
    gap_outcome,
    met_best,
    met_worst,
    outcome,
    reaches,
    stop_level,
    walked,
)


@njit(cache=True, nogil=True)
def run(market, wishes, settings, finer, choices, places, lots, accounts, trades, questions,
        counts, refused, equity_at, held_at, cash_at, quantity_at):  # fmt: skip
    """Trade `wishes` on `market`; everything from `places` on is written to.

    `choices` answers the first ambiguous moments: 0 the pessimistic, 1 the optimistic way;
    those after it follow the mode. `cash_at` (rows) and `quantity_at` (symbols, rows) are left
    alone where they have no rows.
    """
    # Taken out of their tuples once: doing so counts references, which the loop would feel.
    opens, highs, lows, closes = market.open, market.high, market.low, market.close
    present, last_row, days = market.present, market.last_row, market.day
    funding, actions = market.funding, wishes.actions
    symbols, rows = opens.shape
    config, account, counters = settings[0], accounts[0], counts[0]
    can_fail = config.allow_short or config.max_exposure > 1.0 or funding.shape[0] > 0
    ruin = config.capital * ROUNDING if can_fail else -math.inf
    watched = math.isfinite(config.daily_loss) or math.isfinite(config.drawdown)
    alone = symbols == 1 and config.max_entries == 1 and not watched
    row = -1
    while row + 1 < rows:
        row += 1
        if alone and places[0].entry == 0 and places[0].leaving == 0:
            row = _coast(row, last_row[0], highs, lows, closes, present, funding, actions,
                         ruin, places[0], lots[0, 0], account, equity_at, held_at, cash_at,
                         quantity_at)  # fmt: skip
            if row == rows:
                break
        day = days[row]
        if row > 0 and day != days[row - 1]:
            account.day_start = account.equity
        busy = False
        for s in range(symbols):
            busy = busy or places[s].count > 0 or places[s].entry != 0
        if busy:
            # At the open first what gives money back, then what spends it.
            for s in range(symbols):
                if present[s, row]:
                    places[s].mark = opens[s, row]
            for s in range(symbols):
                if places[s].count > 0 and present[s, row]:
                    if funding.shape[0] > 0:
                        _fund(s, funding[s, row], places, lots, account)
                    if places[s].leaving or met(places[s], opens[s, row], opens[s, row]):
                        _leave_at_open(s, row, config, places, lots, account, trades, counters)
            for s in range(symbols):
                if places[s].entry != 0 and present[s, row]:
                    _enter_at_open(s, row, day, config, places, lots, account, refused)
            for s in range(symbols):
                if places[s].entry != 0 and present[s, row]:
                    _enter_inside(s, row, day, highs[s, row], lows[s, row], closes[s, row],
                                  config, places, lots, account, refused)  # fmt: skip
                held_at[row] = held_at[row] or places[s].count > 0
            if can_fail:
                # Looked at here: the call would cost more than the sum.
                at_worst = account.cash
                for s in range(symbols):
                    worst = places[s].mark
                    if places[s].side != 0 and present[s, row]:
                        worst = lows[s, row] if places[s].side > 0 else highs[s, row]
                    at_worst += places[s].units * worst
                if at_worst <= ruin:
                    _liquidate(row, ruin, present, highs, lows, config, places, lots, account,
                               trades, counters, refused)  # fmt: skip
            for s in range(symbols):
                if places[s].count == 0 or not present[s, row]:
                    continue
                high, low = highs[s, row], lows[s, row]
                entered = lots[s, places[s].count - 1].row == row
                # Calls cost more than looking; most bars touch nothing.
                if entered or places[s].restless or met(places[s], low, high):
                    _protect(s, row, high, low, closes[s, row], config, finer, choices, places,
                             lots, account, trades, questions, counters)  # fmt: skip
                else:
                    for k in range(places[s].count):
                        lots[s, k].high = max(lots[s, k].high, high)
                        lots[s, k].low = min(lots[s, k].low, low)
            for s in range(symbols):
                if present[s, row]:
                    place = places[s]
                    place.mark = closes[s, row]
                    if row < last_row[s]:
                        continue
                    place.entry = 0
                    while place.count > 0:
                        close(s, 0, row, lots[s, 0].quantity,
                              worse(place.mark, -place.side, config), config.taker_fee,
                              END_OF_DATA, False, places, lots, account, trades,
                              counters)  # fmt: skip
            account.equity = worth(places, account.cash)[0]
        equity_at[row] = account.equity
        if len(cash_at) > 0:
            cash_at[row] = account.cash
            for s in range(symbols):
                quantity_at[s, row] = places[s].units
        for s in range(symbols):
            if actions[s, row] != 0 and row < last_row[s]:
                _read(s, row, wishes, config, places)
        if watched:
            _watch(day, config, places, account, refused)


@njit(cache=True, nogil=True)
def _coast(row, last_row, highs, lows, closes, present, funding, actions, ruin, place,
           lot, account, equity_at, held_at, cash_at, quantity_at):  # fmt: skip
    """Pass the rows in which one symbol only moves in price; returns the first other row.

    It does what the loop does in such rows and decides nothing. Most rows are of this kind.
    """
    cash, units, side = account.cash, place.units, place.side
    high, low, mark = lot.high, lot.low, place.mark
    while row < len(equity_at):
        if not present[0, row] or actions[0, row] != 0 or row == last_row:
            break
        if side != 0:
            top, bottom = highs[0, row], lows[0, row]
            if met(place, bottom, top):
                break
            if cash + units * (bottom if side > 0 else top) <= ruin:
                break
            if funding.shape[0] > 0 and funding[0, row] != 0.0:
                break
            high, low = max(high, top), min(low, bottom)
            if place.restless and side > 0:
                place.floor = stop_level(side, lot.stop, high, lot.trail)[0]
            elif place.restless:
                place.ceiling = stop_level(side, lot.stop, low, lot.trail)[0]
            mark = closes[0, row]
            held_at[row] = True
        equity_at[row] = cash + units * mark
        if len(cash_at) > 0:
            cash_at[row], quantity_at[0, row] = cash, units
        row += 1
    if side != 0:
        lot.high, lot.low, place.mark = high, low, mark
    account.equity = cash + units * mark
    return row


@njit(cache=True, nogil=True)
def _fund(s, rate, places, lots, account):
    """Funding of the lots carried into the bar: longs pay shorts where the rate is positive."""
    for k in range(places[s].count):
        paid = places[s].side * lots[s, k].quantity * places[s].mark * rate
        account.cash -= paid
        lots[s, k].funding += paid


@njit(cache=True, nogil=True)
def _leave_at_open(s, row, config, places, lots, account, trades, counters):
    """The waiting exit, oldest lots first, then what lies beyond stop or target already."""
    place = places[s]
    if place.leaving:
        place.leaving = 0
        price = worse(place.mark, -place.side, config)
        rest = abs(place.units) * place.part if place.part < 1.0 else math.inf
        while place.count > 0:
            units = lots[s, 0].quantity
            # What differs from nothing or the whole lot by rounding only is nothing or the whole.
            if rest <= units * ROUNDING:
                break
            if rest < units * (1.0 - ROUNDING):
                units = rest
            rest -= units
            close(s, 0, row, units, price, config.taker_fee, place.reason, True, places, lots,
                  account, trades, counters)  # fmt: skip
    k = 0
    while k < place.count:
        if not _beyond(s, k, row, place.mark, True, config, places, lots, account, trades,
                       counters):  # fmt: skip
            k += 1


@njit(cache=True, nogil=True)
def _beyond(s, k, row, price, at_open, config, places, lots, account, trades, counters):
    """Close a lot at a price that lies beyond its stop or target; says whether it did."""
    side, lot = places[s].side, lots[s, k]
    stop, trails = stop_level(side, lot.stop, lot.high if side > 0 else lot.low, lot.trail)
    found = gap_outcome(side, stop, lot.target, price)
    if found == BY_STOP:
        close(s, k, row, lot.quantity, worse(price, -side, config), config.taker_fee,
              TRAILING_STOP if trails else STOP_LOSS, at_open, places, lots, account, trades,
              counters)  # fmt: skip
    elif found == BY_TARGET:
        close(s, k, row, lot.quantity, price, config.maker_fee, TAKE_PROFIT, at_open, places,
              lots, account, trades, counters)  # fmt: skip
    return found != HOLDS


@njit(cache=True, nogil=True)
def _enter_at_open(s, row, day, config, places, lots, account, refused):
    """Fill a market order, or a resting one whose price the open has reached."""
    place = places[s]
    side, kind, open_ = place.entry, place.kind, place.mark
    price, fee = np.nan, config.taker_fee
    if kind == MARKET:
        price = worse(open_, side, config)
    elif _rests(place):
        if reaches(open_, place.limit, -side):
            price, fee = open_, config.maker_fee
    elif reaches(open_, place.stop, side):
        if kind == STOP:
            price = worse(open_, side, config)
        elif reaches(open_, place.limit, -side):
            price = _capped(worse(open_, side, config), place.limit, side)
        else:
            place.stop = np.nan
    if not math.isnan(price):
        enter(s, row, day, price, fee, AT_OPEN, open_, config, places, lots, account, refused)


@njit(cache=True, nogil=True)
def _enter_inside(s, row, day, high, low, end, config, places, lots, account, refused):
    """Fill a resting order whose price lies inside the bar, or let it wait."""
    place = places[s]
    side, kind = place.entry, place.kind
    ahead, behind = (high, low) if side > 0 else (low, high)
    price, fee, entered, order = np.nan, config.taker_fee, STOP, place.stop
    if _rests(place):
        if reaches(behind, place.limit, -side):
            price, fee, entered, order = place.limit, config.maker_fee, LIMIT, place.limit
    elif reaches(ahead, place.stop, side):
        if kind == STOP:
            price = worse(place.stop, side, config)
        elif reaches(place.stop, place.limit, -side):
            price = _capped(worse(place.stop, side, config), place.limit, side)
        else:
            # Whether the limit was met before or after the trigger only the close can prove.
            place.stop = np.nan
            if reaches(end, place.limit, -side):
                price, fee, entered, order = place.limit, config.maker_fee, STOP_LIMIT, place.limit
    if not math.isnan(price):
        enter(s, row, day, price, fee, entered, order, config, places, lots, account, refused)
    elif place.left > 0:
        place.left -= 1
        if place.left == 0:
            place.entry = 0


@njit(cache=True, nogil=True)
def _rests(place):
    """Whether a limit order waits: a plain one, or a stop-limit that has triggered."""
    return place.kind == LIMIT or (place.kind == STOP_LIMIT and math.isnan(place.stop))


@njit(cache=True, nogil=True)
def _capped(price, limit, side):
    return min(price, limit) if side > 0 else max(price, limit)


@njit(cache=True, nogil=True)
def _protect(s, row, high, low, end, config, finer, choices, places, lots, account, trades,
             questions, counters):  # fmt: skip
    """Stops and targets inside the bar; what stays open remembers how far prices went."""
    place = places[s]
    k = 0
    while k < place.count:
        lot, side = lots[s, k], place.side
        entered = lot.entered if lot.row == row else AT_OPEN
        if lot.row == row and _beyond(s, k, row, lot.order, entered == AT_OPEN, config, places,
                                      lots, account, trades, counters):  # fmt: skip
            continue
        stop, trails = stop_level(side, lot.stop, lot.high if side > 0 else lot.low, lot.trail)
        stopped, gained = evidence(side, stop, lot.target, high, low, end, entered)
        found = outcome(stopped, gained)
        if found == UNKNOWN:
            found = _chosen(s, side, row, stop, entered, stopped, gained, config, finer, choices,
                            lot, questions, counters)  # fmt: skip
        if found == BY_STOP:
            close(s, k, row, lot.quantity, worse(stop, -side, config), config.taker_fee,
                  TRAILING_STOP if trails else STOP_LOSS, False, places, lots, account, trades,
                  counters)  # fmt: skip
        elif found == BY_TARGET:
            close(s, k, row, lot.quantity, lot.target, config.maker_fee, TAKE_PROFIT, False,
                  places, lots, account, trades, counters)  # fmt: skip
        else:
            # Of the bar in which a resting order filled only what was surely met counts.
            best, worst = met_best(entered), met_worst(entered)
            lot.high = max(lot.high, high if (best if side > 0 else worst) else end)
            lot.low = min(lot.low, low if (worst if side > 0 else best) else end)
            k += 1
    survey(s, places, lots)


@njit(cache=True, nogil=True)
def _chosen(s, side, row, stop, entered, stopped, gained, config, finer, choices, lot, questions,
            counters):  # fmt: skip
    """The answer to an ambiguous moment: given, by the finer candles, or by the mode."""
    bad = HOLDS if stopped == NEVER else BY_STOP
    good = HOLDS if gained == NEVER else BY_TARGET
    asked = counters.questions
    lot.doubt = 1
    if stopped != CERTAIN and gained != CERTAIN:
        counters.branching += 1
    better = config.mode == OPTIMISTIC
    if asked < len(choices):
        better = choices[asked] == 1
    elif config.mode == RESOLVED:
        found = UNKNOWN
        if finer.first.shape[0] > 0:
            found = walked(side, stop, lot.target, lot.order, entered, finer,
                           finer.first[s, row], finer.last[s, row])  # fmt: skip
        better = found == good
        if found != good and found != bad:
            counters.unresolved += 1
    question = questions[asked]
    question.symbol, question.row, question.choice = s, row, 1 if better else 0
    counters.questions += 1
    return good if better else bad


@njit(cache=True, nogil=True)
def _liquidate(row, ruin, present, highs, lows, config, places, lots, account, trades, counters,
               refused):  # fmt: skip
    """Close everything where the equity is used up, on the straight way from the open to the
    worst prices of the bar, unless the stops that lie on it save a part; nothing is entered
    after that."""
    way = _way_to_ruin(row, ruin, present, highs, lows, config, places, lots, account.cash)
    if way > 1.0:
        return
    for s in range(len(places)):
        place = places[s]
        drop(place, refused)
        if place.count > 0 and not present[s, row]:
            place.leaving, place.part, place.reason = 1, 1.0, LIQUIDATION
            continue
        price = _on_the_way(way, s, row, present, highs, lows, places)
        worst = _on_the_way(1.0, s, row, present, highs, lows, places)
        while place.count > 0:
            lot = lots[s, 0]
            side, reason, left = place.side, LIQUIDATION, price
            at_open = way == 0.0 and not (lot.row == row and lot.entered != AT_OPEN)
            out, at, trails = _stop_on_the_way(place, lot, row, worst)
            if out <= way * (1.0 + ROUNDING):
                reason, left = TRAILING_STOP if trails else STOP_LOSS, at
                at_open = at == place.mark and not (lot.row == row and lot.entered != AT_OPEN)
            close(s, 0, row, lot.quantity, worse(left, -side, config), config.taker_fee, reason,
                  at_open, places, lots, account, trades, counters)  # fmt: skip
    account.halted = 1


@njit(cache=True, nogil=True)
def _on_the_way(way, s, row, present, highs, lows, places):
    """A symbol's price at a part (0-1) of the way from its open to its worst price."""
    place = places[s]
    if place.side == 0 or not present[s, row]:
        return place.mark
    worst = lows[s, row] if place.side > 0 else highs[s, row]
    return place.mark + way * (worst - place.mark)


@njit(cache=True, nogil=True)
def _stop_on_the_way(place, lot, row, worst):
    """At which part of that way a lot's stop is taken (inf: not at all), at which price, and
    whether it is the trailing one."""
    side = place.side
    stop, trails = stop_level(side, lot.stop, lot.high if side > 0 else lot.low, lot.trail)
    start = lot.order if lot.row == row else place.mark
    if reaches(start, stop, -side):
        return 0.0, start, trails
    if not reaches(worst, stop, -side):
        return math.inf, stop, trails
    if worst == place.mark:
        return 0.0, stop, trails
    return min(max((stop - place.mark) / (worst - place.mark), 0.0), 1.0), stop, trails


@njit(cache=True, nogil=True)
def _worth_on_the_way(way, past, row, present, highs, lows, config, places, lots, cash):
    """The equity there: stops before it have been taken, and with `past` those at it."""
    equity = cash
    for s in range(len(places)):
        place = places[s]
        price = _on_the_way(way, s, row, present, highs, lows, places)
        worst = _on_the_way(1.0, s, row, present, highs, lows, places)
        for k in range(place.count):
            lot = lots[s, k]
            value = place.side * lot.quantity * price
            if present[s, row]:
                out, at, _ = _stop_on_the_way(place, lot, row, worst)
                if out < way or (past and out == way):
                    at = worse(at, -place.side, config)
                    value = (place.side - config.taker_fee) * lot.quantity * at
            equity += value
    return equity


@njit(cache=True, nogil=True)
def _way_to_ruin(row, ruin, present, highs, lows, config, places, lots, cash):
    """The part (0-1) of that way after which nothing is left; inf when something stays."""
    reached = 0.0
    start = _worth_on_the_way(0.0, True, row, present, highs, lows, config, places, lots, cash)
    if start <= ruin:
        return 0.0
    while reached < 1.0:
        ahead = 1.0
        for s in range(len(places)):
            worst = _on_the_way(1.0, s, row, present, highs, lows, places)
            for k in range(places[s].count if present[s, row] else 0):
                out = _stop_on_the_way(places[s], lots[s, k], row, worst)[0]
                if reached < out < ahead:
                    ahead = out
        before = _worth_on_the_way(ahead, False, row, present, highs, lows, config, places, lots,
                                   cash)  # fmt: skip
        after = _worth_on_the_way(ahead, True, row, present, highs, lows, config, places, lots,
                                  cash)  # fmt: skip
        if before <= ruin:
            return min(ahead, reached + (ahead - reached) * start / (start - before))
        if after <= ruin:
            return ahead
        reached, start = ahead, after
    return math.inf


@njit(cache=True, nogil=True)
def _read(s, row, wishes, config, places):
    """Turn the wishes at a close into orders; the newest replaces what waits."""
    place = places[s]
    wished, side = wishes.actions[s, row], place.side
    # What the limits on losses ordered is not taken back.
    forced = place.leaving != 0 and place.reason != SIGNAL
    long_in = config.allow_long and wished & ENTER_LONG != 0
    short_in = config.allow_short and wished & ENTER_SHORT != 0
    if (place.entry > 0 and wished & EXIT_LONG != 0) or (
        place.entry < 0 and wished & EXIT_SHORT != 0
    ):
        place.entry = 0
    if not forced and (
        (side > 0 and (wished & EXIT_LONG != 0 or short_in))
        or (side < 0 and (wished & EXIT_SHORT != 0 or long_in))
    ):
        part = _at(wishes.reduce, s, row)
        place.leaving, place.reason = 1, SIGNAL
        # Who turns around leaves the whole position.
        turns = long_in or short_in or place.entry * side < 0
        place.part = 1.0 if turns or math.isnan(part) else part
    if not long_in and not short_in:
        return
    toward = 1 if long_in else -1
    if toward == side:
        if not forced:
            place.leaving = 0
        place.entry = 0
        if place.count >= config.max_entries:
            return
    place.limit, place.stop = _at(wishes.limit, s, row), _at(wishes.stop, s, row)
    place.kind = MARKET
    if not math.isnan(place.limit):
        place.kind = LIMIT if math.isnan(place.stop) else STOP_LIMIT
    elif not math.isnan(place.stop):
        place.kind = STOP
    place.stop_loss = _at(wishes.stop_loss, s, row)
    place.take_profit = _at(wishes.take_profit, s, row)
    place.trail = _at(wishes.trail, s, row)
    place.weight = _at(wishes.weight, s, row)
    place.volatility = _at(wishes.volatility, s, row)
    place.entry, place.signal, place.left = toward, row, config.valid_bars


@njit(cache=True, nogil=True)
def _at(array, symbol, row):
    """A value of an optional input, NaN where it is not used."""
    return array[symbol, row] if array.shape[0] > 0 else np.nan


@njit(cache=True, nogil=True)
def _watch(day, config, places, account, refused):
    """The daily loss and the drawdown stop, judged at the close; each acts once."""
    equity = account.equity
    account.peak = max(account.peak, equity)
    if account.halted:
        return
    if reaches(equity, account.peak * (100.0 - config.drawdown) / 100.0, -1):
        reason = DRAWDOWN
        account.halted = 1
    elif account.halted_day != day and reaches(
        equity, account.day_start * (100.0 - config.daily_loss) / 100.0, -1
    ):
        reason = DAILY_LOSS
        account.halted_day = day
    else:
        return
    for s in range(len(places)):
        drop(places[s], refused)
        if places[s].count > 0:
            places[s].leaving, places[s].part, places[s].reason = 1, 1.0, reason
