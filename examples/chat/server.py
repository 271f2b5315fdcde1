from pathlib import Path

import fanfare

HERE = Path(__file__).parent
MAX_BYTES = 10_000
FILES = {
    "/": (b"text/html", (HERE / "index.html").read_bytes()),
    "/style.css": (b"text/css", (HERE / "../shared/style.css").read_bytes()),
}
hub = fanfare.Hub(listen="127.0.0.1:0", retry=1)
stream = hub.asgi()  # GET /chat streams the topic `chat`


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    route = scope["method"], scope["path"]
    if route == ("GET", "/chat"):
        return await stream(scope, receive, send)
    status, kind, answer = 404, b"text/plain", b"not found\n"
    if route == ("POST", "/chat"):
        said, more = b"", True
        while more and len(said) <= MAX_BYTES:
            message = await receive()
            if message["type"] != "http.request":
                return  # gone in the middle of it
            said, more = said + message.get("body", b""), message.get("more_body", False)
        status, answer = 413, b"too long\n"
        if len(said) <= MAX_BYTES:
            hub.publish("chat", said.decode(errors="replace"), event="chat")
            status, answer = 204, b""
    elif scope["path"] in FILES:
        status, (kind, answer) = 200, FILES[scope["path"]]
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": answer})
