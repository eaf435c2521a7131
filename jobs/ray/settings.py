"""The settings of a running Ray cluster (`ray:` in a file of `clusters/`)."""

from dataclasses import dataclass

from karat.settings import above


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """A running Ray cluster, reached by its Jobs API; the token comes from `RAY_AUTH_TOKEN`.

    Args:
        address: of the dashboard (`http://127.0.0.1:8265`).
        storage: folder of all studies, as every node sees it; None where the path is the same.
        largest_upload_mb: of the code that is sent, in units of 10^6 bytes.
    """

    address: str = "http://127.0.0.1:8265"
    storage: str | None = None
    largest_upload_mb: float = 50

    def __post_init__(self) -> None:
        above("largest_upload_mb", self.largest_upload_mb, 0)
