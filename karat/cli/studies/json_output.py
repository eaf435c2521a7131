"""`--json`: one JSON document on stdout for programs, with stable keys."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

SCHEMA = 1


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document, for programs")


def print_json(kind: str, data: Mapping[str, Any]) -> None:
    """Print a document: what it is, the version of its keys, then the data.

    Args:
        kind: of the document, the command's name.
        data: of JSON's types; a number that is not finite must be None.
    """
    document = {"kind": kind, "schema": SCHEMA, **data}
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False), file=sys.stdout)
