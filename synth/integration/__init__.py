"""What lies beside ``gru.v`` for those who build it into something larger."""
