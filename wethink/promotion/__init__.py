"""Promotion: whether a challenger takes the champion's place, decided by a rule that was declared before."""
