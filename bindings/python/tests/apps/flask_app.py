"""Flask, its headers set after the view; the hub starts where this module is imported."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, abort, jsonify, request

import fanfare

app = Flask(__name__)
hub: fanfare.Hub | None = None


def start() -> None:
    global hub
    hub = fanfare.Hub(listen="127.0.0.1:0", history_events=10_000, timeouts_stop=0.5, heartbeat=1)


if os.environ.get("FANFARE_START") != "post_fork":
    start()


def the_hub() -> fanfare.Hub:
    assert hub is not None
    return hub


@app.after_request
def headers(response: Any) -> Any:
    response.headers["Access-Control-Allow-Origin"] = "https://app.example"
    response.set_cookie("seen", "yes")
    return response


@app.get("/stream")
def stream() -> Any:
    if request.args.get("name") == "nobody":
        abort(403)
    return the_hub().flask_response([request.args.get("topic", "chat")], client=request.args.get("client"))


@app.post("/publish")
def publish() -> Any:
    topic = request.args.get("topic", "chat")
    return jsonify([the_hub().publish(topic, {"n": n}, event="tick") for n in range(int(request.args.get("count", 1)))])


@app.post("/close")
def close() -> Any:
    return jsonify(the_hub().close_topic(request.args["topic"]))


@app.post("/revoke")
def revoke() -> Any:
    the_hub().revoke(request.args["client"])
    return jsonify(None)


@app.get("/info")
def info() -> Any:
    return jsonify(the_hub().url)
