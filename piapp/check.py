"""`piapp check`: which settings are read, what is found, what would run, and what is wrong."""

from piapp.config import Config


def run(config: Config) -> int:
    raise NotImplementedError
