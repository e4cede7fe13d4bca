"""The models that a server has, by the names that clients call them."""

from llmkit.server.engine_load import EngineLoad
from llmkit.server.errors import model_not_allowed, no_model
from llmkit.server.gate import Caller
from llmkit.server.served import Served


class Models:
    """Served models by name. The first one answers where a request names none."""

    def __init__(self, served: list[Served]) -> None:
        self._served = {one.name: one for one in served}

    def find(self, name: str | None, caller: Caller) -> Served:
        """The model that a request asks for.

        Raises:
            ApiError: see `named`.
        """
        return self.named(name or next(iter(self._served)), caller)

    def named(self, wanted: str, caller: Caller) -> Served:
        """The model of a name.

        Raises:
            ApiError: 404: there is none of this name; 403: the key may not use it.
        """
        if caller.models is not None and wanted not in caller.models:
            raise model_not_allowed(wanted)
        if wanted not in (known := self.names()):
            raise no_model(wanted, known)
        return self._served[wanted.partition(":")[0]]

    def names(self) -> list[str]:
        """All that a request may name: each model, and behind a colon each of its adapters."""
        return [
            name if adapter is None else f"{name}:{adapter}"
            for name, one in self._served.items()
            for adapter in (None, *one.adapters)
        ]

    def loads(self) -> dict[str, EngineLoad]:
        """What each engine is busy with."""
        return {name: one.load() for name, one in self._served.items()}

    def versions(self) -> dict[str, str]:
        """The fingerprint of each, as it answers where a request names no adapter."""
        return {
            name: one.adapters.marked(one.fingerprint, None, one.adapters.scales)
            for name, one in self._served.items()
        }

    def all(self) -> list[Served]:
        """Every model, in order."""
        return list(self._served.values())
