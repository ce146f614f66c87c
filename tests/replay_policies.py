"""Policies that worker processes of a replay can import."""

from __future__ import annotations

import os
import time

from llm4rec.evaluation.policies import PolicyInputs
from llm4rec.ranking.base import Model


def dies(inputs: PolicyInputs) -> Model:
    """Ends the process with no word, as a fault in a library does."""
    os._exit(9)


def sleeps(inputs: PolicyInputs) -> Model:
    """Takes longer than anybody waits."""
    time.sleep(600)
    raise AssertionError("was not ended")
