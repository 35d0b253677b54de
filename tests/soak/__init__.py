"""Tests that run as long as they are let.

python -m tests.soak.interrupts --minutes 20 --seed 1
"""
