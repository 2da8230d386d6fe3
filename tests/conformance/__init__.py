"""What a NAT is asked for by the RFCs, and what this one answers."""
