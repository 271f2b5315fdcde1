import os
from datetime import datetime, timezone
from pathlib import Path

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel
from sse import Stream

HERE = Path(__file__).parent
hub = Stream()
app = FastAPI()
origin = os.environ.get("ALLOWED_ORIGIN", "https://app.example")
app.add_middleware(CORSMiddleware, allow_origins=[origin], allow_methods=["*"], allow_headers=["Content-Type"])


class Message(BaseModel):
    text: str


@app.get("/messages")
async def messages(request: Request, id: str = Query(min_length=1)):
    frames = hub.open("board", request.headers.get("last-event-id"), client=id)
    if frames is None:
        return Response(status_code=204)
    return StreamingResponse(frames, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


@app.post("/message")
async def message(said: Message, id: str = Query(min_length=1)):
    if not said.text.strip():
        return JSONResponse({"error": "a message needs a text"}, 400)
    data = {"text": said.text, "at": datetime.now(timezone.utc).isoformat()}
    return {"id": hub.publish("board", data, except_=id)}


@app.exception_handler(RequestValidationError)
async def refused(request: Request, error: Exception):
    return JSONResponse({"error": str(error)}, 400)


@app.get("/")
async def page():
    return FileResponse(HERE / "../board/public/index.html")


@app.get("/style.css")
async def style():
    return FileResponse(HERE / "../shared/style.css")
