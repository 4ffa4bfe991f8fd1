"""The hybrid reward: a grammar for the format, rules for MC and FIB, a judge for DES, weighted in one place."""
