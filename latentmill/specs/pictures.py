"""Which files are pictures by their names, and which lie beside them because a program left them there."""

PICTURES = "PNG, JPEG, WebP, BMP, GIF"
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
LEFT_BEHIND = ("__MACOSX", "Thumbs.db", "desktop.ini")


def is_picture(name: str) -> bool:
    """Whether a file of this name is a picture that can be read."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def is_left_behind(name: str) -> bool:
    """Whether nobody meant to send it: hidden files and folders, and what macOS and Windows put beside pictures."""
    return any(part in LEFT_BEHIND or (part.startswith(".") and part.strip(".") != "") for part in name.split("/"))
