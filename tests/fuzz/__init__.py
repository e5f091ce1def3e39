"""Seeded fuzzers of what piapp reads: see scripts/fuzz --help."""
