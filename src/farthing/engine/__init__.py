"""Runs the model: the only home of torch and openvino."""
