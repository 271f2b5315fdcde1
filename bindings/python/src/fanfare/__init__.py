"""Fanfare: an event engine for Server-Sent Events, inside your process.

    import fanfare

    with fanfare.Hub(listen="127.0.0.1:0") as hub:
        print(hub.url)
        hub.publish("chat", {"text": "hello"})

Importing this starts nothing. `Hub` starts, `Hub.publish` publishes, `Hub.subscribe` reads in this process; browsers read
`hub.url + "/events/chat"`, or a route of your own application: `Hub.response` (Starlette, FastAPI), `Hub.asgi`, `Hub.flask_response`,
`Hub.django_view`, `Hub.aiohttp_response`. Every error is a `FanfareError` with a `code`.
"""

from fanfare import errors
from fanfare._authorize import Request
from fanfare._event import GAP, Data, Draft, Event, Greeting
from fanfare._hub import HandlerInfo, Hub, Stats, StopReport
from fanfare._lib import version as _version
from fanfare._options import check_options, config_keys
from fanfare._subscription import Subscription
from fanfare.errors import *

__version__ = _version()

__all__ = ["GAP", "Data", "Draft", "Event", "Greeting", "HandlerInfo", "Hub", "Request", "Stats", "StopReport", "Subscription"]
__all__ += ["check_options", "config_keys", "errors"]
__all__ += errors.__all__
