"""Replaying logs, metrics, reports."""
