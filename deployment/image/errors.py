"""What can go wrong with an image, by what to do about it."""


class ImageError(Exception):
    """The image itself is wrong: mend it. Says what, where."""


class LeftOut(Exception):  # noqa: N818 - named by what to do: leave it out, aloud
    """This machine cannot build or run the image now: leave it out and say why."""
