"""What winners alone get: fine-tuning and compression passes."""

from nas.compression.int8 import Int8

__all__ = ["Int8"]
