"""Questions about what does not run yet: what a pass costs, which devices, how many, for how much; or the API."""
