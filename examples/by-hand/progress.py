import threading
import time
import uuid
from pathlib import Path

from flask import Flask, Response, jsonify, request
from sse import Stream

HERE = Path(__file__).parent
KEPT_SECONDS = 3600
MAX_LIMIT = 50_000_000
hub = Stream()
jobs = {}  # the time at which each was asked for
app = Flask(__name__, static_folder="../progress/public", static_url_path="")


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
    hub.close(topic)


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
    frames = hub.open(f"jobs/{id}", request.headers.get("Last-Event-ID"))
    if frames is None:
        return "", 204
    return Response(frames, mimetype="text/event-stream", headers={"Cache-Control": "no-cache"})


@app.get("/")
def page():
    return app.send_static_file("index.html")


@app.get("/style.css")
def style():
    return (HERE / "../shared/style.css").read_bytes(), {"Content-Type": "text/css"}
