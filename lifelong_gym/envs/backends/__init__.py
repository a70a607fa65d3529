"""How the same kernel source runs: Python floats (the reference), NumPy rows, numba blocks; and Philox streams."""
