"""The web application: one gate that counts, limits and disturbs, before three surfaces."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qsl, unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from candlevault.simulator import archive, control, rest
from candlevault.simulator.answer import HTML, Reply, error
from candlevault.simulator.exchange import Exchange
from candlevault.simulator.faults import REPLACING, TRANSPORT, Fault
from candlevault.simulator.weights import Budget, Refusal

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_GEO = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms."
)


def build_app(exchange: Exchange) -> Starlette:
    """The application that serves `exchange`."""
    gate = Gate(exchange)
    app = Starlette(routes=[Route("/{path:path}", gate.handle, methods=_METHODS)])
    app.state.exchange = exchange
    return app


class Gate:
    """Handles every request: control at once, the rest through weight and faults."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._archive = archive.Archive(exchange)

    async def handle(self, request: Request) -> Response:
        """The response to any request."""
        path = request.scope["path"]
        query = request.scope["query_string"].decode("latin-1")
        if path == control.PREFIX or path.startswith(control.PREFIX + "/"):
            body = await request.body()
            reply = await run_in_threadpool(
                control.answer,
                self._exchange,
                request.method,
                path,
                dict(request.query_params),
                body,
            )
            return _response(reply)
        target = f"{path}?{unquote(query)}" if query else path
        params = parse_qsl(query, keep_blank_values=True)
        reply = await self._reply(request, path, params, target)
        self._exchange.stats.count(reply.kind, reply.status, path)
        disturbed = self._exchange.faults.strike(TRANSPORT, target)
        delay_ms = self._exchange.latency_ms + sum(
            int(f.args.get("ms", 0 if "chunk_ms" in f.args else 1000))
            for f in disturbed
            if f.kind == "latency"
        )
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        return _disturb(_response(reply), disturbed) if disturbed else _response(reply)

    async def _reply(self, request: Request, path: str, params: rest.Params, target: str) -> Reply:
        api = rest.api_of(path)
        budget = self._exchange.budgets[api.market] if api else None
        refusal = budget.charge(rest.weight(api, path, params)) if budget else None
        refusing = budget
        if api and not refusal and rest.is_funding(api, path):
            refusing = self._exchange.funding_budget
            refusal = refusing.charge(1)
        if refusal:
            reply = _refusal_reply(refusal, refusing)
            reply.kind = _kind(path, api)
        elif request.method not in ("GET", "HEAD"):
            reply = Reply(405, b"", HTML, {"Allow": "GET, HEAD"})
        elif fault := self._exchange.faults.strike_first(REPLACING, target):
            reply = self._replaced(fault, budget)
            reply.kind = _kind(path, api)
        else:
            reply = await self._surface(request, path, params, target, api)
        if budget:
            reply.headers["X-MBX-USED-WEIGHT"] = str(budget.used)
            reply.headers["X-MBX-USED-WEIGHT-1M"] = str(budget.used)
        etag = reply.headers.get("ETag")
        if reply.status == 200 and etag and request.headers.get("if-none-match") == etag:
            return Reply(304, b"", reply.content_type, reply.headers, reply.kind)
        return reply

    async def _surface(
        self,
        request: Request,
        path: str,
        params: rest.Params,
        target: str,
        api: rest.Api | None,
    ) -> Reply:
        if api:
            unit = request.headers.get("x-mbx-time-unit", "").upper()
            return rest.answer(self._exchange, api, path, params, target, unit == "MICROSECOND")
        # Packing a page of zip files takes a while; candles must flow meanwhile.
        if path.startswith(archive.PREFIX):
            return await run_in_threadpool(self._archive.get, path, target)
        if path.rstrip("/") == archive.LISTING:
            return await run_in_threadpool(self._archive.list, dict(params))
        return Reply(404, b"<html><body><h2>404 Not found</h2></body></html>", HTML)

    def _replaced(self, fault: Fault, budget: Budget | None) -> Reply:
        args = fault.args
        if fault.kind in ("429", "418"):
            wait = args.get("retry_after", 1 if fault.kind == "429" else 120)
            seconds = float(wait) if isinstance(wait, int | float) else 0.0
            reply = _too_many(int(fault.kind), str(wait), seconds, budget)
            if fault.kind == "418" and args.get("enforce") and budget:
                budget.ban(seconds)
        elif fault.kind == "403":
            reply = Reply(403, _text(args, "<html><body>Request blocked.</body></html>"), HTML)
        elif fault.kind == "451":
            reply = error(451, 0, _GEO)
        elif fault.kind == "500":
            reply = error(500, -1000, "An unknown error occurred while processing the request.")
            reply.body = _text(args, reply.body.decode())
        elif fault.kind == "503":
            reply = Reply(503, _text(args, "<html><body>503 Unavailable</body></html>"), HTML)
        elif fault.kind == "html":
            text = _text(args, "<!DOCTYPE html><html><body>Maintenance</body></html>")
            reply = Reply(int(args.get("status", 200)), text, HTML)
        elif fault.kind == "empty":
            reply = Reply(int(args.get("status", 200)), _text(args, ""))
        else:
            code = int(args.get("code", -1001))
            message = str(args.get("msg", "Internal error; unable to process your request."))
            reply = error(200, code, message)
        return reply


