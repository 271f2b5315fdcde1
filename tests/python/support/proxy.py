"""A TCP proxy that cuts: after so many bytes of the answer, with FIN or with RST, and lets the hub behind it change."""

import selectors
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """Cut one connection when `after` bytes have gone to the client."""

    after: int
    how: str

    def __post_init__(self):
        assert self.how in ("fin", "rst")


class Proxy:
    """Listens on a free port. Connections to the hub are cut as planned, in order; those after the last cut are left alone."""

    def __init__(self, upstream, plan=()):
        self.upstream = upstream
        self.cuts = 0
        self.plan(plan)
        self._lock = threading.Lock()
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = self._listener.getsockname()
        self.url = "http://%s:%d" % self.address
        self.tls_url = "https://%s:%d" % self.address
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A blocked accept is woken by shutdown, not by close.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def plan(self, cuts):
        """The cuts of the next connections, in place of those planned before."""
        self._planned = deque(cuts)

    def cut_all(self):
        """Resets every connection now."""
        with self._lock:
            sockets = list(self._open)
        for sock in sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        upstream = cut = None
        try:
            if self.upstream is None:
                raise ConnectionError("no hub")
            upstream = socket.create_connection(self.upstream, timeout=30)
            for sock in (client, upstream):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(30)
            with self._lock:
                self._open |= {client, upstream}
                cut = self._planned.popleft() if self._planned else None
            if self._pump(client, upstream, cut):
                cut = None
        except OSError:
            _reset(client)
        finally:
            with self._lock:
                self._open -= {client, upstream}
                if cut:
                    # The connection ended before: the next one gets it.
                    self._planned.appendleft(cut)
            client.close()
            if upstream:
                upstream.close()

    def _pump(self, client, upstream, cut):
        """Passes bytes on until either end is done; says whether it cut."""
        left = cut.after if cut else None
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(upstream, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    source = key.fileobj
                    target = upstream if source is client else client
                    data = source.recv(65536)
                    if not data:
                        selector.unregister(source)
                        target.shutdown(socket.SHUT_WR)
                        if source is client:
                            # No client of ours half-closes: it has gone.
                            return False
                        continue
                    if source is upstream and left is not None:
                        data = data[:left]
                        left -= len(data)
                    target.sendall(data)
                    if left == 0:
                        with self._lock:
                            self.cuts += 1
                        upstream.close()
                        _cut(client, cut.how)
                        return True
        return False


def _cut(client, how):
    if how == "rst":
        _reset(client)
        return
    client.shutdown(socket.SHUT_WR)
    # Closing with unread bytes would send RST: read until the client has gone, too.
    try:
        while client.recv(65536):
            pass
    except OSError:
        pass


def _reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
