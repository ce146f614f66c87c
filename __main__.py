"""``python -m llm4rec``: the command line."""

from .cli import main

main()
