"""What attaches to a network: control networks, T2I-Adapters, IP-Adapters."""
