"""A long run of the real program, to find what grows slowly: see scripts/soak --help."""
