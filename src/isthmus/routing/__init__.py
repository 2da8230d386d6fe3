"""What the world tells the gateway: so far who is on its links. Knows packets' addresses, not peerings."""
