"""Django in one file, under WSGI (`wsgi`) and ASGI (`asgi`)."""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

import fanfare

hub = fanfare.Hub(listen="127.0.0.1:0", history_events=10_000, timeouts_stop=0.5, heartbeat=1)


def cors(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        response = get_response(request)
        response["Access-Control-Allow-Origin"] = "https://app.example"
        response.set_cookie("seen", "yes")
        return response

    return middleware


def authorize(request: Any) -> Any:
    return False if request.GET.get("name") == "nobody" else request.GET.get("client") or True


def publish(request: Any) -> Any:
    topic, count = request.GET.get("topic", "chat"), int(request.GET.get("count", 1))
    return JsonResponse([hub.publish(topic, {"n": n}, event="tick") for n in range(count)], safe=False)


def close(request: Any) -> Any:
    return JsonResponse(hub.close_topic(request.GET["topic"]), safe=False)


def revoke(request: Any) -> Any:
    hub.revoke(request.GET["client"])
    return JsonResponse(None, safe=False)


urlpatterns = [
    path("stream", hub.django_view(lambda request: [request.GET.get("topic", "chat")], authorize=authorize)),
    path("publish", publish),
    path("close", close),
    path("revoke", revoke),
    path("info", lambda request: JsonResponse(hub.url, safe=False)),
]
os.environ.pop("DJANGO_SETTINGS_MODULE", None)
settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[f"{__name__}.cors"], SECRET_KEY="for tests only", DEBUG=False
)
django.setup()
wsgi = get_wsgi_application()
asgi = get_asgi_application()
