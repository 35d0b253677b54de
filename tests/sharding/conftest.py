"""Programs that tests/test_jax_sharding.py runs: to look for tests in them would start JAX."""

collect_ignore = ["eight_devices.py", "two_processes.py"]
