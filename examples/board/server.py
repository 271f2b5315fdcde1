import os
from datetime import datetime, timezone
from pathlib import Path

import fanfare
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel

HERE = Path(__file__).parent
hub = fanfare.Hub(listen="127.0.0.1:0", retry=1, history_age=0)
app = FastAPI()
origin = os.environ.get("ALLOWED_ORIGIN", "https://app.example")
app.add_middleware(CORSMiddleware, allow_origins=[origin], allow_methods=["*"], allow_headers=["Content-Type"])


class Message(BaseModel):
    text: str


@app.get("/messages")
async def messages(request: Request, id: str):
    return hub.response(request, ["board"], client=id, replay="all")


@app.post("/message")
async def message(said: Message, id: str):
    if not said.text.strip():
        return JSONResponse({"error": "a message needs a text"}, 400)
    data = {"text": said.text, "at": datetime.now(timezone.utc).isoformat()}
    return {"id": hub.publish("board", data, except_=id)}


@app.exception_handler(RequestValidationError)
@app.exception_handler(fanfare.InvalidError)
async def refused(request: Request, error: Exception):
    return JSONResponse({"error": str(error)}, 400)


@app.get("/")
async def page():
    return FileResponse(HERE / "public/index.html")


@app.get("/style.css")
async def style():
    return FileResponse(HERE / "../shared/style.css")
