"""What a replay found, for people: tables for the terminal, and one page that stands on its own."""

from .html import replay_page
from .ope_html import ope_page
from .page import PAGE, write_page
from .table import Cell, Table

__all__ = ["PAGE", "Cell", "Table", "ope_page", "replay_page", "write_page"]
