"""The pages of the served store. Nothing is written, and nothing is shown that is not a file below the store.

Every answer carries a content security policy; the reports of the store, which bring a script of their own, are
shown as a sandboxed document, so that even a forged one can read nothing else from here.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from capsize.report.html import render
from capsize.report.serve import logs
from capsize.report.serve.catalogue import SORTS, STATES, Catalogue, Row, choose
from capsize.report.serve.compare import compare
from capsize.report.serve.confined import Absent, Confined, Entry, parts_of
from capsize.report.serve.live import Tail
from capsize.report.serve.pages import STATIC, html
from capsize.store import REPORT, VERDICT

OURS = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
A_REPORTS = (
    "sandbox allow-scripts allow-forms; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
A_FILES = "sandbox; default-src 'none'; frame-ancestors 'none'"
HEADERS = (
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"), (b"cache-control", b"no-store"),
)  # fmt: skip
PAGE_ROWS = 200
TEXTS = {"json", "jsonl", "log", "txt", "toml", "edn", "md", "csv", "yaml", "yml", "conf", "cfg", "html", "htm", "svg"}
TICK_S = 1.0
Handler = Callable[[Request, "Served"], Awaitable[Response]]


class Served:
    """What the pages share: the store, its catalogue, and whether the server is about to end."""

    def __init__(self, root: Path) -> None:
        self.store = Confined(root)
        self.catalogue = Catalogue(self.store)
        self.ending = asyncio.Event()


def application(root: Path, *, hosts: list[str] | None = None) -> Starlette:
    """Return the pages of the store at `root`; requests that name another host than `hosts` are refused."""
    served = Served(root)
    pages: dict[str, Handler] = {
        "/": _index, "/rows": _index_rows, "/campaigns": _campaigns, "/campaign/{name}": _campaign,
        "/compare": _compare, "/latest": _latest, "/run/{name}/{stamp}": _run, "/run/{name}/{stamp}/live": _live,
        "/run/{name}/{stamp}/events": _events, "/run/{name}/{stamp}/files/{path:path}": _files,
        "/run/{name}/{stamp}/report.html": _report, "/static/{name}": _static,
    }  # fmt: skip
    routes = [Route(path, _guarded(page, served), methods=["GET"]) for path, page in pages.items()]
    middleware = [Middleware(_Headers)]
    if hosts:
        middleware.append(Middleware(_OnlyOurNames, hosts=hosts))
    missing: dict[Any, Any] = dict.fromkeys((404, 405), _wrong)
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=missing)
    app.state.served = served
    return app


class _Headers:
    """Puts the headers on every answer, also on those that go wrong."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name for name, _ in given}
                wanted = [*HEADERS, (b"content-security-policy", OURS.encode())]
                message["headers"] = given + [header for header in wanted if header[0] not in names]
            await send(message)

        await self.app(scope, receive, sent if scope["type"] == "http" else send)


