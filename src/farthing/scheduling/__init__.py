"""Which texts run together, and when: no torch, no clock; time is an argument."""
