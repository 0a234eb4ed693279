"""The page: self-contained, escaped, the same every time, and whole in every case."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from dataclasses import asdict
from html.parser import HTMLParser

import numpy as np
import pytest

from candlevault.backtest.engine.simulation import simulate, stage
from candlevault.backtest.metrics import Metrics, buy_and_hold, measure
from candlevault.backtest.risk import RiskRules, Settings
from candlevault.backtest.signals import Signals
from candlevault.backtest.significance import bootstrap, random_entry
from candlevault.backtest.tear_sheet import figures, of_stored, render
from candlevault.storage.backtests import EquityCurve, StoredResult

VOID = {"meta", "link", "br", "line", "path", "polyline", "polygon", "rect", "circle"}
HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.test/x onerror=alert(1)>&{{7*7}}"


class Page(HTMLParser):
    """Tags in order, their attributes, the visible text; notes tags that do not match."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.tags, self.texts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.wrong.append((tag, self.getpos()))
        else:
            self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def zigzag(count):
    return [100.0 + 12 * abs(i % 30 - 15) + (i * 37 % 11) + i * 0.05 for i in range(count)]


def run(frames, wishes, **options):
    """+1 be long, -1 be short, 9 be flat."""
    rules = Settings(**{"initial_capital": 1000.0, "fee_rate": 0.001, **options})
    signals = [
        Signals(enter_long=w == 1, enter_short=w == -1, exit_long=w == 9, exit_short=w == 9)
        for w in map(np.asarray, wishes)
    ]
    on = stage(frames)
    return on, simulate(on, signals, rules), rules


def document_of(on, done, rules, symbols=("BTCUSDT",), **more):
    columns = done.log.columns()
    columns["symbol"] = [symbols[number] for number in columns["symbol"]]
    whole = {
        "payload": {
            "venue": "binance", "market": "spot", "symbol": symbols[0],
            "also": list(symbols[1:]), "timeframe": on.frames[0].timeframe.code,
            "strategy": {"name": "sma_cross", "params": {"fast": 20, "slow": 50}},
            "initial_capital": rules.initial_capital, "fee_rate": rules.fee_rate,
            "risk": asdict(rules.risk), "maker_fee_rate": None,
        },
        "metrics": measure(on, done, rules).as_dict(),
        "trades": columns,
        "curve": {
            "first_open_time": int(on.open_time[0]),
            "values": done.equity.tolist(),
            "buy_and_hold": buy_and_hold.curve(on, rules).tolist(),
        },
        "versions": {"candlevault": "1.2.3", "engine": "2"},
        "data": {"rows": len(done.equity), "absent": 0, "fingerprint": "f1" * 32},
        "result_hash": "aa" * 32,
        "data_fingerprint": "bb" * 32,
        "bounds": {
            "ambiguous_trades": 3, "unresolved": 1, "pessimistic": 900.0, "optimistic": 1100.0,
            "lowest": 890.0, "highest": 1110.0, "width_pct": 22.0, "exact": False, "runs": 256,
        },
        "refused": {**done.refused, "no_buying_power": 4},
        "trust": {
            "data": {"as_of": None, "revisions": [
                {"series": "binance spot BTCUSDT 1h", "revision": 12, "recorded_at": "2024-05-05"}
            ]},
            "touching": {"known_absent": {
                "candles": 5, "trades": 2, "trades_share": 0.5, "pnl": -7.5,
                "profit_share": None, "loss_share": 0.25,
            }},
            "lookahead": {"cuts": 24, "changed": 0},
            "warm_up": {
                "status": "measured", "bars": 1000, "total_return_pct": 1.0,
                "warmed_total_return_pct": 2.0, "trades": 4, "warmed_trades": 4,
                "changed_trades": 1,
            },
            "repeats": True,
        },
        "significance": {
            "bootstrap": bootstrap(on, done, rules, seed=1, resamples=99).as_dict(),
            "random_entry": random_entry(on, done, rules, seed=1, simulations=50).as_dict(),
        },
        "backtest_id": 17,
        **more,
    }  # fmt: skip
    return json.loads(json.dumps(whole, allow_nan=False))


