"""Create the MLflow user of the studies if it does not exist: `make_user.py NAME`."""

import os
import sys
import urllib.error

from health import ask_mlflow  # beside this file


def main() -> None:
    name = sys.argv[1]
    password = os.environ["NEW_USER_PASSWORD"]
    try:
        ask_mlflow("POST", "users/create", {"username": name, "password": password})
    except urllib.error.HTTPError as error:
        if b"RESOURCE_ALREADY_EXISTS" not in error.read():
            raise
        print(f"{name}: exists already")
        return
    print(f"{name}: created")


if __name__ == "__main__":
    main()
