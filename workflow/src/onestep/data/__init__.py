"""Image data: where it comes from and how it becomes two classes."""
