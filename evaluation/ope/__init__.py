"""Off-policy evaluation: what another policy would have earned, from a bandit log with propensities.

:func:`evaluate_bandit_logs` reads a folder of logs and values each policy from the others' logs; :func:`render` makes
rows of its report. The parts below it serve one's own logs: make a :class:`BanditLog`, a target
(:class:`TablePolicy`, :class:`MatrixPolicy`), fit a reward model, and :func:`estimate`.
"""

from .bootstrap import on_policy
from .estimators import ESTIMATORS, Options, Rounds, rounds_of
from .evaluate import evaluate_bandit_logs
from .judge import FLOOR, Estimate, estimate
from .log import BanditLog, MatrixPolicy, TablePolicy, Target
from .propensity import model_propensities, table_of
from .report import OpeComparison, OpeEstimate, OpeReport, render
from .reward_model import RewardConfig, RewardModel, fit_reward_model

__all__ = [
    "ESTIMATORS",
    "FLOOR",
    "BanditLog",
    "Estimate",
    "MatrixPolicy",
    "OpeComparison",
    "OpeEstimate",
    "OpeReport",
    "Options",
    "RewardConfig",
    "RewardModel",
    "Rounds",
    "TablePolicy",
    "Target",
    "estimate",
    "evaluate_bandit_logs",
    "fit_reward_model",
    "model_propensities",
    "on_policy",
    "render",
    "rounds_of",
    "table_of",
]