@pytest.fixture(scope="module")
def document(frame_of):
    wishes = [(1, 0, 0, 9, 0, -1, 0, 0, 9, 0)[i % 10] for i in range(600)]
    return document_of(
        *run([frame_of(zigzag(600))], [wishes], direction="both", risk=RiskRules(stop_loss_pct=10))
    )


def assert_sound(text):
    """Well-formed, without scripts, and without a way out."""
    page = Page(text)
    assert page.wrong == []
    assert page.open == []
    names = {name for name, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "img", "base", "form", "use"}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "action", "data", "xlink:href", "srcset"):
                assert value == "data:,", (tag, name, value)
    styles = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    assert "url(" not in styles
    assert "@import" not in styles
    assert "//" not in styles
    for number in ("nan", "inf", "None", "undefined"):
        assert not re.search(rf"\b{number}\b", page.text), number
    return page


def test_the_page_asks_for_nothing_and_is_well_formed(document):
    page = assert_sound(render(document))
    policy = next(a for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")


def test_headline_figures_are_those_of_the_document(document):
    text = Page(render(document)).text
    metrics = document["metrics"]
    for shown in (
        f"{metrics['total_return_pct']:+.2f}".replace("-", "−"),
        f"{metrics['max_drawdown_pct']:.2f}",
        f"{metrics['sharpe']:.2f}".replace("-", "−"),
        f"{metrics['win_rate_pct']:.1f}",
        f"{metrics['final_equity']:,.2f}",
        f"{metrics['fees_paid']:,.2f}",
        f"{metrics['buy_and_hold_return_pct']:+,.2f}".replace("-", "−"),
    ):
        assert shown in text, shown
    for label in (
        "Total return",
        "Annual return",
        "Max drawdown",
        "Sharpe ratio",
        "Trades",
        "Win rate",
        "Profit factor",
        "Expectancy",
        "Exposure",
        "Fees paid",
    ):
        assert label in text
    assert "BTCUSDT · 1h" in text
    assert "sma_cross, fast 20, slow 50" in text
    assert "All times are UTC" in text


def test_the_first_four_figures_come_in_order_with_signs(document):
    page = render(document)
    values = re.findall(r'<dd class="value ([a-z]*) ?">([^<]*)</dd>', page)
    metrics = document["metrics"]
    tone = "up" if metrics["total_return_pct"] > 0 else "down"
    assert [kind for kind, _ in values] == [tone, tone, "down", ""]
    assert values[2][1] == f"−{metrics['max_drawdown_pct']:.2f}\u202f%"
    assert values[3][1] == f"{metrics['sharpe']:.2f}".replace("-", "−")


def test_the_curves_are_those_of_the_document(document):
    text = Page(render(document)).text
    curve = document["curve"]
    assert f"Buy and hold ends at {curve['buy_and_hold'][-1]:,.2f}." in text
    assert f"to {curve['values'][-1]:,.2f}, lowest {min(curve['values']):,.2f}" in text
    # what the trades tell is what the engine counted
    assert f"open in {document['metrics']['exposure_pct']:.2f} % of all bars" in text


def test_every_metric_has_its_place_on_the_page():
    assert {field.name for field in dataclasses.fields(Metrics)} == figures.SHOWN


def test_every_drawing_says_what_it_shows(document):
    page = Page(render(document))
    charts = [a for a in page.of("svg") if a.get("class") == "chart"]
    assert len(charts) == 5
    identities = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identities) == len(set(identities))
    for chart in charts:
        assert chart["role"] == "img"
        assert set(chart["aria-labelledby"].split()) <= set(identities)
    assert all(
        a.get("aria-hidden") == "true" for a in page.of("svg") if a.get("class") == "interval"
    )
    for headed in page.of("th"):
        assert headed.get("scope") in ("col", "row", "rowgroup")


