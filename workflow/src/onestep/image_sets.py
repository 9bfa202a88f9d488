"""The image data sets and the names of their classes, in the order of their labels."""

CLASSES: dict[str, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}
