"""The settings of a site, each part read by the backend that has its name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jobs import BACKENDS
from karat.errors import InputError, SettingError, nearest
from karat.settings import build, fields_of
from karat.space.site import PRICES, Machines, Site


def check_site(site: Site) -> dict[str, Any]:
    """The checked settings of every backend that the site names.

    Raises:
        InputError: an unknown backend, or a wrong setting of one; with its place.
        PluginError: a backend is there twice, or its file does not hold one.
    """
    try:
        for name in site.backends:
            if name not in BACKENDS:
                known = (*PRICES, *BACKENDS)
                raise SettingError(f"cluster.{name}", f"unknown key. {nearest(name, known)}")
        named = {name: given for name, given in site.backends.items() if given is not None}
        return {name: _read(name, given) for name, given in named.items()}
    except SettingError as error:
        raise InputError(f"{site.place}: {error}") from error


def settings_for(site: Site, name: str) -> Any:
    """The checked settings of one backend: the site's, or the defaults if the site does not name it.

    Raises:
        InputError: as for `check_site`, or the site does not name it and not all settings have defaults.
    """
    settings = check_site(site)
    if name in settings:
        return settings[name]
    kind = BACKENDS[name].settings
    needed = [key for key, field in fields_of(kind).items() if _is_required(field)]
    if needed:
        example = ", ".join(f"{key}: ..." for key in needed)
        raise InputError(
            f"cluster.{name} is missing: it must name at least {' and '.join(needed)}, as "
            f"{{{name}: {{{example}}}}}"
        )
    return kind()


def machines_at(site: Site) -> dict[str, Machines]:
    """What a study would have, by backend, but for those that would have to be asked.

    Raises:
        InputError: as for `check_site`.
    """
    found = {name: BACKENDS[name]().machines(each) for name, each in check_site(site).items()}
    return {name: machines for name, machines in found.items() if machines is not None}


def _read(name: str, given: object) -> Any:
    if not isinstance(given, Mapping):
        raise SettingError(name, "must contain `key: value` lines", given)
    return build(BACKENDS[name].settings, given, name)


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
