"""Where the next candidates come from."""
