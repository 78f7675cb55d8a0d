"""The entry points for a fuzzer, run by hypothesis, and the inputs that are kept."""
