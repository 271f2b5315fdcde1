"""aiohttp, its headers set by a signal; started as a program."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl

from aiohttp import web

import fanfare

routes = web.RouteTableDef()
HUB: web.AppKey[fanfare.Hub] = web.AppKey("hub", fanfare.Hub)


@routes.get("/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    if request.query.get("name") == "nobody":
        raise web.HTTPForbidden
    topic = request.query.get("topic", "chat")
    return await request.app[HUB].aiohttp_response(request, [topic], client=request.query.get("client"))


@routes.post("/publish")
async def publish(request: web.Request) -> web.Response:
    topic, count = request.query.get("topic", "chat"), int(request.query.get("count", 1))
    return web.json_response([request.app[HUB].publish(topic, {"n": n}, event="tick") for n in range(count)])


@routes.post("/close")
async def close(request: web.Request) -> web.Response:
    return web.json_response(request.app[HUB].close_topic(request.query["topic"]))


@routes.post("/revoke")
async def revoke(request: web.Request) -> web.Response:
    request.app[HUB].revoke(request.query["client"])
    return web.json_response(None)


@routes.get("/info")
async def info(request: web.Request) -> web.Response:
    return web.json_response(request.app[HUB].url)


async def headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Access-Control-Allow-Origin"] = "https://app.example"
    # aiohttp has read its cookies already.
    response.headers.add("Set-Cookie", "seen=yes")


async def application() -> web.Application:
    app = web.Application()
    app[HUB] = fanfare.Hub(listen="127.0.0.1:0", history_events=10_000, timeouts_stop=0.5, heartbeat=1)
    app.add_routes(routes)
    app.on_response_prepare.append(headers)
    return app


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    context = None
    if "CERT" in os.environ:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(os.environ["CERT"], os.environ["KEY"])
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    web.run_app(application(), sock=listener, ssl_context=context, print=None, shutdown_timeout=1, loop=asyncio.new_event_loop())
