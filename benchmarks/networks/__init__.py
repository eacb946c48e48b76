"""Networks that people have, and what ``Supernet.from_module`` makes of them."""
