"""The cheapest devices × replicas that keep a latency target."""
