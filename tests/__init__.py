"""The tests: one folder a kind, named after what they need (unit: nothing; bpf, netns: root and a kernel)."""
