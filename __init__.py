"""llm4rec: a conversational recommender that runs on one machine, with no key and no network."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import threads

threads.configure()

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .agent.recommender import Recommender as Recommender
    from .catalog.filters import Filter as Filter
    from .errors import UserError as UserError

__all__ = ["Filter", "Recommender", "UserError", "__version__"]

#: Loaded when first asked for: `import llm4rec` must stay quick.
_LAZY = {"Recommender": ".agent.recommender", "Filter": ".catalog.filters", "UserError": ".errors"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
