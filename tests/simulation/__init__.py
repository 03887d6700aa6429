"""The deterministic simulation of the vault: replicas, callers, providers and faults out of one seed.

`make simulate SEED=… STEPS=…` runs it; docs/simulation.md explains it. Nothing here touches a clock, a file or a socket.
"""
