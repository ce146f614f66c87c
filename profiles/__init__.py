"""What is known of a user: events, their fold, the stores."""
