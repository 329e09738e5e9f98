"""How everything grows: each part measures what it is given at one size after the other."""
