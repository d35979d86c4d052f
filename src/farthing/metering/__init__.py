"""Usage to receipt to ledger: who used which device-second, and what it cost."""
