"""gezhi (格致): methods one can import, derivations one can read, experiments one can re-run."""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "adapters",
    "classification",
    "data",
    "diffusion",
    "gan",
    "graph",
    "losses",
    "nn",
    "text",
    "theory",
    "training",
    "vae",
]


def __getattr__(name: str) -> ModuleType:
    """Load a wing when it is first used, so that `import gezhi` stays fast and loads no torch."""
    if name in __all__:
        return importlib.import_module(f"gezhi.{name}")
    raise AttributeError(f"module 'gezhi' has no attribute {name!r}; its wings are {', '.join(__all__[1:])}")


def __dir__() -> list[str]:
    return __all__
