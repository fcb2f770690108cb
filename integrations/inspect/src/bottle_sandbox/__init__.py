"""bottle as a sandbox of evaluation frameworks.

`bottle_sandbox.inspect` is a provider for Inspect (`sandbox="bottle"`), and `bottle_sandbox.harbor` an environment for
Harbor. Both drive the command `bottle` through `bottle_sandbox.command`.
"""

from bottle_sandbox.config import BottleConfig

__all__ = ["BottleConfig"]
