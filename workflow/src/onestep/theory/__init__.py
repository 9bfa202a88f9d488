"""What the theorems say: bounds and laws in closed form."""
