"""Images and video as files: decode, resize, encode, label."""
