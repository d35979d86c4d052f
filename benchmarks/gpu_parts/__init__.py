"""The parts of `benchmarks/gpu.py`: each measures one thing of one model and can run alone."""
