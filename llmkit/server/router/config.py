"""What a router has beside the settings of a server: its models, its workers, its admin. No torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmkit.errors import ConfigError, UsageError
from llmkit.formats.gguf.parts import name_of
from llmkit.formats.url import split_url

_NAMED = re.compile(
    r"^(?P<name>(?!\.{0,2}/)[^=]+)=(?P<path>.+?)(?:@(?P<version>[^@:/=]+)(?::(?P<weight>\d+(?:\.\d+)?))?)?$"
)
Engine = Literal["own", "ray"]
_EXAMPLE = "-m prod=run1@v1:95 -m prod=run2@v2:5"


@dataclass(frozen=True)
class ModelSource:
    """A model as the command line names it: PATH, NAME=PATH, or NAME=PATH@VERSION:WEIGHT."""

    name: str
    path: str
    version: str = ""
    weight: float = 100.0


@dataclass(frozen=True, kw_only=True)
class RouterConfig:
    """The settings of a router, beside those of its server and of its workers' engines.

    Raises:
        ConfigError: a value is out of range, or an admin's port that nobody has a key for.
    """

    replicas: int = 1
    """Processes of each version of a model."""
    workers: tuple[str, ...] = ()
    """URLs of servers that speak as OpenAI does."""
    worker_key: Path | None = None
    """A file with the key that they ask for."""
    admin_port: int | None = None
    admin_socket: Path | None = None
    engine: Engine = "own"
    """Who keeps the processes of models alive: this program, or Ray Serve."""
    max_replicas: int | None = None
    """Of Ray Serve: so many where there is more to do than `replicas` can; None: no more."""
    rollback_margin: float = 0.05
    """By how much the share of failed requests of a new version may be above the old one's."""

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise ConfigError(f"--replicas must be at least 1 (found {self.replicas})", hint="--replicas 2")
        if self.engine not in ("own", "ray"):
            raise ConfigError(f"--engine {self.engine}: own or ray", hint="--engine ray")
        if self.max_replicas is not None and self.engine != "ray":
            raise ConfigError("--max-replicas is Ray Serve's", hint="--engine ray")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ConfigError(
                f"--max-replicas {self.max_replicas} is below --replicas {self.replicas}",
                hint=f"--max-replicas {self.replicas}",
            )
        if self.worker_key is not None and not self.workers:
            raise ConfigError("--worker-key without --worker", hint="--worker http://host:8000")
        if not 0 < self.rollback_margin <= 1:
            raise ConfigError(
                f"--rollback-margin must be above 0 and at most 1 (found {self.rollback_margin})",
                hint="--rollback-margin 0.05",
            )
        for url in self.workers:
            if split_url(url) is None:
                raise ConfigError(f"--worker {url}: not a URL", hint="--worker http://host:8000")
        if self.admin_port is not None and not 0 <= self.admin_port <= 65_535:
            raise ConfigError(
                f"--admin-port must be from 0 to 65535 (found {self.admin_port})", hint="--admin-port 9000"
            )
        if self.admin_port is not None and self.admin_socket is not None:
            raise ConfigError("--admin-port and --admin-socket", hint="leave out one of them")

    def check_keys(self, keys: Path | None) -> None:
        """Refuse an admin's port that everybody could use, or nobody.

        Raises:
            ConfigError: there are no keys, or none is an admin's.
            LlmkitError: see `read_keys`.
        """
        if self.admin_port is None:
            return
        hint = "--admin-socket PATH is the owner's alone, and needs none"
        if keys is None:
            raise ConfigError("--admin-port needs --keys with an admin's key", hint=hint)
        from llmkit.server.keys import read_keys  # here: flags show our defaults, and help is quick

        if not any(one.admin for one in read_keys(keys).rules.values()):
            raise ConfigError(
                f"--admin-port: no key in {keys} is an admin's", hint=f"admin = true in its entry, or {hint}"
            )

    def is_wanted(self, sources: Sequence[ModelSource]) -> bool:
        """Whether these models take a router, not one process with one model."""
        one_alone = len(sources) == 1 and not sources[0].version
        wanted = self.replicas > 1 or bool(self.workers) or self.has_admin or not one_alone
        return wanted or self.engine == "ray"

    @property
    def has_admin(self) -> bool:
        """Whether there is a listener for an admin."""
        return self.admin_port is not None or self.admin_socket is not None


def read_source(told: str, name: str | None = None) -> ModelSource:
    """A model as the command line names it.

    Args:
        told: a path that is there, or NAME=PATH[@VERSION[:WEIGHT]], whose NAME may be as `org/model`.
        name: what clients call it, where only a path is told; None: what its folder is called.

    Raises:
        UsageError: a name with a colon, behind which adapters are named; two names.
    """
    parts = None if Path(told).exists() else _NAMED.match(told)
    if parts is None:
        found = name_of(Path(told)) if name is None else name
        return ModelSource(_checked(found, "--name"), told)
    if name is not None:
        raise UsageError(f"-m {told}: named there, and by --name too", hint="leave out --name")
    weight = float(parts["weight"]) if parts["weight"] else 100.0
    return ModelSource(_checked(parts["name"], "-m"), parts["path"], parts["version"] or "", weight)


def check_sources(sources: Sequence[ModelSource]) -> None:
    """Refuse models that cannot be told apart.

    Raises:
        UsageError: two of one name and version, or a name whose versions all have the weight 0.
    """
    seen = set()
    for one in sources:
        if (one.name, one.version) in seen:
            what = f"{one.name}@{one.version}" if one.version else one.name
            raise UsageError(f"-m {what}: twice", hint=_EXAMPLE)
        seen.add((one.name, one.version))
    for name in {one.name for one in sources}:
        if not any(one.weight > 0 for one in sources if one.name == name):
            raise UsageError(f"-m {name}: no version has a weight above 0", hint=_EXAMPLE)


def _checked(name: str, flag: str) -> str:
    if not name or ":" in name:
        raise UsageError(f"{flag} {name!r}: names are not empty and have no colon", hint="--name small")
    return name
