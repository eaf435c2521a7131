"""The operators of the attention benchmark: what a space can put in the place of softmax, by a short label."""

from collections.abc import Mapping
from typing import Any

from karat.attention.base_activations import BASE_ACTIVATIONS
from karat.attention.bases import BASES
from karat.attention.mechanisms import MECHANISMS
from karat.attention.names import KARAT, SOFTMAX

FOURIER = {"basis": "fourier", "grid_size": 3}
BASE = "silu"  # the base activation with which every basis is measured
DROPOUT = 0.1  # of attention weights, where a label ends in `DROPPED`; a setting of the model, not of the operator
DROPPED = ", dropout"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "phi_w": {"operator_order": "phi_w"},
    "phi_phi": {"operator_order": "phi_phi"},
    "projection simplex": {"projection": "simplex"},
    "projection softmax": {"projection": "softmax"},
    "rank full": {"rank": "full"},
    "one head": {"heads": [0]},
    "dropout": {},
}


def operators(rank: int) -> dict[str, dict[str, Any]]:
    """Label to settings, as `attention:` of a space has them: every basis, alone and with a base activation;
    then Fourier with G = 3 with every base activation, in every order, with every projection, of full rank,
    in one head beside softmax, and with dropout.

    Args:
        rank: R, of those that do not say another.
    """
    found: dict[str, dict[str, Any]] = {}
    for basis in _bases():
        label = " ".join(map(str, basis.values()))
        found[label] = {"rank": rank, **basis}
        found[f"{label}, base {BASE}"] = {"rank": rank, **basis, "base_activation": BASE}
    changes = {f"base {name}": {"base_activation": name} for name in BASE_ACTIVATIONS}
    del changes["base zero"]
    for label, change in {**changes, **VARIANTS}.items():
        found[f"fourier 3, {label}"] = {"rank": rank, **FOURIER, **change}
    return found


def mechanisms(rank: int) -> dict[str, dict[str, Any]]:
    """Label to settings of every mechanism but softmax and KArAt, with G = 3 where it has a Fourier basis.

    Args:
        rank: R, of those that have one.
    """
    found = {}
    for name in MECHANISMS:
        if name not in (SOFTMAX, KARAT):
            known = MECHANISMS[name].operator_settings
            own = {key: value for key, value in {"rank": rank}.items() if key in known}
            found[name] = {"mechanism": name, **own, **(FOURIER if "basis" in known else {})}
    return found


def _bases() -> list[dict[str, Any]]:
    fourier = [{"basis": "fourier", "grid_size": size} for size in (3, 16, 17)]
    return [*fourier, *({"basis": name} for name in BASES if name != "fourier")]
