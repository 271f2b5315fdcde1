import threading
import time
import uuid
from pathlib import Path

import fanfare
from flask import Flask, jsonify, request

HERE = Path(__file__).parent
KEPT_SECONDS = 3600
MAX_LIMIT = 50_000_000
hub = fanfare.Hub(listen="127.0.0.1:0", retry=1, history_age=KEPT_SECONDS)
jobs = {}  # the time at which each was asked for
app = Flask(__name__, static_folder="public", static_url_path="")


def count_primes(topic, limit):
    found, step = 0, max(1, limit // 100)
    for start in range(0, limit, step):
        end = min(start + step, limit)
        sieve = bytearray([1]) * (end - start)
        for factor in range(2, int(end**0.5) + 1):
            first = max(factor * factor, -(-start // factor) * factor) - start
            sieve[first::factor] = bytes(len(range(first, len(sieve), factor)))
        found += sum(sieve) - sum(1 for number in (0, 1) if start <= number < end)
        hub.publish(topic, {"done": end, "of": limit, "found": found}, event="progress")
        time.sleep(0.01)
    hub.publish(topic, {"found": found}, event="result")
    hub.close_topic(topic)


@app.post("/jobs")
def start():
    limit = (request.get_json(silent=True) or {}).get("limit")
    if not isinstance(limit, int) or not 2 <= limit <= MAX_LIMIT:
        return jsonify(error=f"limit has to be 2 to {MAX_LIMIT}"), 400
    for old in [id for id, at in jobs.items() if at < time.time() - KEPT_SECONDS]:
        del jobs[old]
    id = uuid.uuid4().hex
    jobs[id] = time.time()
    threading.Thread(target=count_primes, args=(f"jobs/{id}", limit), daemon=True).start()
    return jsonify(id=id), 202


@app.get("/jobs/<id>/events")
def events(id):
    if id not in jobs:
        return jsonify(error="no such job"), 404
    return hub.flask_response([f"jobs/{id}"], replay="all")


@app.get("/")
def page():
    return app.send_static_file("index.html")


@app.get("/style.css")
def style():
    return (HERE / "../shared/style.css").read_bytes(), {"Content-Type": "text/css"}
