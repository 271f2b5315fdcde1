"""The plumbing of sse.mjs in Python: one log, and a thread for each reader that waits for it."""

import json
import threading
import time

HISTORY = 1024


class Stream:
    def __init__(self):
        self._changed = threading.Condition()
        self._epoch = f"{int(time.time() * 1000):x}"
        self._next = 1
        self._log = []
        self._closed = set()

    def publish(self, topic, data, event="message", except_=None):
        text = data if isinstance(data, str) else json.dumps(data)
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        with self._changed:
            id = f"{self._epoch}-{self._next}"
            frame = f"event: {event}\n" + "".join(f"data: {line}\n" for line in lines) + f"id: {id}\n\n"
            self._log.append((self._next, topic, except_, frame))
            del self._log[:-HISTORY]
            self._next += 1
            self._changed.notify_all()
        return id

    def close(self, topic):
        with self._changed:
            self._closed.add(topic)
            self._changed.notify_all()

    def open(self, topic, last=None, client=None, replay=HISTORY):
        """Frames of the stream; None when it is over and this reader has everything."""
        epoch, _, number = (last or "").partition("-")
        with self._changed:
            wanted = [entry for entry in self._log if entry[1] == topic and (entry[2] is None or entry[2] != client)]
            start = 1 if not last else self._next
            if not last and replay < len(wanted):
                start = wanted[len(wanted) - replay][0] if replay else self._next
            gap = bool(last)
            if epoch == self._epoch and number.isdigit() and int(number) < self._next:
                start, gap = int(number) + 1, False
            elif last:
                start = 1
            if topic in self._closed and not any(entry[0] >= start for entry in wanted):
                return None
        return self._frames(topic, client, start, json.dumps({"requested": last}) if gap else None)

    def _frames(self, topic, client, position, gap):
        yield "retry: 1000\n\n"
        if gap:
            yield f"event: fanfare.gap\ndata: {gap}\n\n"
        while True:
            with self._changed:
                new = lambda: self._next > position or topic in self._closed
                waited = self._changed.wait_for(new, timeout=15)
                frames = [
                    frame
                    for number, own, except_, frame in self._log
                    if number >= position and own == topic and (except_ is None or except_ != client)
                ]
                position, over = self._next, topic in self._closed
            yield "".join(frames) if waited else ":\n\n"
            if over:
                return
