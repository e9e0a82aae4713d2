"""Media: uploads, videos, visibility, transcoding, delivery."""
