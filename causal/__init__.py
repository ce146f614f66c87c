"""What exposure and popularity did to the log, estimated and refuted."""
