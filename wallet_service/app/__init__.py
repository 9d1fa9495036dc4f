"""What callers can ask for, and the reconciler that finishes what a crash left half done."""
