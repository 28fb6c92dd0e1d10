"""The machine: device, precision, cores and memory."""
