"""Which devices could run a model: their step times, hosts and prices."""
