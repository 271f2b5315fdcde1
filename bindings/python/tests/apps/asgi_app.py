"""FastAPI with middleware, its routes guarded by a query parameter; the hub lives as long as the application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.middleware.cors import CORSMiddleware

import fanfare


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with fanfare.Hub(listen="127.0.0.1:0", history_events=10_000, timeouts_stop=0.5, heartbeat=1) as hub:
        app.state.hub = hub
        app.mount("/mounted", hub.asgi())
        app.mount("/guarded", hub.asgi(authorize=guard))
        yield


async def guard(scope: Any) -> Any:
    names = dict(scope["headers"]).get(b"x-name", b"").decode()
    if names == "crash":
        raise RuntimeError("this hook fails")
    return {"": False, "teapot": (418, "no coffee")}.get(names, names)


app = FastAPI(lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["https://app.example"], allow_credentials=True)


@app.get("/stream")
async def stream(request: Request, topic: str = "chat", name: str = "", client: str | None = None) -> Response:
    if name == "nobody":
        raise HTTPException(403)
    response = request.app.state.hub.response(request, topics=[topic], client=client)
    response.set_cookie("seen", "yes")
    return response


@app.post("/publish")
async def publish(request: Request, count: int = 1, topic: str = "chat") -> list[str]:
    return [request.app.state.hub.publish(topic, {"n": n}, event="tick") for n in range(count)]


@app.post("/close")
async def close(request: Request, topic: str) -> bool:
    return request.app.state.hub.close_topic(topic)


@app.post("/revoke")
async def revoke(request: Request, client: str) -> None:
    request.app.state.hub.revoke(client)


@app.get("/info")
async def info(request: Request) -> str:
    return request.app.state.hub.url
