"""A peer for the load bench: Starlette with sse-starlette on uvicorn, one queue a client as its documentation shows.

GET /events/bench is a stream, POST /events/bench sends each line of its body as one event.
"""

import asyncio
import socket

import uvicorn
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

clients: set[asyncio.Queue] = set()
last = 0


async def events(request: Request) -> EventSourceResponse:
    queue: asyncio.Queue = asyncio.Queue()
    clients.add(queue)

    async def stream():
        try:
            while True:
                yield await queue.get()
        finally:
            clients.discard(queue)

    # Lines end as in the other peers' streams, and no ping is counted as an event.
    return EventSourceResponse(stream(), sep="\n", ping=3600)


async def publish(request: Request) -> JSONResponse:
    global last
    for line in (await request.body()).decode().splitlines():
        last += 1
        event = {"data": line, "id": str(last)}
        for queue in clients:
            queue.put_nowait(event)
    return JSONResponse({"id": last})


app = Starlette(
    routes=[
        Route("/events/bench", events, methods=["GET"]),
        Route("/events/bench", publish, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    # It would report every stream that is open when the bench stops it.
    config = uvicorn.Config(app, log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
