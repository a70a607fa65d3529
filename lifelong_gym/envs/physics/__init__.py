"""Other physics engines for families whose kernel can be replaced."""
