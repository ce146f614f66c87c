"""How candidates are scored."""
