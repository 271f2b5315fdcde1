"""The same Starlette application on Fanfare: its route hands each client's socket to the hub.

GET /events/bench is a stream, POST /events/bench sends each line of its body as one event.
"""

import socket

import fanfare
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

hub = fanfare.Hub(listen="127.0.0.1:0", console=False)


async def events(request: Request) -> Response:
    return hub.response(request, topics=["bench"])


async def publish(request: Request) -> JSONResponse:
    last = ""
    for line in (await request.body()).decode().splitlines():
        last = hub.publish("bench", line)
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
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
