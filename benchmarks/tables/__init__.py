"""Tables that commands of ``benchmarks`` made, and what reads them."""