def test_the_sections_tell_what_is_stored(document):
    text = Page(render(document)).text
    assert "3 trades depend on the order of prices inside a bar." in text
    assert "As far as 256 runs tell, the final equity lies between 890.00 and 1,110.00" in text
    assert "Finer candles left 1 moment open." in text
    assert "Entries that were not taken: 4 (no buying power)." in text
    assert "With the future cut off in 24 places, no signal changed." in text
    assert "the total return is 2.00 % instead of 1.00 %; 1 trade differs." in text
    assert "revision 12" in text
    assert "known absent" in text
    assert "Of 50 strategies" in text
    entry = document["significance"]["random_entry"]
    assert f"(p = {entry['p_value']:.3f})" in text
    assert f"{len(document['trades']['pnl'])} trades in all" in text
    assert "aa" * 32 in text
    assert "bb" * 32 in text


def test_what_finer_candles_were_lacking_is_told(document):
    assert "in doubt." not in Page(render(document)).text
    finer = {"timeframe": "5m", "bars": 123, "bars_with_candles": 1, "reason": "because",
             "problems": ["BTCUSDT 5m: gone", "and 9 more"]}  # fmt: skip
    trust = document["trust"]
    lacking = {**document, "trust": {**trust, "data": {**trust["data"], "finer": finer}}}
    text = Page(render(lacking)).text
    assert "5m candles were at hand for 1 of 123 bars in doubt." in text
    assert "Why not for the others: because." in text
    assert "Could not be loaded: BTCUSDT 5m: gone" in text
    assert "Could not be loaded: and 9 more" in text


def test_why_buy_and_hold_is_left_out_is_told(document):
    curve = {**document["curve"], "buy_and_hold": None, "left_out": "a file is damaged"}
    text = Page(render({**document, "curve": curve})).text
    assert "Buy and hold is not drawn: a file is damaged." in text
    assert "Buy and hold is not drawn" not in Page(render(document)).text


def test_the_months_are_those_of_the_curve(document):
    page = render(document)
    year = re.search(r'<th scope="row">2024</th>(.*?)</tr>', page, re.S).group(1)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", year)
    values = document["curve"]["values"]
    january = (values[599] / 1000.0 - 1) * 100  # 600 hours are 25 days
    assert cells[0] == f"{january:.1f}".replace("-", "−")
    assert cells[1] == ""
    assert cells[12] == cells[0]


def test_best_worst_first_and_last_trades_are_listed(document):
    page = render(document)
    table = page.split('<table class="trades">')[1].split("</table>")[0]
    for name in ("Best", "Worst", "First", "Last"):
        assert f">{name}</th>" in table
    assert table.count("<tr><td") == 20
    returns = document["trades"]["return_pct"]
    best = returns.index(max(returns)) + 1
    assert f'<tr><td class="number">{best}</td>' in table.split(">Worst<")[0]
    worst = returns.index(min(returns)) + 1
    assert f'<tr><td class="number">{worst}</td>' in table.split(">Worst<")[1].split(">First<")[0]


def test_few_trades_are_listed_all(frame_of):
    wishes = [1, 9] * 10 + [0] * 10
    page = render(document_of(*run([frame_of(zigzag(30))], [wishes])))
    assert "Trade list" in page
    assert page.split('<table class="trades">')[1].split("</table>")[0].count("<tr><td") == 10


