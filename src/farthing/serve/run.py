"""Starts a server: models loaded and warm, lanes running, then HTTP until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import uvicorn

from farthing.embedding.embedder import Embedder
from farthing.errors import InputError
from farthing.serve.app import App
from farthing.serve.dispatch import Dispatcher

DRAIN_S = 30
"""Seconds that what is in flight has when the server is told to stop."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is started with.

    Attributes:
        host: address to listen on.
        port: 0 for any that is free.
        public: whether anyone who reaches another address than loopback may use it, since there are no keys.
        aliases: other names → names of models.
        usd_per_hour: price of this machine; None for the configuration's.
        slack_s: seconds by which a request may be overtaken by shorter ones that came later, for each step of length.
        max_waiting_tokens: most tokens that wait before requests are refused.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    public: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    usd_per_hour: float | None = None
    slack_s: float = 0.1
    max_waiting_tokens: int = 1_000_000


def serve(models: Mapping[str, Embedder], settings: Settings, notify: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; what is in flight then is finished.

    Args:
        models: name → model, all on one device; the first is used where a request names none.
        settings: how.
        notify: told where it listens.

    Raises:
        InputError: the address is not loopback's, an alias names no model, or the port is taken.
    """
    if settings.host not in _LOOPBACK and not settings.public:
        raise InputError(
            f"host {settings.host}: there are no keys yet, so anyone who reaches it could use it: leave it out, or "
            "say --public, as in a container behind a proxy"
        )
    for alias, name in settings.aliases.items():
        if name not in models:
            raise InputError(f"alias {alias}={name}: serves {', '.join(models)}")
    dispatcher = Dispatcher(
        {name: embedder.model.engine for name, embedder in models.items()},
        slack_s=settings.slack_s,
        max_tokens=settings.max_waiting_tokens,
    )
    usd = (
        settings.usd_per_hour
        if settings.usd_per_hour is not None
        else next(iter(models.values())).usd_per_hour
    )
    app = App(models, dispatcher, aliases=settings.aliases, usd_per_hour=usd)
    listening = _listen(settings.host, settings.port)
    dispatcher.start()
    try:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )
        host, port = listening.getsockname()[:2]
        notify(f"serving {', '.join(models)} on http://{host}:{port}/v1")
        with suppress(
            KeyboardInterrupt
        ):  # it raises the signal that it stopped for once more, when all is done
            server.run(sockets=[listening])
    finally:
        dispatcher.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