class _OnlyOurNames:
    """Refuses requests that call this server by another name: a page of the web that was pointed at it does."""

    def __init__(self, app: ASGIApp, hosts: list[str]) -> None:
        self.app = app
        self.hosts = {host.strip("[]").lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            named = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
            name = named.partition("]")[0].strip("[") if named.startswith("[") else named.partition(":")[0]
            if name not in self.hosts:
                await PlainTextResponse("this server is not called that", 421)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _guarded(page: Handler, served: Served) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await page(request, served)
        except Absent:
            return _not_found("There is nothing here that could be shown.")

    return answer


def _not_found(why: str, code: int = 404) -> Response:
    return HTMLResponse(html("missing.html.j2", title="not found", why=why), code)


async def _wrong(request: Request, error: Exception) -> Response:
    del request
    code = int(getattr(error, "status_code", 404))
    return _not_found("Nothing can be changed here, only looked at." if code == 405 else "There is no such page.", code)


# -- lists -----------------------------------------------------------------------------------------------------------


def _asked(request: Request) -> dict[str, Any]:
    """Return what a list was asked for; words that mean nothing are left out."""
    given = request.query_params
    sort = given.get("sort", "-started")
    return {
        "text": given.get("q", "")[:200],
        "states": [word for word in given.getlist("state") if word in STATES],
        "system": given.get("system", "")[:80], "workload": given.get("workload", "")[:80],
        "fault": given.get("fault", "")[:80], "campaign": given.get("campaign", "")[:120],
        "sort": sort if sort.removeprefix("-") in SORTS else "-started",
    }  # fmt: skip


def _listing(request: Request, served: Served) -> dict[str, Any]:
    rows = served.catalogue.rows()
    asked = _asked(request)
    chosen = choose(rows, **asked)
    number = request.query_params.get("page", "1")
    page = min(max(1, int(number) if number.isdigit() and len(number) < 6 else 1), max(1, -(-len(chosen) // PAGE_ROWS)))

    def link(**changed: Any) -> str:
        query = {"q": asked["text"], **{word: asked[word] for word in ("system", "workload", "fault", "campaign")}}
        query |= {"state": asked["states"], "sort": asked["sort"]} | changed
        return "?" + urlencode({word: value for word, value in query.items() if value}, doseq=True)

    counts = Counter(row.state for row in rows)
    return {
        "rows": chosen[(page - 1) * PAGE_ROWS : page * PAGE_ROWS], "count": len(chosen), "total": len(rows),
        "page": page, "pages": max(1, -(-len(chosen) // PAGE_ROWS)), "asked": asked, "link": link, "sorts": list(SORTS),
        "states": {state: counts[state] for state in STATES if counts[state]},
        "systems": sorted({row.system for row in rows if row.system}),
        "workloads": sorted({row.workload for row in rows if row.workload}),
        "faults": sorted({fault for row in rows for fault in row.faults}),
        "running": any(row.state == "running" for row in rows),
    }  # fmt: skip


async def _index(request: Request, served: Served) -> Response:
    found = await run_in_threadpool(_listing, request, served)
    return HTMLResponse(html("index.html.j2", title="runs", store=str(served.store.root), **found))


async def _index_rows(request: Request, served: Served) -> Response:
    found = await run_in_threadpool(_listing, request, served)
    return HTMLResponse(html("rows.html.j2", **found))


async def _campaigns(request: Request, served: Served) -> Response:
    del request
    found = await run_in_threadpool(served.catalogue.campaigns)
    return HTMLResponse(html("campaigns.html.j2", title="campaigns", campaigns=found))


async def _campaign(request: Request, served: Served) -> Response:
    parts = _parts(request)
    roll = await run_in_threadpool(served.catalogue.roll, parts[1]) if len(parts) == 2 else None
    if roll is None:
        raise Absent
    return HTMLResponse(html("campaign.html.j2", title=f"campaign {roll['name']}", roll=roll, grid=grid(roll["rows"])))


def grid(rows: list[Row]) -> tuple[list[int], dict[tuple[str, str, str], dict[int, Row]]]:
    """Return the seeds of a campaign, and for each system, workload and set of faults its run by seed."""
    lines: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in rows:
        what = (f"{row.system} {row.options}".strip(), row.workload, ", ".join(row.faults) or "no faults")
        lines.setdefault(what, {})[-1 if row.seed is None else row.seed] = row
    return sorted({seed for line in lines.values() for seed in line}), lines


async def _latest(request: Request, served: Served) -> Response:
    del request
    rows = await run_in_threadpool(served.catalogue.rows)
    if not rows:
        raise Absent
    return RedirectResponse(url_of(rows[0]), 302)


async def _compare(request: Request, served: Served) -> Response:
    given = [word for word in request.query_params.getlist("run") if word][:3]
    rows = [await run_in_threadpool(_row_of, served, word) for word in given]
    found = [row for row in rows if row is not None]
    if len(given) != 2 or len(found) != 2:
        every = await run_in_threadpool(served.catalogue.rows)
        picked = [f"{row.name}/{row.stamp}" for row in found]
        return HTMLResponse(html("choose.html.j2", title="compare", rows=every[:2000], picked=picked, given=given))
    made = await run_in_threadpool(compare, served.catalogue, *found)
    return HTMLResponse(html("compare.html.j2", title="compare", made=made))


def _row_of(served: Served, word: str) -> Row | None:
    parts = word.split("/")
    return served.catalogue.row(*parts) if len(parts) == 2 else None


# -- one run ---------------------------------------------------------------------------------------------------------


def url_of(row: Row, *more: str) -> str:
    """Return the path of a run's page, or of something below it."""
    return "/" + "/".join(quote(part, safe="", errors="surrogateescape") for part in ("run", *row.path, *more))


def _parts(request: Request) -> tuple[str, ...]:
    """Return the parts of the path as they were sent: an encoded slash stays inside its part, and is refused."""
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    return parts_of(raw)


def _chosen(request: Request, served: Served) -> tuple[Row, tuple[str, ...]]:
    parts = _parts(request)
    row = served.catalogue.row(parts[1], parts[2]) if len(parts) >= 3 else None
    if row is None:
        raise Absent
    return row, parts[3:]


async def _run(request: Request, served: Served) -> Response:
    row, _ = await run_in_threadpool(_chosen, request, served)
    verdict = await run_in_threadpool(served.catalogue.object, *row.path, VERDICT) or {}
    files = await run_in_threadpool(_tree, served, row)
    same = [
        other for other in await run_in_threadpool(served.catalogue.rows)
        if other.path != row.path and (other.system, other.workload) == (row.system, row.workload)
    ]  # fmt: skip
    return HTMLResponse(
        html("run.html.j2", title=f"{row.name} {row.stamp}", row=row, verdict=verdict, files=files, others=same[:200])
    )


def _tree(served: Served, row: Row, *inside: str) -> list[tuple[tuple[str, ...], Entry]]:
    """Return every file of a run, folders opened up to four deep, at most two thousand."""
    found: list[tuple[tuple[str, ...], Entry]] = []
    for entry in served.store.entries(*row.path, *inside):
        if len(found) > 2_000:
            break
        if entry.folder and len(inside) < 4:
            found += _tree(served, row, *inside, entry.name)
        elif not entry.folder:
            found.append(((*inside, entry.name), entry))
    return found


async def _report(request: Request, served: Served) -> Response:
    row, _ = await run_in_threadpool(_chosen, request, served)
    page = await run_in_threadpool(_report_of, served, row)
    bar = html("bar.html.j2", row=row).encode()
    return HTMLResponse(page.replace(b"<body>", b"<body>" + bar, 1), headers={"content-security-policy": A_REPORTS})


def _report_of(served: Served, row: Row) -> bytes:
    """Return the report as it was written; drawn now, in memory, where there is none."""
    try:
        return served.store.read(*row.path, REPORT, most=512 << 20)
    except Absent:
        return render(served.store.root.joinpath(*row.path)).encode("utf-8", "backslashreplace")


async def _files(request: Request, served: Served) -> Response:
    row, parts = await run_in_threadpool(_chosen, request, served)
    path = parts[1:]
    if not path:
        raise Absent
    if "raw" in request.query_params:
        file = await run_in_threadpool(served.store.open, *row.path, *path)
        kind = "text/plain; charset=utf-8" if _is_text(path[-1]) else "application/octet-stream"
        name = quote(path[-1], safe="", errors="surrogateescape")
        headers = {"content-security-policy": A_FILES, "content-disposition": f"attachment; filename*=UTF-8''{name}"}
        return StreamingResponse(_chunks(file), media_type=kind, headers=headers)
    shown = await run_in_threadpool(_text_page, served, row, path, request.query_params)
    url = url_of(row, "files", *path)
    return HTMLResponse(html("file.html.j2", title=path[-1], row=row, path=path, page=shown, url=url))


def _is_text(name: str) -> bool:
    return name.rsplit(".", 1)[-1].lower() in TEXTS


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while data := file.read(1 << 18):
            yield data


def _text_page(served: Served, row: Row, path: tuple[str, ...], asked: Any) -> logs.Page:
    at = str(asked.get("at", "0"))
    place = -1 if at == "end" else int(at) if at.isdigit() and len(at) < 16 else 0
    with served.store.open(*row.path, *path) as file:
        return logs.page(file, at=place, find=str(asked.get("find", ""))[:200])


async def _live(request: Request, served: Served) -> Response:
    row, _ = await run_in_threadpool(_chosen, request, served)
    tail = Tail(served.store, row.path)
    while await run_in_threadpool(tail.advance):
        pass
    return HTMLResponse(html("live.html.j2", title=f"live {row.name}", row=row, now=tail.snapshot()))


async def _events(request: Request, served: Served) -> Response:
    row, _ = await run_in_threadpool(_chosen, request, served)
    if "once" in request.query_params:
        tail = Tail(served.store, row.path)
        while await run_in_threadpool(tail.advance):
            pass
        return JSONResponse(tail.snapshot() | {"state": row.state})
    return StreamingResponse(_follow(request, served, row), media_type="text/event-stream")


async def _follow(request: Request, served: Served, row: Row) -> AsyncIterator[bytes]:
    """Yield a snapshot a second until the run has ended, the reader has gone, or the server ends."""
    tail = Tail(served.store, row.path)
    yield b"retry: 2000\n\n"
    while not served.ending.is_set() and not await request.is_disconnected():
        while await run_in_threadpool(tail.advance):
            pass
        now = await run_in_threadpool(served.catalogue.row, *row.path) or row
        told = await run_in_threadpool(tail.snapshot)
        yield b"data: " + json.dumps(told | {"state": now.state}).encode() + b"\n\n"
        if now.state != "running":
            return
        try:
            await asyncio.wait_for(served.ending.wait(), TICK_S)
        except TimeoutError:
            continue


async def _static(request: Request, served: Served) -> Response:
    del served
    name = request.path_params["name"]
    if name not in STATIC:
        raise Absent
    content, kind = STATIC[name]
    return Response(content(), media_type=kind, headers={"cache-control": "max-age=300"})
