"""For ASGI servers that end by a signal, as uvicorn does: the interpreter then runs none of its
exit handlers, and what the recorder has gathered last would be lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.sync import sync_to_async

from llmcache.process_end import write_down as write_down

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]
"""Of a scope, a `Receive` and a `Send`; frameworks differ in how they type these."""


def with_lifespan(application: Application) -> Application:
    """The application, with what is written when the server says that it ends.

        application = with_lifespan(get_asgi_application())

    Servers say so after the last response, unless their lifespan is switched off. An application
    that takes part in the lifespan itself should call `write_down` instead.
    """

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await sync_to_async(write_down, thread_sensitive=False)()
        await send({"type": "lifespan.shutdown.complete"})

    return serve
