"""What the benchmarks' services offer; named in ``NAS_STUDIES``."""