def _kind(path: str, api: rest.Api | None) -> str:
    """The statistics' name for a request that no surface answers."""
    if api:
        return rest.kind_of(api, path)
    if path.startswith(archive.PREFIX):
        return "archive.checksum" if path.endswith(".CHECKSUM") else "archive.zip"
    return "archive.listing" if path.rstrip("/") == archive.LISTING else "unexpected"


def _text(args: dict, usual: str) -> bytes:
    return str(args.get("body", usual)).encode()


def _refusal_reply(refusal: Refusal, budget: Budget | None) -> Reply:
    limit, minutes = (budget.limit, budget.minutes) if budget else (0, 1)
    if refusal.status == 429:
        message = (
            f"Too much request weight used; current limit is {limit} request weight per {minutes} "
            "MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
        )
    else:
        message = (
            f"Way too much request weight used; IP banned until {refusal.until_ms}. Please use "
            "WebSocket Streams for live updates to avoid bans."
        )
    reply = error(refusal.status, -1003, message)
    reply.headers["Retry-After"] = str(refusal.retry_after)
    return reply


def _too_many(status: int, retry_after: str, seconds: float, budget: Budget | None) -> Reply:
    """A 429 or 418 that a fault asks for; only announced, not enforced."""
    until_ms = int((time.time() + seconds) * 1000)
    reply = _refusal_reply(Refusal(status, 0, until_ms), budget)
    reply.headers["Retry-After"] = retry_after
    if budget:
        budget.announce(status, seconds)
    return reply


def _response(reply: Reply) -> Response:
    response = Response(reply.body, reply.status, reply.headers)
    response.headers["content-type"] = reply.content_type
    if reply.status == 304:
        del response.headers["content-length"]
    return response


def _disturb(response: Response, faults: list[Fault]) -> Response:
    for fault in faults:
        if fault.kind == "cut_body":
            ratio = float(fault.args.get("keep_ratio", 0.5))
            return CutResponse(response, int(len(response.body) * ratio))
        if "chunk_ms" in fault.args or "chunk_bytes" in fault.args:
            size = int(fault.args.get("chunk_bytes", 16))
            return DripResponse(response, size, float(fault.args.get("chunk_ms", 100)) / 1000)
    return response


class CutResponse(Response):
    """An answer whose connection ends after `keep` bytes of the promised length."""

    def __init__(self, whole: Response, keep: int) -> None:
        self.whole = whole
        self.keep = min(keep, max(0, len(whole.body) - 1))
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.whole.status_code,
            "headers": self.whole.raw_headers,
        }
        await send(start)
        part = self.whole.body[: self.keep]
        await send({"type": "http.response.body", "body": part, "more_body": True})
        # Returning without the rest makes the server close the connection.


class DripResponse(Response):
    """A whole answer that comes a few bytes at a time."""

    def __init__(self, whole: Response, size: int, pause_seconds: float) -> None:
        self.whole = whole
        self.size = max(1, size)
        self.pause = pause_seconds
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.whole.status_code,
            "headers": self.whole.raw_headers,
        }
        await send(start)
        body = self.whole.body
        for at in range(0, len(body), self.size):
            part = body[at : at + self.size]
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(self.pause)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
