"""In which way a network's layers are computed: the same numbers up to rounding, in another time and memory."""
