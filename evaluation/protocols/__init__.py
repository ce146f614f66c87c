"""How a log becomes folds: what is fitted on, who is asked, and what counts as the right answer."""
