"""Importing this module loads the modules: a worker process of Ray can only be told names of modules."""

from karat.training.preload import preload

preload()