def every_string(value, text):
    """The same value with every string and key of it made hostile."""
    if isinstance(value, dict):
        return {key: every_string(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [every_string(one, text) for one in value]
    return text if isinstance(value, str) else value


def test_whatever_strings_say_they_stay_text(document):
    hostile = every_string(copy.deepcopy(document), HOSTILE)
    hostile["payload"]["timeframe"] = "1h"
    hostile["payload"]["strategy"]["params"][HOSTILE] = HOSTILE
    hostile["payload"][HOSTILE] = {HOSTILE: [HOSTILE, {HOSTILE: None}]}
    hostile["versions"][HOSTILE] = HOSTILE
    hostile["data"][HOSTILE] = HOSTILE
    hostile["refused"][HOSTILE] = 3
    hostile["trust"]["touching"][HOSTILE] = hostile["trust"]["touching"]["known_absent"]
    hostile["trust"]["warm_up"] = {"status": HOSTILE, "reason": HOSTILE}
    hostile["trust"]["data"]["as_of"] = HOSTILE
    text = render(hostile)
    page = Page(text)
    assert page.wrong == []
    assert "<script" not in text
    assert "<img" not in text
    assert "49" not in re.findall(r"alert\(1\)&gt;&amp;(\S{2})", text)
    assert "{{7*7}}" in text
    assert not [
        name for tag, attributes in page.tags for name in attributes if name.startswith("on")
    ]
    assert page.text.count("alert('x')") >= 10
    both = {
        **hostile,
        "significance": {"bootstrap": {"reason": HOSTILE}, "random_entry": {"reason": HOSTILE}},
    }
    assert "<script" not in render(both)


def test_the_same_document_gives_the_same_bytes(document):
    assert render(document) == render(copy.deepcopy(document))


def test_a_bar_without_anything_has_a_page(frame_of):
    text = render(document_of(*run([frame_of([100.0])], [[0]])))
    page = assert_sound(text)
    assert "Nothing was traded." in page.text
    assert "At no bar close did the equity lie below" in page.text
    assert "Not defined: there are fewer than two periods." in page.text
    assert "Not defined: there are no trades." in page.text
    assert len([a for a in page.of("svg") if a.get("class") == "chart"]) == 1


def test_a_run_without_trades_has_a_page(frame_of):
    page = assert_sound(
        render(document_of(*run([frame_of(zigzag(50), timeframe="1d")], [[0] * 50])))
    )
    assert "Not defined: the equity never moved." in page.text
    assert "Trade list" not in page.text


def test_ruin_has_a_page(frame_of):
    frame = frame_of([100, 100, 250, 100, 100], timeframe="1d")
    page = assert_sound(render(document_of(*run([frame], [[-1, 0, 0, 0, 0]], direction="both"))))
    assert "−150" in page.text


def test_several_symbols_and_both_sides_are_named(frame_of):
    frames = [frame_of(zigzag(80), timeframe="4h"), frame_of(zigzag(80)[::-1], timeframe="4h")]
    wishes = [[(1, 0, 9, -1, 0, 9)[i % 6] for i in range(80)] for _ in (0, 1)]
    page = assert_sound(
        render(
            document_of(
                *run(frames, wishes, direction="both", risk=RiskRules(max_exposure=2.0)),
                symbols=("BTCUSDT", "ETHUSDT"),
            )
        )
    )
    assert "BTCUSDT, ETHUSDT · 4h" in page.text
    assert "Symbol" in page.text
    assert "Side" in page.text
    assert "all symbols in equal parts" in page.text


def test_only_what_must_be_stored_is_enough(document):
    bare = {
        name: document[name] for name in ("payload", "metrics", "trades", "versions", "data")
    } | {"curve": None}
    text = assert_sound(render(bare)).text
    assert "No equity curve is stored" in text
    assert "Skill or luck" not in text
    assert "What it rests on" not in text
    old = dict.fromkeys(("final_equity", "total_return_pct", "sharpe"), 1.0)
    assert_sound(render({**bare, "metrics": old}))
    without = {**document, "curve": {**document["curve"], "buy_and_hold": None}}
    assert "Buy and hold</span>" not in render(without)


def test_a_stored_result_becomes_a_document(document):
    stored = StoredResult(
        backtest_id=17, dag_run_id="manual", reads=[],
        equity=EquityCurve(document["curve"]["first_open_time"], "1h",
                           document["curve"]["values"], []),
        **{name: document[name] for name in (
            "payload", "versions", "result_hash", "data_fingerprint", "metrics", "bounds",
            "refused", "trust", "significance", "trades")},
        data_summary=document["data"],
    )  # fmt: skip
    held = document["curve"]["buy_and_hold"]
    assert render(of_stored(stored, buy_and_hold=held)) == render(document)
    assert "No equity curve is stored" in render(
        of_stored(dataclasses.replace(stored, equity=None))
    )


def test_six_years_of_hours_are_a_page_of_moderate_size(frame_of):
    prices = [100.0 + (i * 7919 % 997) / 10 for i in range(52_000)]
    wishes = [(1, 0, 0, 9)[i % 4] for i in range(52_000)]
    page = render(document_of(*run([frame_of(prices)], [wishes])))
    assert len(page.encode()) < 200_000
    assert "13,000 trades in all" in page
