"""The whole conversation as a policy: each user says one thing to it, and what it lists is its answer."""

from .policy import AgentConfig, agent_policy

__all__ = ["AgentConfig", "agent_policy"]
