"""docker-compose.yml as data, for those who start its services without an engine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service, its variables filled in.

    Args:
        words: entry point and command.
        environment: as the file has it.
        health: the command that checks it, or none.
        after: services before it, and whether each must have ended well or be healthy.
        grace_s: between SIGTERM and SIGKILL.
        restarts: whether the engine starts it again when it has ended.
    """

    name: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    health: tuple[str, ...]
    after: Mapping[str, str]
    grace_s: float
    restarts: bool
    profiles: tuple[str, ...]


def filled(text: str, values: Mapping[str, str]) -> str:
    """`${NAME:-otherwise}` as Compose reads it; `$$` is a dollar.

    Raises:
        KeyError: a variable without a value.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name, otherwise = found[1], found[2]
        return values.get(name) or otherwise if otherwise is not None else values[name]

    return _VARIABLE.sub(value, text)


def read_services(path: Path, values: Mapping[str, str]) -> dict[str, Service]:
    """The services in the order in which they start.

    Args:
        path: of the compose file.
        values: variables in place of the file's defaults.
    """
    data = _filled_in(yaml.safe_load(path.read_text()), values)
    found = {name: _service(name, each) for name, each in data["services"].items()}
    ordered: dict[str, Service] = {}
    while len(ordered) < len(found):
        ready = [
            s for s in found.values() if s.name not in ordered and set(s.after) <= set(ordered)
        ]
        assert ready, f"{path}: services wait for each other"
        ordered |= {service.name: service for service in ready}
    return ordered


def _filled_in(data: Any, values: Mapping[str, str]) -> Any:
    if isinstance(data, str):
        return filled(data, values)
    if isinstance(data, list):
        return [_filled_in(each, values) for each in data]
    if isinstance(data, dict):
        return {key: _filled_in(each, values) for key, each in data.items()}
    return data


def _service(name: str, data: Mapping[str, Any]) -> Service:
    kind, *health = data.get("healthcheck", {}).get("test", ["NONE"])
    return Service(
        name=name,
        words=(*data.get("entrypoint", ()), *data["command"]),
        environment={key: str(value) for key, value in data.get("environment", {}).items()},
        health=("sh", "-c", *health) if kind == "CMD-SHELL" else tuple(health),
        after={key: each["condition"] for key, each in data.get("depends_on", {}).items()},
        grace_s=float(data.get("stop_grace_period", "10s").removesuffix("s")),
        restarts=data.get("restart", "no") != "no",
        profiles=tuple(data.get("profiles", ())),
    )
