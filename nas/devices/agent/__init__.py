"""The agent: a program on the device itself, which times networks there for runs elsewhere.

Python 3.9, numpy and onnxruntime are all it needs: nothing of ``nas`` besides this folder is on the device, where it
arrives as one file (:func:`nas.devices.bundle.write_bundle`). Networks run in a process of their own, which may crash.
"""

VERSION = "1.0"
PROTOCOL = 1
"""Version of the protocol, raised when an earlier client would not understand an answer, or the other way round."""
OLDEST_PROTOCOL = 1
"""The oldest that it still speaks."""
