"""Attacks on piapp as it runs: a process of its own, real sockets, and every Tornado that it has to get along with."""
