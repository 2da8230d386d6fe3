"""The twin and the BPF program on the same random packets over the same random configurations."""
