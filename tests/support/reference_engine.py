"""A second engine, slow and plain, written from the conventions that `simulation` states.

It shares no code with the engine but the average true range: objects and dictionaries where
that one keeps tables, decimals of forty digits where that one rounds, every row looked at
where that one skips. What both say must be the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

import numpy as np

from candlevault.backtest.indicators import atr

DAY_MS = 86_400_000
NEAR = Decimal("1e-12")
HAIR = Decimal("1e-25")
"""Forty digits leave this much of a price or an amount to rounding."""
DUST = Decimal("1e-12")
"""So small a part of the equity buys nothing, of the capital is nothing left, and so small a
return is neither won nor lost."""
CLOSE_BY = Decimal("1e-9")
"""The price of ruin is known so well only: a stop so near to it goes before."""
PESSIMISTIC, OPTIMISTIC, RESOLVED = 0, 1, 2
OPEN, CLOSE_ONLY = "open", "close only"
"""How a lot came in: at an open, or inside the bar where only its close was met for sure; else
the kind of the order."""


def exact(value) -> Decimal | None:
    """The number as it is; None for nothing."""
    return None if value is None or np.isnan(value) else Decimal(float(value))


@dataclass
class Lot:
    side: int
    quantity: Decimal
    price: Decimal
    fee: Decimal
    stop: Decimal | None
    target: Decimal | None
    trail: Decimal | None
    signal: int
    row: int
    kind: str
    came: str
    """OPEN, CLOSE_ONLY, "limit" or "stop"; OPEN once the bar of the entry is over."""
    wished_at: Decimal
    """The price in the market at which it came in: before slippage and spread."""
    funding: Decimal = Decimal(0)
    best: Decimal = Decimal(0)
    worst: Decimal = Decimal(0)
    doubt: bool = False

    def stop_now(self) -> tuple[Decimal | None, str]:
        """The nearer of both stops, and its reason."""
        if self.trail is None:
            return self.stop, "stop_loss"
        trailing = self.best - self.side * self.trail
        if self.stop is None:
            return trailing, "trailing_stop"
        nearer = (trailing - self.stop) * self.side
        if nearer > NEAR * abs(self.stop):
            return trailing, "trailing_stop"
        return self.stop, "stop_loss"


@dataclass
class Order:
    side: int
    signal: int
    limit: Decimal | None
    stop: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    trail: Decimal | None
    weight: Decimal
    volatility: Decimal | None
    left: int | None
    kind: str = ""
    triggered: bool = False

    def __post_init__(self):
        if self.limit is not None and self.stop is not None:
            self.kind = "stop_limit"
        elif self.limit is not None:
            self.kind = "limit"
        elif self.stop is not None:
            self.kind = "stop"
        else:
            self.kind = "market"


@dataclass
class Exit:
    part: Decimal
    reason: str


@dataclass
class Book:
    """One symbol: its candles by row (None where the venue was closed) and what is open."""

    candles: list
    wishes: list
    funding: list | None
    last: int
    mark: Decimal = Decimal(0)
    lots: list[Lot] = field(default_factory=list)
    entry: Order | None = None
    leaving: Exit | None = None

    @property
    def units(self) -> Decimal:
        return sum((lot.side * lot.quantity for lot in self.lots), Decimal(0))

    @property
    def side(self) -> int:
        return self.lots[0].side if self.lots else 0


@dataclass
class Outcome:
    trades: list[dict] = field(default_factory=list)
    equity: list[Decimal] = field(default_factory=list)
    cash: list[Decimal] = field(default_factory=list)
    units: list[list[Decimal]] = field(default_factory=list)
    held: list[bool] = field(default_factory=list)
    refused: Counter = field(default_factory=Counter)
    questions: list[tuple[int, int, int]] = field(default_factory=list)
    unresolved: int = 0


def reaches(price: Decimal, level: Decimal | None, way: int) -> bool:
    """At the level or beyond it, upwards (+1) or downwards (-1)."""
    return level is not None and (price - level) * way >= -NEAR * abs(level)


class Reference:
    """`frames`, `signals`, `settings`, `funding`, `mode`, `choices` as in `simulate`; `finer`
    maps (symbol, row) to the list of finer candles (open, high, low, close) of that bar."""

    def __init__(
        self, frames, signals, settings, *, funding=None, mode=PESSIMISTIC, finer=None, choices=()
    ):
        self.settings, self.risk = settings, settings.risk
        self.mode, self.finer, self.choices = mode, finer or {}, tuple(choices)
        self.days = (frames[0].open_time // DAY_MS).tolist()
        self.books = [
            Book(
                candles=_candles(frame),
                wishes=_wishes(frame, given, settings),
                funding=None if funding is None else [exact(rate) for rate in funding[position]],
                last=int(np.flatnonzero(frame.present)[-1]),
            )
            for position, (frame, given) in enumerate(zip(frames, signals, strict=True))
        ]
        maker = settings.maker_fee_rate
        self.taker_fee = exact(settings.fee_rate)
        self.maker_fee = self.taker_fee if maker is None else exact(maker)
        self.slip = exact(settings.slippage_bps) / 10_000
        self.spread = exact(settings.half_spread)
        self.cash = exact(settings.initial_capital)
        self.peak = self.day_start = self.cash
        self.ruin = self.cash * DUST
        self.halted_day, self.halted = None, False
        self.returns: list[Decimal] = []
        self.out = Outcome()

    def run(self) -> Outcome:
        with localcontext() as context:
            context.prec = 40
            for row in range(len(self.days)):
                self.row = row
                self.step()
        return self.out

    # One row

    def step(self) -> None:
        row = self.row
        here = [book for book in self.books if book.candles[row] is not None]
        if row and self.days[row] != self.days[row - 1]:
            self.day_start = self.equity()
        at_work = any(book.lots or book.entry for book in self.books)
        for book in here:
            book.mark = book.candles[row][0]
        for book in here:
            self.leave_at_open(book)
        for book in here:
            self.enter_at_open(book)
        for book in here:
            self.enter_inside(book)
        self.out.held.append(any(book.lots for book in self.books))
        if at_work:
            self.liquidate(here)
        for book in here:
            self.protect(book)
        for book in here:
            for lot in list(book.lots):
                self.meet(lot, book.candles[row])
                if row == book.last:
                    self.close_at_market(book, lot, book.candles[row][3], "end_of_data")
            if row == book.last:
                book.entry = book.leaving = None
            book.mark = book.candles[row][3]
        self.out.cash.append(self.cash)
        self.out.units.append([book.units for book in self.books])
        self.out.equity.append(self.equity())
        for book in self.books:
            if book.wishes[row] is not None and row < book.last:
                self.read(book, book.wishes[row])
        self.watch()

    def equity(self) -> Decimal:
        return self.cash + sum((book.units * book.mark for book in self.books), Decimal(0))

    # 1. The open

    def leave_at_open(self, book: Book) -> None:
        open_ = book.mark
        if book.funding is not None:
            for lot in book.lots:
                paid = lot.side * lot.quantity * open_ * book.funding[self.row]
                lot.funding += paid
                self.cash -= paid
        if book.leaving is not None:
            order, book.leaving = book.leaving, None
            rest = order.part * abs(book.units)
            for lot in list(book.lots):
                units = lot.quantity if order.part == 1 else min(rest, lot.quantity)
                rest -= units
                if units > HAIR * lot.quantity:
                    self.close_at_market(book, lot, open_, order.reason, units, at_open=True)
        for lot in list(book.lots):
            self.stands_beyond(book, lot, open_, at_open=True)

    def stands_beyond(self, book: Book, lot: Lot, price: Decimal, at_open: bool) -> bool:
        """Leave at a price that lies at the stop or target already, or beyond it."""
        stop, reason = lot.stop_now()
        if reaches(price, stop, -lot.side):
            self.close_at_market(book, lot, price, reason, at_open=at_open)
        elif reaches(price, lot.target, lot.side):
            self.close(book, lot, price, self.maker_fee, "take_profit", at_open=at_open)
        else:
            return False
        return True

    # 2. Entries at the open

    def enter_at_open(self, book: Book) -> None:
        order, open_ = book.entry, book.mark
        if order is None:
            return
        if order.kind == "market":
            self.enter(book, self.market(open_, order.side), self.taker_fee, OPEN, open_)
        elif order.kind == "limit" or order.triggered:
            if reaches(open_, order.limit, -order.side):
                self.enter(book, open_, self.maker_fee, OPEN, open_)
        elif reaches(open_, order.stop, order.side):
            if order.kind == "stop":
                self.enter(book, self.market(open_, order.side), self.taker_fee, OPEN, open_)
            elif reaches(open_, order.limit, -order.side):
                self.enter(book, self.up_to(order, open_), self.taker_fee, OPEN, open_)
            else:
                order.triggered = True

    def up_to(self, order: Order, price: Decimal) -> Decimal:
        slipped = self.market(price, order.side)
        return min(slipped, order.limit) if order.side > 0 else max(slipped, order.limit)

    # 3. Inside the bar

    def enter_inside(self, book: Book) -> None:
        order = book.entry
        if order is None:
            return
        _, high, low, close = book.candles[self.row]
        side = order.side
        dearest, cheapest = (high, low) if side > 0 else (low, high)
        if order.kind == "limit" or order.triggered:
            if reaches(cheapest, order.limit, -side):
                self.enter(book, order.limit, self.maker_fee, "limit", order.limit)
        elif reaches(dearest, order.stop, side):
            if order.kind == "stop":
                price = self.market(order.stop, side)
                self.enter(book, price, self.taker_fee, "stop", order.stop)
            elif reaches(order.stop, order.limit, -side):
                price = self.up_to(order, order.stop)
                self.enter(book, price, self.taker_fee, "stop", order.stop)
            else:
                order.triggered = True
                if reaches(close, order.limit, -side):
                    self.enter(book, order.limit, self.maker_fee, CLOSE_ONLY, order.limit)
        if book.entry is order and order.left is not None:
            order.left -= 1
            if order.left == 0:
                book.entry = None

    def protect(self, book: Book) -> None:
        candle = book.candles[self.row]
        for lot in list(book.lots):
            if lot.row == self.row and self.stands_beyond(
                book, lot, lot.wished_at, at_open=lot.came == OPEN
            ):
                continue
            stop, reason = lot.stop_now()
            if (verdict := self.verdict(book, lot, stop, candle)) == "stop":
                self.close_at_market(book, lot, stop, reason)
            elif verdict == "target":
                self.close(book, lot, lot.target, self.maker_fee, "take_profit")

    def verdict(self, book: Book, lot: Lot, stop, candle) -> str:
        stopped, gained = proof(lot.side, stop, lot.target, candle, lot.came)
        if not unknown(stopped, gained):
            return "stop" if stopped else "target" if gained else ""
        lot.doubt = True
        cautious = "stop" if stopped else ""
        hopeful = "target" if gained else ""
        asked = len(self.out.questions)
        if asked < len(self.choices):
            verdict = hopeful if self.choices[asked] else cautious
        elif self.mode == RESOLVED:
            verdict = self.walk(book, lot, stop, (stopped, gained))
            if verdict is None:
                self.out.unresolved += 1
                verdict = cautious
        else:
            verdict = hopeful if self.mode == OPTIMISTIC else cautious
        symbol = next(i for i, one in enumerate(self.books) if one is book)
        self.out.questions.append((symbol, self.row, int(verdict != cautious)))
        return verdict

    def walk(self, book: Book, lot: Lot, stop, coarse) -> str | None:
        """What the finer candles say: "stop", "target", "" (neither), None (nothing)."""
        symbol = next(i for i, one in enumerate(self.books) if one is book)
        candles = [tuple(map(exact, one)) for one in self.finer.get((symbol, self.row), ())]
        if not candles:
            return None
        came = lot.came
        for number, candle in enumerate(candles):
            open_, high, low, _ = candle
            if came in ("limit", "stop"):
                way = -lot.side if came == "limit" else lot.side
                if reaches(open_, lot.wished_at, way):
                    came = OPEN
                elif not reaches(high if way > 0 else low, lot.wished_at, way):
                    continue
            elif came == CLOSE_ONLY:
                return None
            if came == OPEN and number:
                if reaches(open_, stop, -lot.side):
                    return "stop"
                if reaches(open_, lot.target, lot.side):
                    return "target"
            stopped, gained = proof(lot.side, stop, lot.target, candle, came)
            if unknown(stopped, gained):
                return None
            if stopped or gained:
                return "stop" if stopped else "target"
            came = OPEN
        if came != OPEN or 2 in coarse:
            return None
        return ""

    def meet(self, lot: Lot, candle) -> None:
        """Remember the prices of a bar that the lot has surely met."""
        _, high, low, close = candle
        best, worst = (high, low) if lot.side > 0 else (low, high)
        nearest = sorted((lot.price, close))
        if lot.side < 0:
            nearest.reverse()
        if lot.came in ("limit", CLOSE_ONLY):
            best = nearest[1]
        if lot.came in ("stop", CLOSE_ONLY):
            worst = nearest[0]
        further = max if lot.side > 0 else min
        lot.best = further(lot.best, best)
        lot.worst = min(lot.worst, worst) if lot.side > 0 else max(lot.worst, worst)
        lot.came = OPEN

    # 5. The close

    def read(self, book: Book, wish: dict) -> None:
        left = {1: wish["exit_long"], -1: wish["exit_short"]}
        if book.entry is not None and left[book.entry.side]:
            book.entry = None
        for side in (1, -1):
            if left[side] and book.side == side and not self.forced(book):
                turning = book.entry is not None and book.entry.side == -side
                part = Decimal(1) if turning else wish["reduce"] or Decimal(1)
                book.leaving = Exit(part, "signal")
        for side, entered in ((1, wish["enter_long"]), (-1, wish["enter_short"])):
            if not entered:
                continue
            book.entry = None
            if book.side == side and not self.forced(book):
                book.leaving = None
            if book.side == -side and not self.forced(book):
                book.leaving = Exit(Decimal(1), "signal")
            if book.side != side or len(book.lots) < self.risk.max_entries:
                book.entry = Order(
                    side=side, signal=self.row, left=self.settings.entry.valid_bars, **wish["order"]
                )
                if book.entry.kind == "market":
                    book.entry.left = None

    def forced(self, book: Book) -> bool:
        return book.leaving is not None and book.leaving.reason != "signal"

    def watch(self) -> None:
        equity, today = self.equity(), self.days[self.row]
        self.peak = max(self.peak, equity)
        if self.halted:
            return
        if self.fell(equity, self.peak, self.risk.max_drawdown_pct):
            reason, self.halted = "drawdown", True
        elif self.halted_day != today and self.fell(
            equity, self.day_start, self.risk.daily_loss_pct
        ):
            reason, self.halted_day = "daily_loss", today
        else:
            return
        for book in self.books:
            self.drop(book)
            if book.lots:
                book.leaving = Exit(Decimal(1), reason)

    def drop(self, book: Book) -> None:
        if book.entry is not None:
            book.entry = None
            self.out.refused["trading_halted"] += 1

    def fell(self, equity: Decimal, start: Decimal, percent) -> bool:
        return percent is not None and reaches(equity, start - part_of(start, percent), -1)

    # Entries and exits

    def market(self, price: Decimal, side: int) -> Decimal:
        """Buying (+1) or selling (-1) at once."""
        return max(price * (1 + side * self.slip) + side * self.spread, Decimal(0))

    def enter(
        self, book: Book, price: Decimal, fee: Decimal, came: str, wished_at: Decimal
    ) -> None:
        order, book.entry = book.entry, None
        side = order.side
        if self.halted or self.halted_day == self.days[self.row]:
            self.out.refused["trading_halted"] += 1
            return
        held = sum(1 for one in self.books if one.lots)
        if not book.lots and held >= (self.risk.max_open_positions or len(self.books)):
            self.out.refused["max_open_positions"] += 1
            return
        if not price:
            self.out.refused["no_buying_power"] += 1
            return
        trail = order.trail or part_of(price, self.risk.trailing_stop_pct)
        stop = order.stop_loss
        if stop is None and self.risk.stop_loss_pct is not None:
            stop = price - side * part_of(price, self.risk.stop_loss_pct)
        target = order.take_profit
        if target is None and self.risk.take_profit_pct is not None:
            target = price + side * part_of(price, self.risk.take_profit_pct)
        lot = Lot(
            side,
            Decimal(0),
            price,
            Decimal(0),
            stop,
            target,
            trail,
            order.signal,
            self.row,
            order.kind,
            came,
            wished_at,
            best=price,
            worst=price,
        )
        nearest, _ = lot.stop_now()
        if reaches(price, nearest, -side) or (
            nearest is None and self.risk.sizing.method == "fixed_risk"
        ):
            self.out.refused["no_stop_distance"] += 1
            return
        if self.risk.sizing.method == "volatility_target" and not order.volatility:
            self.out.refused["no_volatility"] += 1
            return
        equity = self.equity()
        gross = sum((abs(one.units) * one.mark for one in self.books), Decimal(0))
        room = exact(self.risk.max_exposure) * equity - gross
        wanted = self.wanted(equity, price, fee, nearest, order) * order.weight
        lot.quantity = min(wanted, room / (price * (1 + fee)))
        if lot.quantity <= 0 or lot.quantity * price <= max(self.ruin, DUST * equity):
            self.out.refused["no_buying_power"] += 1
            return
        lot.fee = price * lot.quantity * fee
        self.cash -= side * price * lot.quantity + lot.fee
        book.lots.append(lot)

    def wanted(self, equity, price, fee, stop, order) -> Decimal:
        sizing = self.risk.sizing
        value, unit = exact(sizing.value), price * (1 + fee)
        if sizing.method == "equity_fraction":
            return value * equity / unit
        if sizing.method == "fixed_amount":
            return value / unit
        if sizing.method == "fixed_quantity":
            return value
        if sizing.method == "fixed_risk":
            return value * equity / abs(price - stop)
        if sizing.method == "volatility_target":
            return value * equity / order.volatility
        return self.kelly() * equity / unit

    def kelly(self) -> Decimal:
        sizing = self.risk.sizing
        won = [one for one in self.returns if one > DUST]
        lost = [-one for one in self.returns if one < -DUST]
        cap = exact(sizing.cap)
        if len(won) + len(lost) < sizing.min_trades:
            return exact(sizing.initial_fraction)
        if not won:
            return Decimal(0)
        if not lost:
            return cap
        rate = Decimal(len(won)) / (len(won) + len(lost))
        ratio = (sum(won) / len(won)) / (sum(lost) / len(lost))
        return min(max(exact(sizing.value) * (rate - (1 - rate) / ratio), Decimal(0)), cap)

    def close_at_market(self, book, lot, price, reason, units=None, *, at_open=False) -> None:
        price = self.market(price, -lot.side)
        self.close(book, lot, price, self.taker_fee, reason, units, at_open=at_open)

    def close(self, book, lot, price, fee_rate, reason, units=None, *, at_open=False) -> None:
        whole = units is None or units >= lot.quantity * (1 - HAIR)
        units = lot.quantity if whole else units
        share = units / lot.quantity
        fee, entry_fee, funding = price * units * fee_rate, lot.fee * share, lot.funding * share
        self.cash += lot.side * price * units - fee
        pnl = lot.side * (price - lot.price) * units - fee - entry_fee - funding
        returned = pnl / (lot.price * units + entry_fee)
        self.returns.append(returned)
        met = (lot.best, lot.worst, price)
        best, worst = (max(met), min(met)) if lot.side > 0 else (min(met), max(met))
        self.out.trades.append(
            dict(
                symbol=next(i for i, one in enumerate(self.books) if one is book),
                side="long" if lot.side > 0 else "short",
                signal_row=lot.signal,
                entry_row=lot.row,
                exit_row=self.row,
                entry_price=lot.price,
                exit_price=price,
                quantity=units,
                entry_fee=entry_fee,
                exit_fee=fee,
                funding=funding,
                pnl=pnl,
                return_pct=returned * 100,
                bars_held=self.row - lot.row + (0 if at_open else 1),
                exit_reason=reason,
                entry_order=lot.kind,
                ambiguous=lot.doubt,
                mae_pct=(worst - lot.price) * lot.side / lot.price * 100,
                mfe_pct=(best - lot.price) * lot.side / lot.price * 100,
            )
        )
        if whole:
            book.lots.remove(lot)
        else:
            lot.quantity -= units
            lot.fee -= entry_fee
            lot.funding -= funding

    # Nothing left

    def liquidate(self, here: list[Book]) -> None:
        if (
            self.settings.direction == "long"
            and self.risk.max_exposure <= 1
            and all(book.funding is None for book in self.books)
        ):
            return
        at_worst = self.cash + sum(
            (book.units * self.on_the_way(book, Decimal(1)) for book in self.books), Decimal(0)
        )
        if at_worst > self.ruin:
            return
        way = self.way_to_ruin()
        if way is None:
            return
        for book in self.books:
            self.drop(book)
            if book.lots and book not in here:
                book.leaving = Exit(Decimal(1), "liquidation")
                continue
            price = self.on_the_way(book, way)
            for lot in list(book.lots):
                stop, reason = lot.stop_now()
                if stop is not None and (price - stop) * lot.side <= CLOSE_BY * abs(stop):
                    at, at_open = self.stopped_at(book, lot)
                    self.close_at_market(book, lot, at, reason, at_open=at_open)
                else:
                    self.close_at_market(
                        book, lot, price, "liquidation", at_open=way == 0 and lot.came == OPEN
                    )
        self.halted = True

    def on_the_way(self, book: Book, way: Decimal) -> Decimal:
        """The price at a part (0-1) of the straight way from the open to the worst price."""
        candle = book.candles[self.row]
        if candle is None or not book.lots:
            return book.mark
        return book.mark + ((candle[2] if book.side > 0 else candle[1]) - book.mark) * way

    def worth_on_the_way(self, way: Decimal) -> Decimal:
        """The equity there, when the stops that lie on the way have been taken."""
        worth = self.cash
        for book in self.books:
            price = self.on_the_way(book, way)
            for lot in book.lots:
                stop, _ = lot.stop_now()
                if book.candles[self.row] is not None and reaches(price, stop, -lot.side):
                    left = self.market(self.stopped_at(book, lot)[0], -lot.side)
                    worth += (lot.side - self.taker_fee) * left * lot.quantity
                else:
                    worth += lot.side * lot.quantity * price
        return worth

    def stopped_at(self, book: Book, lot: Lot) -> tuple[Decimal, bool]:
        """Where a stop on the way is taken: at its level, or where the lot stands beyond it."""
        stop, _ = lot.stop_now()
        start = lot.wished_at if lot.row == self.row else book.mark
        if reaches(start, stop, -lot.side):
            return start, lot.came == OPEN
        return stop, False

    def way_to_ruin(self) -> Decimal | None:
        """The first part of the way at which nothing is left; None: never."""
        almost = self.way_to(self.ruin)
        if almost is None:
            return None
        # Where less than a crumb is left, the nothing proper is a hair further on.
        nothing = self.way_to(Decimal(0))
        return nothing if nothing is not None and nothing - almost < 1000 * CLOSE_BY else almost

    def way_to(self, worth: Decimal) -> Decimal | None:
        """By halving, where no more than `worth` is left; None: there is more at the end."""
        if self.worth_on_the_way(Decimal(0)) <= worth:
            return Decimal(0)
        above, below = Decimal(0), Decimal(1)
        if self.worth_on_the_way(below) > worth:
            return None
        for _ in range(130):
            half = (above + below) / 2
            if self.worth_on_the_way(half) > worth:
                above = half
            else:
                below = half
        return below


def proof(side, stop, target, candle, came) -> tuple[int, int]:
    """How sure it is that the stop and that the target were met: 0 not met, 1 may be, 2 met."""
    _, high, low, close = candle
    best, worst = (high, low) if side > 0 else (low, high)
    stopped = gained = 0
    if reaches(worst, stop, -side):
        stopped = 2 if came in (OPEN, "limit") or reaches(close, stop, -side) else 1
    if reaches(best, target, side):
        gained = 2 if came in (OPEN, "stop") or reaches(close, target, side) else 1
    return stopped, gained


def unknown(stopped: int, gained: int) -> bool:
    return (stopped and gained) or 1 in (stopped, gained)


def part_of(price: Decimal, percent) -> Decimal | None:
    return None if percent is None else price * exact(percent) / 100


def _candles(frame) -> list:
    return [
        tuple(exact(getattr(frame, name)[row]) for name in ("open", "high", "low", "close"))
        if frame.present[row]
        else None
        for row in range(len(frame))
    ]


def _wishes(frame, given, settings) -> list[dict | None]:
    """What is wished at each row's close; None where nothing can be."""
    bars = frame.bars()
    sizing, rules, allowed = settings.risk.sizing, settings.entry, settings.direction
    volatility = None
    if sizing.method == "volatility_target":
        volatility = atr(bars.high, bars.low, bars.close, sizing.atr_period)
    rows = np.flatnonzero(frame.present | frame.carried).tolist()
    wishes: list[dict | None] = [None] * len(frame)

    def value(name, i):
        array = getattr(given, name)
        return None if array is None else exact(array[i])

    for i, row in enumerate(rows):
        flags = {
            name: getattr(given, name) is not None and bool(getattr(given, name)[i])
            for name in ("enter_long", "exit_long", "enter_short", "exit_short")
        }
        flags["enter_long"] &= allowed in ("long", "both")
        flags["enter_short"] &= allowed in ("short", "both")
        limit, stop = value("limit", i), value("stop", i)
        if given.limit is None and given.stop is None:
            way = 1 if flags["enter_long"] else -1
            close = exact(bars.close[i])
            offset = way * exact(rules.offset_pct) / 100
            beyond = way * exact(rules.limit_offset_pct) / 100
            if rules.order == "limit":
                limit = close * (1 - offset)
            elif rules.order != "market":
                stop = close * (1 + offset)
                limit = stop * (1 + beyond) if rules.order == "stop_limit" else None
        wishes[row] = flags | {
            "reduce": value("reduce", i),
            "order": dict(
                limit=limit,
                stop=stop,
                stop_loss=value("stop_loss", i),
                take_profit=value("take_profit", i),
                trail=value("trail", i),
                weight=value("weight", i) or Decimal(1),
                volatility=None if volatility is None else exact(volatility[i]),
            ),
        }
    return wishes
