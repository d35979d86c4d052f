"""The network on the processor, as a graph of OpenVINO's."""
