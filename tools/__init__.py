"""What looks after the repository itself. Not installed; standard library only."""
