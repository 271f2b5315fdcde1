"""Many streams on one HTTP/2 connection, each with its own window, in one thread."""

import h2.config
import h2.connection
import h2.events

from support.sse import Parser, connect


class Http2:
    """A connection in clear. Bodies of the streams in `keep` are parsed; windows of those in `open_windows` are kept open."""

    def __init__(self, address):
        self._connection = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
        )
        self._connection.initiate_connection()
        # The connection never is what holds anything up: only the streams' own windows are.
        self._connection.increment_flow_control_window(2**31 - 1 - 65535)
        self._sock = connect(address)
        self._flowing = set()
        self._parsers = {}
        self.status = {}
        self.ended = set()
        self.received = {}
        self.events = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._sock.close()

    def get(self, path, authority="localhost", headers=(), flowing=True):
        """Asks for `path`; returns the stream's number. A stream that does not flow takes 65,535 bytes and no more."""
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", path), *headers]
        number = self._connection.get_next_available_stream_id()
        self._connection.send_headers(number, fields, end_stream=True)
        self._parsers[number], self.events[number], self.received[number] = Parser(), [], 0
        if flowing:
            self._flowing.add(number)
        return number

    def flow(self, number):
        """Lets a stream flow that did not: its window opens far at once."""
        self._connection.increment_flow_control_window(2**31 - 1 - 65535, number)
        self._sock.sendall(self._connection.data_to_send())

    def turn(self):
        """Sends what there is to send, reads once."""
        self._sock.sendall(self._connection.data_to_send())
        data = self._sock.recv(262144)
        assert data, "the connection was closed"
        for event in self._connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.status[event.stream_id] = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                number = event.stream_id
                self.received[number] += len(event.data)
                self.events[number] += self._parsers[number].feed(event.data)
                if number in self._flowing and event.flow_controlled_length and event.stream_ended is None:
                    self._connection.increment_flow_control_window(event.flow_controlled_length, number)
            elif isinstance(event, h2.events.StreamReset):
                self.status.setdefault(event.stream_id, None)
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            assert not isinstance(event, h2.events.ConnectionTerminated), event

    def comments(self, number):
        """Comments that came on a stream."""
        return self._parsers[number].comments

    def turn_until(self, condition):
        """Goes on until `condition()`."""
        while not condition():
            self.turn()
